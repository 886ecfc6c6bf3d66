"""Drops and recoveries in the course of one stream's scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DROP = 12.0
"""Points under what is usual from which viewers notice: about the mean error of the model and some more."""


@dataclass(frozen=True)
class Drop:
    """Scores fell. first, last: index of the first bad and, once recovered, of the first good segment after it."""

    first: int
    usual: float
    lowest: float
    recovered: int | None
    after: float | None


def find_drops(scores: Sequence[float], drop: float = DROP) -> list[Drop]:
    """Stretches in which the score is more than `drop` points under the median of up to 10 good segments before.

    A stretch ends when the score comes back to within half the drop of what was usual.
    """
    drops: list[Drop] = []
    good: list[float] = []
    begun: int | None = None
    for index, score in enumerate(scores):
        usual = median(good[-10:]) if good else score
        if begun is None and score < usual - drop:
            begun = index
        elif begun is not None and score >= usual - drop / 2:
            drops.append(Drop(begun, usual, min(scores[begun:index]), index, score))
            begun = None
        if begun is None:
            good.append(score)
    if begun is not None:
        drops.append(Drop(begun, median(good[-10:]), min(scores[begun:]), None, None))
    return drops


def describe(drop: Drop, starts: Sequence[float]) -> str:
    """A drop in words. starts: seconds at which each segment begins."""
    text = f"quality drop from {drop.usual:.0f} to {drop.lowest:.0f} at {clock(starts[drop.first])} (segment {drop.first})"
    if drop.recovered is None:
        return f"{text}, not recovered"
    return f"{text}, recovered to {drop.after:.0f} at {clock(starts[drop.recovered])} (segment {drop.recovered})"


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
