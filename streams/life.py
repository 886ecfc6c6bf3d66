"""The life of a process in its log: a line at its start, one when it is told to stop, one at its end.

Where the log is JSON, nothing else is on its two streams, also where it cannot start or ends by a bug. `fvq worker`, `web`,
`serve`, `rate` and `ingest` run in it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from streams.errors import SettingsError
from streams.foreign_lines import foreign_lines_logged
from streams.logs import configure_logging
from streams.text import printable
from streams.user_errors import for_user

log = logging.getLogger(__name__)


class Life:
    """Tells of one process. name: what the lines call it, as `worker`. line_format: of the log, "text" or "json"."""

    def __init__(self, name: str, line_format: str) -> None:
        self._name, self._line_format = name, line_format
        self._stop_began: float | None = None

    def starts(self, where: str = "", **fields: object) -> None:
        """The first line. where: its address, if it has one already. fields: beside version and process id."""
        words = f"; {where}" if where else ""
        log.info("%s starts%s", self._name, words, extra={"version": _version(), "pid": os.getpid()} | fields)

    def tell(self, text: str) -> None:
        """A sentence for the person who has started it: printed on standard error, or a log line where the log is JSON."""
        if self._line_format == "json":
            log.info("%s", text)
        else:
            print(printable(text), file=sys.stderr, flush=True)

    def stops(self, number: int, seconds: float) -> None:
        """It was told to stop by a signal; the second time says nothing. seconds: it ends within."""
        if self._stop_began is None:
            self._stop_began = time.monotonic()
            log.info("%s stops (%s): it finishes what it has, within %g s", self._name, signal.Signals(number).name, seconds)

    def ended(self) -> None:
        """The last line of a process that was told to stop."""
        if self._stop_began is not None:
            seconds = round(time.monotonic() - self._stop_began, 1)
            log.info("%s has stopped after %.1f s", self._name, seconds, extra={"seconds": seconds})


def lived(name: str, level: str, line_format: str, run: Callable[[Life], int | None]) -> int:
    """Run a process whose log is as told; returns its exit code.

    run: does its work, tells of its start and of what stops it, and returns its exit code, None for 0. What it raises is raised
    where the log is text; where it is JSON, its last line says it.
    """
    configure_logging(level, line_format)
    life = Life(name, line_format)
    if line_format != "json":
        return _ended(life, run)
    with foreign_lines_logged():
        try:
            return _ended(life, run)
        except Exception as error:
            told = for_user(error)
            if told is None:
                log.critical("the %s ends by an error that nobody expected", name, exc_info=True)
                return 1
            sentence, code = told
            log.critical("the %s cannot start: %s", name, sentence)
            return code


def told_as_json(name: str, error: SettingsError) -> bool:
    """Write the log line of a process whose settings are wrong. False, and nothing, where its log is not known to be JSON."""
    if os.environ.get("FVQ_LOG_FORMAT") != "json":
        return False
    configure_logging("info", "json")
    log.critical("the %s cannot start: %s", name, error)
    return True


def _ended(life: Life, run: Callable[[Life], int | None]) -> int:
    try:
        return run(life) or 0
    finally:
        life.ended()


def _version() -> str:
    try:
        return version("fvq-monitor")
    except PackageNotFoundError:
        return "unknown"
