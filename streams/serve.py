"""Runs the served scorer: `fvq serve`."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING

from streams import parts
from streams.errors import SettingsError
from streams.logs import configure_logging
from streams.settings import Settings

if TYPE_CHECKING:
    from scorer.reloading import ReloadingEngine
    from scorer.remote.metrics import ReplicaMetrics

log = logging.getLogger(__name__)


def run_serve(settings: Settings) -> None:
    """Serve the model of `FVQ_MODEL` until told to stop.

    Raises `SettingsError` or `ModelError` where it cannot start.
    """
    from scorer.remote.serve import serve

    configure_logging(settings.log_level, settings.log_format)
    token = serve_token(settings)

    def load(metrics: ReplicaMetrics) -> ReloadingEngine:
        # Imports torch, in the thread that loads: /healthz answers meanwhile.
        from scorer.reloading import ReloadingEngine, ReloadListener

        listener = ReloadListener(metrics.show_reload, metrics.count_refused)
        # Workers are told of another sampling by status 409 and sample anew, so a version with another one may take over.
        return ReloadingEngine(settings.model, settings.device, parts.registry(settings), listener, any_spec=True)

    def listening(host: str, port: int) -> None:
        log.info("the scorer listens at http://%s:%d, and loads model %s", host, port, settings.model)
        if token is None:
            log.info("no token is set: every program on this machine can use it")

    try:
        serve(load, settings.serve_host, settings.serve_port, token, parts.serve_limits(settings), listening)
    except OSError as error:
        if error.filename:
            raise
        place = f"{settings.serve_host}:{settings.serve_port}"
        raise SettingsError("FVQ_SERVE_HOST, FVQ_SERVE_PORT", f"cannot listen on {place}: {error.strerror or error}") from error


def serve_token(settings: Settings) -> str | None:
    """The token that clients must send; None where none is set and only this machine can connect.

    Raises `SettingsError` where others could connect without one, or it has a letter that a header cannot carry.
    """
    if settings.scorer_token is None and settings.scorer_token_file is None:
        if not _is_loopback(settings.serve_host):
            reason = f"is {settings.serve_host}, so others can connect: set FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE too"
            raise SettingsError("FVQ_SERVE_HOST", reason)
        return None
    token = settings.scorer_secret()
    if not token.isascii():
        raise SettingsError("FVQ_SCORER_TOKEN", "has a letter that is not ASCII, which a header cannot carry")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
