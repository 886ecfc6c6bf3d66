"""The keyframes of files whose clock jumps: their stamps are ambiguous, so packets are counted instead of seeking."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Keyframes:
    """times: seconds on the running clock, ascending, at least one; numbers: how many packets come before each."""

    times: list[float]
    numbers: list[int]

    def packets_before(self, time: float) -> int:
        """The number of packets before the last keyframe at or before `time`."""
        return self.numbers[max(0, bisect_right(self.times, time) - 1)]


_scanned: dict[tuple[int, ...], Keyframes | None] = {}
"""The file that was scanned last, and its keyframes."""


def keyframes_of(file: BinaryIO, scan: Callable[[], Keyframes | None]) -> Keyframes | None:
    """What `scan` finds in the whole file: its keyframes, or None where its clock does not jump. It is called once for a file."""
    facts = os.fstat(file.fileno())
    identity = facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
    if identity not in _scanned:
        keyframes = scan()
        _scanned.clear()
        _scanned[identity] = keyframes
    return _scanned[identity]
