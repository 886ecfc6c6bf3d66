"""`fvq serve`: the served scorer."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.options import live, refuse


def serve(
    ray: Annotated[bool, typer.Option("--ray", help="Serve on Ray Serve instead of uvicorn.")] = False,
    address: Annotated[str | None, typer.Option(help="With --ray: a running Ray, instead of one of its own.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=1000, help="With --ray: how many replicas of the model.")] = 1,
) -> None:
    """Serve the model to workers that set FVQ_SCORER_URL, at FVQ_SERVE_HOST and FVQ_SERVE_PORT, until told to stop."""
    from streams.serve import run_serve, run_serve_on_ray

    if ray:
        live("scorer", lambda settings, life: run_serve_on_ray(settings, life, replicas, address))
    refuse({"--address": address, "--replicas": replicas - 1}, "is for Ray Serve only: add --ray")
    live("scorer", run_serve)
