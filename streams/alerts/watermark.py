"""The watermark: until when a stream was certainly silent, and not just waiting to be scored.

A stream without new scores may be dead; or the scorer is slow, or the sink is away. Only what was announced can tell. Take a
moment, and the ends of the segments topic at it. Once every segment before these ends has been answered, and all those answers
have been read, a stream without a new score was silent until that moment.
"""

from __future__ import annotations

from collections.abc import Mapping


class Watermark:
    """The moment until which everything that was announced has been answered and read. Times: seconds of the caller's clock."""

    def __init__(self) -> None:
        self.until: float | None = None
        self._unanswered: tuple[float, dict[int, int]] | None = None
        self._unread: tuple[float, dict[int, int]] | None = None

    def restart(self) -> None:
        """Begin anew with the next call, as after a time in which nobody needed to know."""
        self._unanswered = self._unread = None

    def advance(
        self,
        now: float,
        announced: Mapping[int, int],
        answered: Mapping[int, int],
        scored: Mapping[int, int],
        read: Mapping[int, int],
    ) -> float | None:
        """The present watermark; None while there is none yet.

        All arguments but `now` are offsets by partition, measured after `now` and in this order. announced: ends of the
        segments topic. answered: its offsets that the workers have committed. scored: ends of the caller's partitions of the
        scores topic. read: offsets of these partitions up to which the caller has read.
        """
        if self._unanswered is None and self._unread is None:
            self._unanswered = now, dict(announced)
        if self._unanswered is not None:
            moment, ends = self._unanswered
            if all(answered.get(partition, 0) >= end for partition, end in ends.items()):
                # A score is acknowledged before its segment is committed, so all these scores are before the present ends.
                self._unanswered, self._unread = None, (moment, dict(scored))
        if self._unread is not None:
            moment, ends = self._unread
            # A partition that is not in `read` was given to another worker.
            if all(read[partition] >= end for partition, end in ends.items() if partition in read):
                self._unread, self.until = None, moment
        return self.until
