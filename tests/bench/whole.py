"""A real worker at work: CPU of a segment on its whole way, by process, and the memory that its processes take.

The worker is `fvq worker` with one sampling child, its model in its process, SQLite and all agents, on the embedded broker. It
answers a backlog, so nothing waits. The CPU time is that of the worker's processes alone.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.events import SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.bench.workers import ready_worker
from tests.support.cpu import cpu_seconds, group_cpu_seconds
from tests.support.topics import produce
from tests.support.waiting import wait_for

WARM = 8
"""Segments that are answered before any is counted."""


@dataclass(frozen=True)
class Whole:
    """ms: of a segment, all processes. own_ms: of the worker's own process: the model and all that surrounds it.

    memory_mb: proportional set sizes of the worker, and of its sampling child. tiers: how many segments got which look.
    """

    ms: float
    own_ms: float
    memory_mb: tuple[float, float]
    tiers: dict[str, int]


def measure(segments: Sequence[Path], count: int, streams: int, folder: Path, **settings: str) -> Whole:
    """Answer `count` segments of so many streams, each of which plays these files again and again."""
    with ready_worker("whole", folder, FVQ_LIVE_WINDOW="off", **settings) as (broker, worker, follower):
        produce(broker, SEGMENTS_TOPIC, [_event(segments, number, WARM, "warm") for number in range(WARM)])
        wait_for("the scores of the warm-up", lambda: len(follower.read()) >= WARM, 120)
        before, own = group_cpu_seconds(worker.pid), cpu_seconds(worker.pid)
        produce(broker, SEGMENTS_TOPIC, [_event(segments, number, streams, "run") for number in range(count)])
        wait_for("every score", lambda: len(follower.read()) >= WARM + count, 240, every=0.1)
        used, own = group_cpu_seconds(worker.pid) - before, cpu_seconds(worker.pid) - own
        scores = [SegmentScore.from_bytes(value) for value in follower.values[WARM:]]
        memory = _memory_mb(worker.pid)
    tiers = Counter(str(score.tier) for score in scores)
    return Whole(used / count * 1000, own / count * 1000, memory, dict(tiers))


def _event(segments: Sequence[Path], number: int, streams: int, name: str) -> SegmentEvent:
    stream, sequence = number % streams, number // streams
    return SegmentEvent(
        stream_id=f"{name}-{stream}",
        segment_id=f"{name}-{stream}/{sequence}",
        sequence=sequence,
        uri=segments[sequence % len(segments)].as_uri(),
        start=datetime.now(UTC) + timedelta(seconds=2 * sequence - 3600),
        duration=2.0,
    )


def _memory_mb(pid: int) -> tuple[float, float]:
    """MiB of a worker, and of the largest of its children: its sampling child."""
    children: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():  # each thread has the children that it started
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended
            children |= {int(child) for child in (thread / "children").read_text().split()}
    return _proportional_mb(pid), max(map(_proportional_mb, children))


def _proportional_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss")
