"""Until when a stream is silent for certain, and not merely waiting to be scored.

A stream without new scores may be dead, or the scorer may be slow, or the sink away. Only what was announced tells: once
every segment that stood on the segments topic at a moment has been answered, and all those answers have been read, a stream
without a new one was silent until that moment.
"""

from __future__ import annotations

from collections.abc import Mapping


class Watermark:
    """The moment until which everything announced has come through. Times are seconds of any one clock of the caller."""

    def __init__(self) -> None:
        self.until: float | None = None
        self._announced: tuple[float, dict[int, int]] | None = None
        self._answered: tuple[float, dict[int, int]] | None = None

    def advance(
        self,
        now: float,
        announced: Mapping[int, int],
        answered: Mapping[int, int],
        scored: Mapping[int, int],
        read: Mapping[int, int],
    ) -> float | None:
        """The moment as it is now; None while it is not known yet.

        All are offsets by partition, measured after `now` and in this order. announced: ends of the segments topic.
        answered: offsets of it that the workers have committed. scored: ends of the caller's partitions of the scores topic.
        read: offsets of those that the caller has read.
        """
        if self._announced is None and self._answered is None:
            self._announced = now, dict(announced)
        if self._announced is not None:
            moment, ends = self._announced
            if all(answered.get(partition, 0) >= end for partition, end in ends.items()):
                # A score is acknowledged before its segment is committed: all of them are before these ends.
                self._announced, self._answered = None, (moment, dict(scored))
        if self._answered is not None:
            moment, ends = self._answered
            if all(read[partition] >= end for partition, end in ends.items() if partition in read):
                self._answered, self.until = None, moment
        return self.until
