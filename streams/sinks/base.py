"""What a sink of scores is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from streams.events import SegmentScore


@dataclass(frozen=True)
class Rejected:
    """A score that the sink will never take.

    place: of the scores that were added since the last flush that returned, 0 for the first. reason: what the sink said.
    """

    place: int
    reason: str


class Sink(ABC):
    """Keeps scores. `add` buffers, `flush` makes durable; the checkpoint calls flush before it acknowledges the input."""

    @abstractmethod
    def add(self, score: SegmentScore) -> None:
        """Buffer a score; a repeated one overwrites itself when flushed."""

    @abstractmethod
    async def flush(self) -> list[Rejected]:
        """Return when every added score is durable, except for those returned; none is buffered any more.

        Raises `SinkError` where that failed; the scores stay buffered.
        """

    @abstractmethod
    async def check(self) -> str:
        """One line about the sink, for `fvq doctor` and `/readyz`; raises `SinkError` where it cannot be used."""

    async def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Free what the sink holds; what was not flushed is lost."""
