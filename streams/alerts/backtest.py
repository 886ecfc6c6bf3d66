"""How good the alerts are: streams with known incidents (`incidents.py`) go through the real detector; its alerts are counted.

The first alert inside an incident finds it. An alert outside of every incident, and not shortly after one, is a false alarm.
"""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles

import numpy as np
from numpy.typing import NDArray

from streams.alerts.detector import step
from streams.alerts.incidents import DAY_SECONDS, SEGMENT_SECONDS, Incident, Ladder, load_ladders, make_stream
from streams.alerts.limits import Alerts
from streams.alerts.state import StreamState
from streams.events import SegmentScore, Signals

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

LONGEST_STREAM_DAYS = 0.25
"""Streams last no longer than this: each has one usual quality, so that few long ones would say little of the others."""

GRACE_SECONDS = 60.0
"""An alert this soon after an incident's end is still a consequence of it, and not counted as a false alarm."""


@dataclass
class Detection:
    """How the incidents of one depth were detected.

    delays: segments from an incident's first one to the one that fired, both counted.
    """

    incidents: int = 0
    missed: int = 0
    delays: list[int] = field(default_factory=list)


@dataclass
class Evaluation:
    """The result.

    stream_days: length of all streams, days. by_depth: by depth in points. false_alarms: alerts outside of incidents, by
    kind. repeats: alerts of an incident beyond the first of their kind.
    """

    stream_days: float = 0.0
    by_depth: dict[float, Detection] = field(default_factory=dict)
    false_alarms: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    def add(self, other: Evaluation) -> None:
        """Add the result of other streams."""
        self.stream_days += other.stream_days
        self.false_alarms += other.false_alarms
        self.repeats += other.repeats
        for depth, detection in other.by_depth.items():
            total = self.by_depth.setdefault(depth, Detection())
            total.incidents += detection.incidents
            total.missed += detection.missed
            total.delays += detection.delays

    def report(self) -> dict[str, object]:
        """For JSON: delays as median and 95th percentile in segments, false alarms also per stream-day and stream-week."""
        days, false_alarms = self.stream_days, self.false_alarms.total()
        depths: list[dict[str, object]] = []
        for depth, detection in sorted(self.by_depth.items()):
            # quantiles() needs two values.
            delays = [detection.delays[0]] * 2 if len(detection.delays) == 1 else detection.delays
            depths.append(
                {
                    "depth": depth,
                    "incidents": detection.incidents,
                    "missed": detection.missed,
                    "median_delay_segments": median(delays) if delays else None,
                    "p95_delay_segments": round(quantiles(delays, n=20)[-1], 1) if delays else None,
                }
            )
        return {
            "stream_days": round(days, 2),
            "segment_seconds": SEGMENT_SECONDS,
            "incidents": depths,
            "false_alarms": dict(self.false_alarms),
            "false_alarms_per_stream_day": round(false_alarms / days, 4),
            "false_alarms_per_stream_week": round(7 * false_alarms / days, 3),
            "repeats": self.repeats,
        }


def evaluate(limits: Alerts, days: float, cuts: bool = False, seed: int = 0) -> Evaluation:
    """How good these limits are.

    days: length of all streams together. cuts: whether a stream's shots change between all framings, or it keeps one. seed:
    the same one makes the same streams.
    """
    ladders = load_ladders()
    if not cuts:
        ladders = [one_framing for ladder in ladders for one_framing in ladder.by_framing()]
    each = math.ceil(days / len(ladders) / LONGEST_STREAM_DAYS)
    total = Evaluation()
    # Ctrl-C goes to all processes of a terminal; this one decides.
    with ProcessPoolExecutor(os.cpu_count(), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        tasks = [
            pool.submit(_evaluate_stream, ladder, limits, days / len(ladders) / each, [seed, number, stream])
            for number, ladder in enumerate(ladders)
            for stream in range(each)
        ]
        try:
            for task in tasks:
                total.add(task.result())
        finally:
            # Ended early, it waits for the streams that are at work, and not for all the others.
            pool.shutdown(cancel_futures=True)
    return total


def judge_stream(scores: NDArray[np.float64], incidents: list[Incident], limits: Alerts) -> Evaluation:
    """How good the alerts of one stream are. scores: (segments,), points."""
    result = Evaluation(stream_days=len(scores) * SEGMENT_SECONDS / DAY_SECONDS)
    grace = int(GRACE_SECONDS / SEGMENT_SECONDS)
    by_incident: dict[int, list[tuple[int, str]]] = {}
    for segment, kind in firing(scores, limits):
        for number, incident in enumerate(incidents):
            if incident.first <= segment < incident.end + grace:
                by_incident.setdefault(number, []).append((segment, kind))
                break
        else:
            result.false_alarms[kind] += 1
    for number, incident in enumerate(incidents):
        detection = result.by_depth.setdefault(incident.depth, Detection())
        detection.incidents += 1
        inside = [(segment, kind) for segment, kind in by_incident.get(number, []) if segment < incident.end]
        if inside:
            detection.delays.append(inside[0][0] - incident.first + 1)
        else:
            detection.missed += 1
        result.repeats += len(inside) - len({kind for _, kind in inside})
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


def _evaluate_stream(ladder: Ladder, limits: Alerts, days: float, seed: list[int]) -> Evaluation:
    return judge_stream(*make_stream(ladder, days, np.random.default_rng(seed)), limits)


def firing(scores: NDArray[np.float64], limits: Alerts) -> Iterator[tuple[int, str]]:
    """Of each alert that fires: the index of its segment, and its kind."""
    state = StreamState("stream")
    clear_picture = Signals(black=0, freeze=0, blur=0, blockiness=0, noise=0, luma=128, contrast=40)
    for index, value in enumerate(scores):
        # Not validated: there are millions of scores, all of the same form.
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
            signals=clear_picture,
        )
        state, alerts = step(state, score, limits)
        for alert in alerts:
            if alert.state == "firing":
                yield index, alert.kind
