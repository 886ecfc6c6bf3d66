"""How good the alerts are: streams with known incidents, made from real scores, through the real logic.

`assets/ladders.csv` has the shipped model's scores of real faces that it was not trained on: each in four framings, encoded
at six steps from excellent to bad, in windows of two seconds (`tests/bench/ladders.py` makes it). A stream is one person before
one camera, that is one framing; or its shots change framing. Its segments change window, so that the scores vary as the model's
do, and noise of each ladder's own spread is added, for four windows would repeat. Between the steps the scores are interpolated:
that gives an incident its depth.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from statistics import median, quantiles

import numpy as np
from numpy.typing import NDArray

from streams.alerts.detector import step
from streams.alerts.policy import Alerts
from streams.alerts.state import StreamState
from streams.events import SegmentScore, Signals

SEGMENT_SECONDS = 2.0
DAY = 86400.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

DEPTHS = (10.0, 15.0, 20.0, 30.0)
"""Points by which an incident's expected scores are under those before it."""

INCIDENT_SECONDS = (30.0, 300.0)
APART_SECONDS = 1800.0
"""Mean time between incidents; a third of it at least, so that the baseline has settled."""

SHOT_SECONDS = (4.0, 40.0)
"""Shortest and mean length of a shot."""

NEW_WINDOW = 0.5
"""Chance that a segment shows another window than the one before."""

LEAST_USUAL = 55.0
"""A stream is usually at least this good: one that is always bad has no incidents to find, and its alert is no false one."""

GRACE_SECONDS = 60.0
"""An alert so soon after an incident's end is still a consequence of it, and not counted as a false one."""


@dataclass(frozen=True)
class Ladder:
    """One person's scores. scores: (framings, windows, steps), points. spread: (framings,), of the windows of a step."""

    person: str
    scores: NDArray[np.float64]
    spread: NDArray[np.float64]

    def usual(self, position: float) -> float:
        """The expected score at a position between 0, the best step, and the last."""
        return float(np.interp(position, np.arange(self.scores.shape[2]), self.scores.mean(axis=(0, 1))))

    def position(self, score: float) -> float:
        """The position with this expected score."""
        means = self.scores.mean(axis=(0, 1))
        return float(np.interp(-score, -means, np.arange(len(means))))


@dataclass(frozen=True)
class Incident:
    """Segments from first up to, not with, end are worse by depth."""

    first: int
    end: int
    depth: float


@dataclass
class Found:
    """What came of the incidents of one depth. delays: segments from the first bad one to the one that fired, both counted."""

    incidents: int = 0
    missed: int = 0
    delays: list[int] = field(default_factory=list)


@dataclass
class Evaluation:
    """The result. stream_days: how much was looked at. false_alarms: alerts outside of incidents, by kind. repeats: alerts of
    an incident beyond the first of their kind."""

    stream_days: float = 0.0
    by_depth: dict[float, Found] = field(default_factory=dict)
    false_alarms: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    def add(self, other: Evaluation) -> None:
        """Take in what was found on other streams."""
        self.stream_days += other.stream_days
        self.false_alarms += other.false_alarms
        self.repeats += other.repeats
        for depth, found in other.by_depth.items():
            mine = self.by_depth.setdefault(depth, Found())
            mine.incidents += found.incidents
            mine.missed += found.missed
            mine.delays += found.delays

    def report(self) -> dict[str, object]:
        """For JSON: delays as median and 95th percentile, false alarms also per stream and day and week."""
        days, false = self.stream_days, self.false_alarms.total()
        depths: list[dict[str, object]] = []
        for depth, found in sorted(self.by_depth.items()):
            late = [found.delays[0]] * 2 if len(found.delays) == 1 else found.delays
            depths.append(
                {
                    "depth": depth,
                    "incidents": found.incidents,
                    "missed": found.missed,
                    "median_delay_segments": median(late) if late else None,
                    "p95_delay_segments": round(quantiles(late, n=20)[-1], 1) if late else None,
                }
            )
        return {
            "stream_days": round(days, 2),
            "segment_seconds": SEGMENT_SECONDS,
            "incidents": depths,
            "false_alarms": dict(self.false_alarms),
            "false_alarms_per_stream_day": round(false / days, 4),
            "false_alarms_per_stream_week": round(7 * false / days, 3),
            "repeats": self.repeats,
        }


def load_ladders() -> list[Ladder]:
    """The ladders that the package ships."""
    cells: dict[str, dict[tuple[str, int, int], float]] = {}
    with resources.files("streams.alerts").joinpath("ladders.csv").open() as file:
        for row in csv.DictReader(file):
            key = row["framing"], int(row["window"]), int(row["step"])
            cells.setdefault(row["person"], {})[key] = float(row["score"])
    ladders = []
    for person, scores in cells.items():
        framings, windows, steps = (sorted({key[axis] for key in scores}, key=str) for axis in range(3))
        table = np.array([[[scores[f, w, s] for s in steps] for w in windows] for f in framings])  # type: ignore[index]
        ladders.append(Ladder(person, table, np.sqrt(table.var(axis=1).mean(axis=1))))
    return ladders


