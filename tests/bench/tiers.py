"""How good the tiers are: changes that they miss, how late they are, how many full looks steady streams get, and what all costs.

    python -m tests.bench.tiers FOLDER [--source CLIP_OR_FOLDER] [--streams 12] [--usual]

FOLDER gets the made streams and what was measured of their segments: full look, glance, CPU seconds of both and of ffmpeg's full
decode. A second run measures what is missing, or has scores of another model than the shipped one, and evaluates the plan.
`--streams` measures so many more at most, and leaves the others out; `--usual` prints the table of usual differences,
`streams/scoring/usual_changes.json`.

Each stream's segments are played to the plan (`streams/scoring/tiers.py`) for `PLAYED` segments before the event and as many
after it, in random order: so a stream of seconds lasts for minutes. Whether an event changed the quality is what full looks at
all of its segments say: their means before and after it are `CHANGED` points apart.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

import numpy as np

from streams.alerts.course import Courses
from streams.alerts.policy import load_policy
from streams.events import ModelRef, SegmentEvent, SegmentScore, Signals
from streams.media.videos import find_videos
from streams.scoring.distance import names, values_of
from streams.scoring.tiers import (
    Facts,
    StreamTier,
    TierLimits,
    asked_by,
    differences_to,
    plan,
    with_full_look,
    with_glance,
    with_score,
)
from tests.bench.arguments import parser_of
from tests.bench.tier_looks import CHANGED, Measured, Stream, measured_streams
from tests.support.processes import ROOT

PLAYED = 240
"""Segments of each half of a stream that are played."""

WARM = 20
"""Segments after a stream's start and after an event that do not count as steady."""

IN_TIME = 3
"""A change of at least `CHANGED` points is missed where none of the first `IN_TIME` segments after it gets a full look."""

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Played:
    """What the plan did with one stream. steady: segments that count as such. delay: segments from the event to a full look."""

    stream: Stream
    steady: int = 0
    steady_full: int = 0
    reasons: dict[str, int] | None = None
    delay: int | None = None
    cost: float = 0.0
    segments: int = 0
    errors: list[float] | None = None


