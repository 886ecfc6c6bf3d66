"""The interface of all sinks: where a worker stores its scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from streams.events import SegmentScore


@dataclass(frozen=True)
class Rejected:
    """A score that the sink refuses for good.

    place: index of the score among those that were added since the last successful flush. reason: what the sink said.
    """

    place: int
    reason: str


class Sink(ABC):
    """Keeps scores. `add` buffers, `flush` makes durable; the checkpoint calls flush before it acknowledges the input."""

    @abstractmethod
    def add(self, score: SegmentScore) -> None:
        """Buffer a score. The flush of a score that is stored already overwrites it."""

    @abstractmethod
    async def flush(self) -> list[Rejected]:
        """Make every buffered score durable and empty the buffer; returns the scores that the sink refuses for good.

        Raises `SinkError` where the sink cannot take scores now; then the scores stay buffered.
        """

    @abstractmethod
    async def check(self) -> str:
        """One line about the sink, for `fvq doctor` and `/readyz`. Raises `SinkError` where the sink cannot be used."""

    async def derive(self, hours: Sequence[datetime]) -> str:  # noqa: ARG002 - of those that derive nothing
        """Compute anew what is derived from the scores of these hours (UTC) and not computed of itself; returns a line about it.

        '' where this sink derives nothing. Raises `SinkError`.
        """
        return ""

    async def close(self) -> None:  # noqa: B027 - most sinks hold no resources
        """Free the sink's resources; scores that were not flushed are lost."""
