"""Which maintenance of the alert policy lasts now, and until when: nothing new of such a stream fires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from streams.alerts.maintenance import Maintenance


class Works:
    """The policy's maintenance as the wall shows it. It belongs to the thread of the live state."""

    def __init__(self) -> None:
        self._all: Sequence[Maintenance] = ()
        self._lasting: list[tuple[Maintenance, float]] = []

    def use(self, works: Sequence[Maintenance]) -> None:
        """Take what a policy says. It counts with the next look."""
        self._all = works

    def look(self, now: float) -> list[Maintenance]:
        """Those that have begun, ended or got another end since the last look. now: seconds since 1970."""
        at = datetime.fromtimestamp(now, UTC)
        before = self._lasting
        times = [(work, work.next(at)) for work in self._all]
        self._lasting = [(work, time[1].timestamp()) for work, time in times if time is not None and time[0] <= at]
        if self._lasting == before:
            return []
        return [work for work, end in [*before, *self._lasting] if (work, end) not in before or (work, end) not in self._lasting]

    def until(self, labels: Mapping[str, str]) -> float | None:
        """When the maintenance of a stream with these labels ends, seconds since 1970; None where it is in none."""
        return max((end for work, end in self._lasting if work.concerns(labels)), default=None)