def play(stream: Stream, limits: TierLimits, policy: Courses, seed: int = 0) -> Played:
    """Play a stream to the plan."""
    rng = random.Random(f"{stream.name} {seed}")
    halves = [half for half in (stream.before, stream.after) if half]
    state: StreamTier | None = None
    looked: SegmentScore | None = None
    result = Played(stream, reasons={}, errors=[])
    for number in range(PLAYED * len(halves)):
        since_event = number % PLAYED
        segment = rng.choice(halves[number // PLAYED])
        event = _event(stream, number)
        facts = Facts(event, "nano")
        step = plan(state, facts, limits)
        cost = 0.0
        while step.step in ("headers", "keyframe"):
            with_picture = step.step == "keyframe"
            facts = Facts(event, "nano", segment.glance if with_picture else segment.headers, tried=with_picture)
            cost += segment.keyframe_s if with_picture else segment.headers_s
            step = plan(state, facts, limits)
        # After damage, or another change for the worse, full looks are what is wanted: an alert may be open.
        is_steady = since_event >= WARM and (number < PLAYED or not (stream.happens == "damage" or stream.is_changed))
        result.steady += is_steady
        if step.step == "glance":
            assert state is not None
            assert looked is not None
            state = with_glance(state, facts)
            result.errors.append(segment.score - (looked.score or 0.0))
            score = _score(event, segment, looked)
            if policy(score, BEGIN) == "no-picture" or policy.is_undecided(score):
                state = replace(state, asks="alert")
        else:
            assert step.reason is not None
            cost += segment.full_s + (0.0 if facts.tried else segment.keyframe_s)
            facts = Facts(event, "nano", segment.glance, tried=True)
            differences = differences_to(state, segment.glance)
            state = with_full_look(state, facts)
            score = _score(event, segment, None)
            course = policy(score, BEGIN)
            before = looked.score if looked is not None else None
            asks = asked_by(score, before, policy.is_undecided(score), course != "no-picture", limits)
            state = with_score(state, asks, None if before is None else segment.score - before, differences, limits)
            looked = score
            result.steady_full += is_steady
            if is_steady:
                result.reasons[step.reason] = result.reasons.get(step.reason, 0) + 1
            if number >= PLAYED and result.delay is None:
                result.delay = since_event
        result.segments += 1
        result.cost += cost / segment.decode_s
    return result


def _event(stream: Stream, number: int) -> SegmentEvent:
    start = BEGIN + timedelta(seconds=number * stream.seconds)
    return SegmentEvent(
        stream_id=stream.name, segment_id=str(number), sequence=number, uri="file:///s.ts", start=start, duration=stream.seconds
    )


def _score(event: SegmentEvent, segment: Measured, rests_on: SegmentScore | None) -> SegmentScore:
    signals = Signals(black=segment.black, freeze=segment.freeze, blur=0, blockiness=0, noise=0, luma=100, contrast=30)
    return SegmentScore(
        **SegmentScore.identity(event),
        status="scored",
        tier="full" if rests_on is None else "glance",
        score=segment.score if rests_on is None else rests_on.score,
        uncertainty=segment.uncertainty,
        signals=signals,
        model=ModelRef(name="nano", version="1"),
    )


def usual_differences(streams: Sequence[Stream]) -> dict[str, float]:
    """For each number of a glance the root mean square of the differences of unchanged segments."""
    squares = [
        (values_of(second.glance) - values_of(first.glance)) ** 2
        for stream in streams
        for half in (stream.before, stream.after)
        for first in half
        for second in half
        if first is not second
    ]
    means = np.sqrt(np.nanmean(np.array(squares), axis=0))
    return {name: float(f"{value:.3g}") for name, value in zip(names(), means, strict=True) if np.isfinite(value) and value > 0}


def row(title: str, played: Sequence[Played]) -> str:
    """A row of the table."""
    steady = sum(run.steady for run in played)
    changed = [run for run in played if run.stream.is_changed]
    missed = [run for run in changed if run.delay is None or run.delay >= IN_TIME]
    delays = [run.delay for run in changed if run.delay is not None]
    full = sum(run.steady_full for run in played) / max(1, steady)
    errors = [abs(error) for run in played for error in run.errors or []]
    return (
        f"| {title} | {len(played)} | {len(changed)} | {len(missed)} | {f'{median(delays):g}' if delays else '-'} | "
        f"{100 * full:.1f} % | {sum(run.cost for run in played) / sum(run.segments for run in played):.3f} | "
        f"{fmean(errors) if errors else 0:.1f} |"
    )


def report(streams: Sequence[Stream], limits: TierLimits) -> Iterator[str]:
    """The lines of the table."""
    played = [play(stream, limits, Courses(load_policy(None)), seed) for stream in streams for seed in range(3)]
    yield (
        "| streams | played | changed by 10 points | missed after 3 segments | median delay | full looks while steady | cost "
        "| mean error of a glance |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    kinds: dict[str, list[Played]] = {}
    for run in played:
        kinds.setdefault(f"{run.stream.happens}, {run.stream.height} lines", []).append(run)
    for kind, of_kind in kinds.items():
        yield row(kind, of_kind)
    yield row("all", played)


def facts_of(streams: Sequence[Stream]) -> Iterator[str]:
    """What the limits rest on: how far full looks at an unchanged stream are apart, and what each look costs."""
    halves = [half for stream in streams for half in (stream.before, stream.after)]
    apart = np.array([abs(first.score - second.score) for half in halves for first, second in combinations(half, 2)])
    yield (
        f"Full looks at an unchanged stream are {np.sqrt(np.mean(apart**2)):.1f} points apart (root mean square); "
        f"{100 * np.mean(apart > TierLimits.differs):.1f} % of the pairs by more than {TierLimits.differs:g}, "
        f"{100 * np.mean(apart > CHANGED):.1f} % by more than {CHANGED:g}."
    )
    for height in sorted({stream.height for stream in streams}):
        looks = [look for stream in streams if stream.height == height for look in (*stream.before, *stream.after)]
        decode = fmean(look.decode_s for look in looks)
        yield (
            f"At {height} lines, in full decodes: packets {fmean(look.headers_s for look in looks) / decode:.3f}, "
            f"with the keyframe {fmean(look.keyframe_s for look in looks) / decode:.3f}, "
            f"a full look {fmean(look.full_s for look in looks) / decode:.2f}."
        )


def main() -> int:
    """Measure, evaluate, print."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, action="append")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--usual", action="store_true")
    parser.add_argument("--each", action="store_true", help="also a row for each stream")
    parser.add_argument("--seen", type=int, default=TierLimits.seen)
    parser.add_argument("--distance", type=float, default=TierLimits.distance)
    parser.add_argument("--damage", type=float, default=TierLimits.damage)
    parser.add_argument("--headers", type=float, default=TierLimits.headers)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.folder.mkdir(parents=True, exist_ok=True)
    sources = find_videos(given.source or [ROOT / "examples/face.mp4"])
    streams = measured_streams(given.folder, list(sources), given.streams)
    if given.usual:
        print(json.dumps(usual_differences(streams), indent=1))
        return 0
    limits = TierLimits(distance=given.distance, damage=given.damage, headers=given.headers, seen=given.seen)
    print("\n".join([*report(streams, limits), "", *facts_of(streams)]))
    if given.each:
        for stream in streams:
            played = play(stream, limits, Courses(load_policy(None)))
            full = f"{played.steady_full}/{played.steady} {played.reasons}"
            print(f"{stream.name:34} change {stream.change:6.1f} delay {played.delay} full {full}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
