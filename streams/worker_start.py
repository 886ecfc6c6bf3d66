"""`fvq worker`, its first moment: the address of its pages answers before its libraries are loaded."""

from __future__ import annotations

import logging

from streams import parts
from streams.addresses import cannot_listen, http_address
from streams.errors import SettingsError
from streams.life import Life, lived
from streams.privacy.statement import kept_lines
from streams.settings import Settings
from streams.starting_pages import StartingPages
from streams.topic_names import prefixed

log = logging.getLogger(__name__)


def start_worker(settings: Settings) -> int:
    """Listen, then load what a worker needs and score segments until told to stop; returns the exit code.

    Raises `SettingsError`, `ModelError` or `BrokerError` where it cannot start; where the log is JSON, its last line says it.
    """
    return lived("worker", settings.log_level, settings.log_format, lambda life: _start(settings, life))


def _start(settings: Settings, life: Life) -> int:
    if not settings.broker:
        raise SettingsError(
            "FVQ_BROKER", "is not set: name the Kafka servers as host:port, or use `fvq up`, which starts a broker of its own"
        )
    try:
        pages = StartingPages(settings.web_host, settings.web_port)
    except OSError as error:
        reason = cannot_listen(settings.web_host, settings.web_port, error)
        raise SettingsError("FVQ_WEB_HOST, FVQ_WEB_PORT", reason) from error
    address = http_address(settings.web_host, pages.port)
    life.starts(f"pages at {address}", group=prefixed(settings.topic_prefix, settings.group))
    for line in kept_lines(parts.keeping(settings)):
        log.info("%s", line)
    with pages:
        from streams.worker import run_worker

        return run_worker(settings, pages, life)
