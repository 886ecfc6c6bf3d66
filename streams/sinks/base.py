"""What a sink of scores is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from streams.events import SegmentScore


@dataclass(frozen=True)
class Rejected:
    """A score that the sink will never take. reason: what it said."""

    score: SegmentScore
    reason: str


class Sink(ABC):
    """Keeps scores. `add` buffers, `flush` makes durable; the checkpoint calls flush before it acknowledges the input."""

    @abstractmethod
    def add(self, score: SegmentScore) -> None:
        """Buffer a score; a repeated one overwrites itself when flushed."""

    @abstractmethod
    async def flush(self) -> list[Rejected]:
        """Return when every added score is durable, but for those returned, which are no longer buffered.

        Raises `SinkError` where that failed; the scores stay buffered.
        """

    @abstractmethod
    async def check(self) -> str:
        """One line about the sink, for `fvq doctor` and `/readyz`; raises `SinkError` where it cannot be used."""

    async def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Free what the sink holds; what was not flushed is lost."""


class SinkError(Exception):
    """The sink cannot take scores now; the reason says what to do. retry_after: seconds that it asks to be left alone."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
