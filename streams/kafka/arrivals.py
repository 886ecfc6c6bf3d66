"""When a message came to its topic, by this machine's clock.

A message's own time is its producer's: that host's clock may be wrong, and a producer that was cut off sends what it has kept
with the times from before. Such messages have not waited in the topic. Where its partition still ended before a message at some
look, the message came later than that.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST_LOOKS = 256
"""Looks that are remembered of a partition, of those at which its end had moved."""


class Arrivals:
    """Where the partitions of a topic ended at each look. One thread notes, any other may ask."""

    def __init__(self) -> None:
        self._looks: dict[int, tuple[tuple[float, int], ...]] = {}

    def note(self, ends: Mapping[int, int], at: float) -> None:
        """Take in a look. ends: the offset after each partition's last message. at: when that was asked, seconds since 1970."""
        for partition, end in ends.items():
            looks = self._looks.get(partition, ())
            if looks and looks[0][1] == end:
                looks = looks[1:]
            # A new tuple: another thread may be reading the old one.
            self._looks[partition] = ((at, end), *looks[: MOST_LOOKS - 1])

    def earliest(self, partition: int, offset: int, sent: float | None) -> float | None:
        """When a message can have come at the earliest, seconds since 1970.

        sent: its own time, which is taken where no look says that it came later.
        """
        for at, end in self._looks.get(partition, ()):
            if end <= offset:
                return at if sent is None else max(at, sent)
        return sent
