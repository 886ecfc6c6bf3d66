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


_scanned: dict[tuple[float, ...], Keyframes | None] = {}
"""The file that was scanned last, and its keyframes: a sampling child gets the windows of a file one after the other."""


def keyframes_of(file: BinaryIO, longest_gap: float, scan: Callable[[], Keyframes | None]) -> Keyframes | None:
    """What `scan` finds in the whole file: its keyframes, or None where its clock does not jump. It is called once for a file.

    longest_gap: seconds from which on the scan takes a gap for a jump.
    """
    identity = *identity_of(file), longest_gap
    if identity in _scanned:
        return _scanned[identity]
    keyframes = scan()
    _scanned.clear()
    _scanned[identity] = keyframes
    return keyframes


def identity_of(file: BinaryIO) -> tuple[float, ...]:
    """Tells an open file from others, and from what it was before it was changed."""
    facts = os.fstat(file.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
