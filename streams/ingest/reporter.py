"""Says how a rendition is: its state for pages and in the log, and for the alerts what may be why no segment comes."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta

from streams.ingest.base import Services, Status, Stream
from streams.ingest.states import STALE_TARGETS, SourceState, State


class Reporter:
    """Shows, logs and reports the state of a rendition, or of a source whose renditions are not known yet."""

    def __init__(self, stream: Stream, status: Status, services: Services, log: logging.Logger) -> None:
        self._stream, self._status, self._services, self._log = stream, status, services, log
        self._announced_at = services.times.monotonic()
        self._findings: set[str] = set()
        self._is_encrypted = False

    def found(self, counts: Counter[str], announced: bool) -> None:
        """Take what a playlist showed. announced: whether a segment was: what was found before it is not why none comes."""
        self._status.count(counts)
        if announced:
            self._findings.clear()
            self._announced_at = self._services.times.monotonic()
        else:
            self._findings |= {what for what, count in counts.items() if count}

    def show(self, state: State, reason: str = "", kind: str = "", since: float | None = None) -> None:
        """Set the state. kind: of a failure. since: monotonic time at which the state began, None for now."""
        self._status.show(state, reason, self._log)
        times = self._services.times
        now = times.monotonic()
        quiet = now - self._announced_at > STALE_TARGETS * self._status.target
        began = times.now() - timedelta(seconds=now - since if since is not None else 0.0)
        findings = tuple(sorted(self._findings)) if quiet else ()
        self._services.report(self._stream, SourceState(state, began, kind, reason, findings))

    def show_going(self, progress: bool, encrypted: bool, reason: str) -> None:
        """Set `live`, or `encrypted` where the last segments that came are, also before a failure. reason: of `encrypted`."""
        if progress:
            self._is_encrypted = encrypted
        if not self._is_encrypted:
            self.show("live")
        elif progress or self._status.state != "encrypted":
            self.show("encrypted", reason)
