"""`fvq serve`: the served scorer."""

from __future__ import annotations

from streams.settings import load_settings


def serve() -> None:
    """Serve the model to workers that set FVQ_SCORER_URL, at FVQ_SERVE_HOST and FVQ_SERVE_PORT, until told to stop."""
    from streams.serve import run_serve

    run_serve(load_settings())
