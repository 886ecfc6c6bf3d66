"""Streams with known incidents, made from real scores, to measure the alerts with.

`ladders.csv` has the shipped model's scores of real faces that it was not trained on: each person in four framings, encoded at
six steps from excellent to bad, in windows of two seconds (`tests/bench/ladders.py` makes it). A stream is one person before one
camera, which is one framing; or its shots change framing. Its segments change window, so that the scores vary as the model's
do. Noise of the ladder's own spread is added, because four windows alone would repeat. The scores are interpolated between
the steps, and go on in parallel below the last one, so that an incident has exactly its depth.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEGMENT_SECONDS = 2.0
DAY_SECONDS = 86400.0

DEPTHS = (10.0, 15.0, 20.0, 30.0)
"""Points by which an incident's expected scores are below those before it."""

INCIDENT_SECONDS = (30.0, 300.0)
"""Shortest and longest incident."""

APART_SECONDS = 1800.0
"""Mean time between incidents. They are at least a third of it apart, so that the baseline has settled."""

SHOT_SECONDS = (4.0, 40.0)
"""Shortest and mean length of a shot."""

NEW_WINDOW = 0.5
"""Probability that a segment shows another window than the one before."""

MIN_USUAL_SCORE = 55.0
"""A stream is usually at least this good. One that is always bad has no incidents to find, and its alert is no false one."""


@dataclass(frozen=True)
class Ladder:
    """One person's scores. scores: (framings, windows, steps), points. spread: (framings,), standard deviation over windows."""

    person: str
    scores: NDArray[np.float64]
    spread: NDArray[np.float64]

    def expected_score(self, position: float) -> float:
        """The mean score at a position between 0, the best step, and the last step."""
        return float(np.interp(position, np.arange(self.scores.shape[2]), self.scores.mean(axis=(0, 1))))

    def position_of(self, score: float) -> float:
        """The position at which this score, in points, is expected."""
        means = self.scores.mean(axis=(0, 1))
        return float(np.interp(-score, -means, np.arange(len(means))))

    def by_framing(self) -> list[Ladder]:
        """One ladder for each framing."""
        return [
            replace(self, scores=self.scores[number : number + 1], spread=self.spread[number : number + 1])
            for number in range(len(self.spread))
        ]


@dataclass(frozen=True)
class Incident:
    """Segments from `first` up to, but not including, `end` are worse by `depth` points."""

    first: int
    end: int
    depth: float


def load_ladders(path: Path | None = None) -> list[Ladder]:
    """The ladders of a file; without one, those that the package ships."""
    cells: dict[str, dict[tuple[str, int, int], float]] = {}
    with (path or resources.files("streams.alerts").joinpath("ladders.csv")).open() as file:
        for row in csv.DictReader(file):
            key = row["framing"], int(row["window"]), int(row["step"])
            cells.setdefault(row["person"], {})[key] = float(row["score"])
    ladders = []
    for person, scores in cells.items():
        framings, windows, steps = (sorted({key[axis] for key in scores}, key=str) for axis in range(3))
        table = np.array([[[scores[f, w, s] for s in steps] for w in windows] for f in framings])  # type: ignore[index]
        ladders.append(Ladder(person, table, np.sqrt(table.var(axis=1).mean(axis=1))))
    return ladders


def make_stream(ladder: Ladder, days: float, dice: np.random.Generator) -> tuple[NDArray[np.float64], list[Incident]]:
    """The scores of a stream, one for each segment, 0 to 100 points, and its incidents. days: its length, more than 0."""
    count = int(days * DAY_SECONDS / SEGMENT_SECONDS)
    usual_at = dice.uniform(ladder.position_of(100.0), ladder.position_of(MIN_USUAL_SCORE))
    positions, below = np.full(count, usual_at), np.zeros(count)
    incidents = list(_incidents(count, dice))
    for incident in incidents:
        lowered = ladder.expected_score(usual_at) - incident.depth
        bad_at = ladder.position_of(lowered)
        positions[incident.first : incident.end] = bad_at
        below[incident.first : incident.end] = ladder.expected_score(bad_at) - lowered
    framings = _shots(count, ladder.scores.shape[0], dice)
    windows = _windows(count, ladder.scores.shape[1], dice)
    step = np.minimum(positions.astype(int), ladder.scores.shape[2] - 2)
    share = positions - step
    scores = (1 - share) * ladder.scores[framings, windows, step] + share * ladder.scores[framings, windows, step + 1]
    return np.clip(scores - below + dice.normal(size=count) * ladder.spread[framings], 0, 100), incidents


def _incidents(count: int, dice: np.random.Generator) -> Iterator[Incident]:
    """Incidents at random times in a stream of `count` segments."""
    seconds = 0.0
    while True:
        seconds += APART_SECONDS / 3 + dice.exponential(APART_SECONDS * 2 / 3)
        length = dice.uniform(*INCIDENT_SECONDS)
        first, end = int(seconds / SEGMENT_SECONDS), int((seconds + length) / SEGMENT_SECONDS)
        if end >= count:
            return
        yield Incident(first, end, float(dice.choice(DEPTHS)))
        seconds += length


def _shots(count: int, framings: int, dice: np.random.Generator) -> NDArray[np.int64]:
    """The framing of each segment, as shots follow each other."""
    shortest, mean = SHOT_SECONDS
    # Three times as many shots as are expected, so that they always fill the stream.
    lengths = (shortest + dice.exponential(mean - shortest, size=int(3 * count * SEGMENT_SECONDS / mean) + 10)) / SEGMENT_SECONDS
    ends = np.cumsum(lengths)
    of_shots = dice.integers(framings, size=len(ends))
    return of_shots[np.minimum(np.searchsorted(ends, np.arange(count), side="right"), len(ends) - 1)]


def _windows(count: int, windows: int, dice: np.random.Generator) -> NDArray[np.int64]:
    """The window that each segment shows."""
    changes = np.cumsum(dice.random(count) < NEW_WINDOW)
    return dice.integers(windows, size=count + 1)[changes]