def make_stream(
    ladder: Ladder, days: float, dice: np.random.Generator, incidents: bool = True
) -> tuple[NDArray[np.float64], list[Incident]]:
    """Scores of so many days, one for each segment, and what is wrong with them."""
    count = int(days * DAY / SEGMENT_SECONDS)
    best, worst = ladder.position(100.0), ladder.position(LEAST_USUAL)
    usual_at = dice.uniform(best, worst)
    positions = np.full(count, usual_at)
    made = list(_incidents(count, dice)) if incidents else []
    for one in made:
        positions[one.first : one.end] = ladder.position(ladder.usual(usual_at) - one.depth)
    framings = _shots(count, ladder.scores.shape[0], dice)
    windows = _windows(count, ladder.scores.shape[1], dice)
    lower = np.minimum(positions.astype(int), ladder.scores.shape[2] - 2)
    share = positions - lower
    scores = (1 - share) * ladder.scores[framings, windows, lower] + share * ladder.scores[framings, windows, lower + 1]
    return np.clip(scores + dice.normal(size=count) * ladder.spread[framings], 0, 100), made


def _incidents(count: int, dice: np.random.Generator) -> Iterator[Incident]:
    at = 0.0
    while True:
        at += APART_SECONDS / 3 + dice.exponential(APART_SECONDS * 2 / 3)
        seconds = dice.uniform(*INCIDENT_SECONDS)
        first, end = int(at / SEGMENT_SECONDS), int((at + seconds) / SEGMENT_SECONDS)
        if end >= count:
            return
        yield Incident(first, end, float(dice.choice(DEPTHS)))
        at += seconds


def _shots(count: int, framings: int, dice: np.random.Generator) -> NDArray[np.int64]:
    shortest, mean = SHOT_SECONDS
    lengths = (shortest + dice.exponential(mean - shortest, size=int(3 * count * SEGMENT_SECONDS / mean) + 10)) / SEGMENT_SECONDS
    ends = np.cumsum(lengths)
    kinds = dice.integers(framings, size=len(ends))
    return kinds[np.minimum(np.searchsorted(ends, np.arange(count), side="right"), len(ends) - 1)]


def _windows(count: int, windows: int, dice: np.random.Generator) -> NDArray[np.int64]:
    changes = np.cumsum(dice.random(count) < NEW_WINDOW)
    return dice.integers(windows, size=count + 1)[changes]


def judge(scores: NDArray[np.float64], incidents: list[Incident], limits: Alerts, into: Evaluation) -> None:
    """Send a stream through the logic, and add what it found to the evaluation."""
    fired = list(_fired(scores, limits))
    grace = int(GRACE_SECONDS / SEGMENT_SECONDS)
    belongs: dict[int, list[tuple[int, str]]] = {}
    for index, kind in fired:
        for number, one in enumerate(incidents):
            if one.first <= index < one.end + grace:
                belongs.setdefault(number, []).append((index, kind))
                break
        else:
            into.false_alarms[kind] += 1
    for number, one in enumerate(incidents):
        found = into.by_depth.setdefault(one.depth, Found())
        found.incidents += 1
        its = [(index, kind) for index, kind in belongs.get(number, []) if index < one.end]
        if its:
            found.delays.append(its[0][0] - one.first + 1)
        else:
            found.missed += 1
        into.repeats += len(its) - len({kind for _, kind in its})
    into.stream_days += len(scores) * SEGMENT_SECONDS / DAY


def _fired(scores: NDArray[np.float64], limits: Alerts) -> Iterator[tuple[int, str]]:
    """Index of the segment that fired an alert, and its kind."""
    state = StreamState("stream")
    fine = Signals(black=0, freeze=0, blur=0, blockiness=0, noise=0, luma=128, contrast=40)
    for index, value in enumerate(scores):
        # Not validated: these are millions, and all of one form.
        score = SegmentScore.model_construct(
            stream_id="stream",
            segment_id=str(index),
            uri="",
            sequence=index,
            start=BEGIN + timedelta(seconds=index * SEGMENT_SECONDS),
            duration=SEGMENT_SECONDS,
            rendition=None,
            labels={},
            ended=False,
            status="scored",
            score=float(value),
            signals=fine,
        )
        state, alerts = step(state, score, limits)
        for alert in alerts:
            if alert.state == "firing":
                yield index, alert.kind


def evaluate(limits: Alerts, days: float, cuts: bool = False, seed: int = 0) -> Evaluation:
    """The limits on so many days in all. cuts: whether streams have shots of all framings, or one. The same seed makes the same
    streams."""
    ladders = load_ladders()
    if not cuts:
        ladders = [one_framing for ladder in ladders for one_framing in _framings(ladder)]
    result = Evaluation()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        tasks = [pool.submit(_evaluate, one, limits, days / len(ladders), [seed, i]) for i, one in enumerate(ladders)]
        for task in tasks:
            result.add(task.result())
    return result


def _framings(ladder: Ladder) -> Iterator[Ladder]:
    for number in range(len(ladder.spread)):
        yield replace(ladder, scores=ladder.scores[number : number + 1], spread=ladder.spread[number : number + 1])


def _evaluate(ladder: Ladder, limits: Alerts, days: float, seed: list[int]) -> Evaluation:
    result = Evaluation()
    judge(*make_stream(ladder, days, np.random.default_rng(seed)), limits, result)
    return result


def table(report: dict[str, object]) -> str:
    """A report as Markdown."""
    lines = [
        "| drop, points | incidents | missed | median delay, segments | 95th percentile |",
        "|---|---|---|---|---|",
    ]
    for row in report["incidents"]:  # type: ignore[attr-defined]
        values = [row["depth"], row["incidents"], row["missed"], row["median_delay_segments"], row["p95_delay_segments"]]
        lines.append(f"| {' | '.join('-' if value is None else f'{value:g}' for value in values)} |")
    lines += [
        "",
        f"False alarms: {sum(report['false_alarms'].values())} in {report['stream_days']:g} stream-days, "  # type: ignore[attr-defined]
        f"{report['false_alarms_per_stream_day']:g} per stream-day, {report['false_alarms_per_stream_week']:g} per stream-week.",
    ]
    return "\n".join(lines)
