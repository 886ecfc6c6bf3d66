"""Drops and recoveries in the course of one stream's scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DROP = 12.0
"""A score this many points below the usual one is a drop: a little more than the model's mean error, and visible to viewers."""


@dataclass(frozen=True)
class Drop:
    """A stretch of low scores.

    first: index of the first bad segment. usual: the median score before it. lowest: the lowest score of the stretch.
    recovered, after: index and score of the first good segment after the stretch; None where the stretch lasts to the end.
    """

    first: int
    usual: float
    lowest: float
    recovered: int | None
    after: float | None


def find_drops(scores: Sequence[float]) -> list[Drop]:
    """Stretches in which the score is more than `DROP` points below the usual score.

    The usual score is the median of the last 10 good segments. A stretch ends before the first segment whose score is at
    most `DROP / 2` points below it.
    """
    drops: list[Drop] = []
    good: list[float] = []
    first: int | None = None
    for index, score in enumerate(scores):
        usual = median(good[-10:]) if good else score
        if first is None and score < usual - DROP:
            first = index
        elif first is not None and score >= usual - DROP / 2:
            drops.append(Drop(first, usual, min(scores[first:index]), index, score))
            first = None
        if first is None:
            good.append(score)
    if first is not None:
        drops.append(Drop(first, median(good[-10:]), min(scores[first:]), None, None))
    return drops


def describe(drop: Drop, starts: Sequence[float]) -> str:
    """A drop in words. starts: the start of each segment, seconds."""
    text = f"quality drop from {drop.usual:.0f} to {drop.lowest:.0f} at {clock(starts[drop.first])} (segment {drop.first})"
    if drop.recovered is None:
        return f"{text}, not recovered"
    return f"{text}, recovered to {drop.after:.0f} at {clock(starts[drop.recovered])} (segment {drop.recovered})"


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
