"""The server's time, as far as its answers tell: without I/O."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.events import YEARS


class ServerClock:
    """Learns how the server's clock and this machine's monotonic one lie to each other.

    A `Date` says whole seconds and was written between the request and the answer, so each leaves a second or more open. Several
    answers narrow it. The earliest time that is possible is told: a segment that does not exist yet must not be announced.
    """

    def __init__(self) -> None:
        self._earliest: float | None = None
        self._latest = 0.0

    def learn(self, said: datetime, sent: float, received: float) -> None:
        """Take a time that the server said. sent, received: monotonic times of the request and its answer.

        A year that no event can have is passed over: at the end of the calendar, the time after it would be none.
        """
        if said.year not in YEARS:
            return
        earliest, latest = said.timestamp() - received, said.timestamp() + 1.0 - sent
        if self._earliest is None or earliest > self._latest or latest < self._earliest:
            self._earliest, self._latest = earliest, latest  # the first, or one of both clocks was set
        else:
            self._earliest, self._latest = max(self._earliest, earliest), min(self._latest, latest)

    def now(self, monotonic: float, otherwise: datetime) -> datetime:
        """The server's time. otherwise: this machine's, which counts where the server has said nothing."""
        if self._earliest is None:
            return otherwise
        return datetime.fromtimestamp(monotonic + self._earliest, UTC)
