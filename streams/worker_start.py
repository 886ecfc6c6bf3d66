"""`fvq worker`, its first moment: the address of its pages answers before its libraries are loaded."""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, version

from streams import parts
from streams.errors import FvqError, SettingsError
from streams.foreign_lines import foreign_lines_logged
from streams.logs import configure_logging
from streams.privacy.statement import kept_lines
from streams.settings import Settings
from streams.starting_pages import StartingPages
from streams.topic_names import prefixed

log = logging.getLogger(__name__)


def start_worker(settings: Settings) -> int:
    """Listen, then load what a worker needs and score segments until told to stop; returns the exit code.

    Raises `SettingsError`, `ModelError` or `BrokerError` where it cannot start; where the log is JSON, its last line says it.
    """
    configure_logging(settings.log_level, settings.log_format)
    if settings.log_format != "json":
        return _start(settings)
    with foreign_lines_logged():
        try:
            return _start(settings)
        except FvqError as error:
            log.critical("the worker cannot start: %s", error)
            return 2 if isinstance(error, SettingsError) else 1
        except Exception:
            log.critical("the worker ends by an error that nobody expected", exc_info=True)
            return 1


def told_as_json(error: SettingsError) -> bool:
    """Write the log line of a worker whose settings are wrong. False, and nothing, where its log is not known to be JSON."""
    if os.environ.get("FVQ_LOG_FORMAT") != "json":
        return False
    configure_logging("info", "json")
    log.critical("the worker cannot start: %s", error)
    return True


def _start(settings: Settings) -> int:
    if not settings.broker:
        raise SettingsError(
            "FVQ_BROKER", "is not set: name the Kafka servers as host:port, or use `fvq up`, which starts a broker of its own"
        )
    try:
        pages = StartingPages(settings.web_host, settings.web_port)
    except OSError as error:
        place = f"{settings.web_host}:{settings.web_port}"
        raise SettingsError("FVQ_WEB_HOST, FVQ_WEB_PORT", f"cannot listen on {place}: {error.strerror or error}") from error
    started = {"version": _version(), "group": prefixed(settings.topic_prefix, settings.group), "pid": os.getpid()}
    log.info("worker starts; pages at http://%s:%d", settings.web_host, pages.port, extra=started)
    for line in kept_lines(parts.keeping(settings)):
        log.info("%s", line)
    with pages:
        from streams.worker import run_worker

        return run_worker(settings, pages)


def _version() -> str:
    try:
        return version("fvq-monitor")
    except PackageNotFoundError:
        return "unknown"
