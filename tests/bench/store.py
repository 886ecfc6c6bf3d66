"""The SQLite store: bytes of a row, time of a flush, and what a history's questions cost.

    python -m tests.bench.store [FOLDER]

It writes a day of 10 streams with segments of 2 s (432,000 scores), then asks about one of them.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from streams.events import FaceSummary, ModelRef, SegmentScore, Signals
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from streams.sinks.sqlite_file import open_file, put, row_of, writing
from tests.bench.arguments import parser_of

STREAMS, SEGMENTS, BATCH, FLUSHES = 10, 43_200, 8, 200
START = datetime(2026, 1, 1, tzinfo=UTC)


def scores(segments: int = SEGMENTS) -> Iterator[SegmentScore]:
    """Scores as a worker makes them, with as many digits, in the order in which they would come."""
    chance = random.Random(1)
    for number in range(segments):
        for stream in range(STREAMS):
            yield _score(chance, f"channel-{stream}", number)


def _score(chance: random.Random, stream_id: str, number: int) -> SegmentScore:
    shares = [chance.random() for _ in range(5)]
    names = ("bad", "poor", "fair", "good", "excellent")
    return SegmentScore.model_construct(
        stream_id=stream_id, segment_id=f"{stream_id}/720p/{number:08}", sequence=number,
        uri=f"https://origin.example/live/{stream_id}/720p/segment-{number:08}.ts", rendition="720p",
        start=START + timedelta(seconds=2 * number, microseconds=chance.randrange(1000)), duration=2.0,
        labels={"tier": "premium", "origin": "fra2"}, ended=False, status="scored", score=round(chance.uniform(0, 100), 2),
        level="good", level_probs={name: round(share / sum(shares), 4) for name, share in zip(names, shares, strict=True)},
        uncertainty=round(chance.uniform(2, 15), 2), faces=FaceSummary(count=1, area=chance.random()),
        signals=Signals(
            black=chance.random(), freeze=0.0, blur=chance.random(), blockiness=chance.random(), noise=chance.random(),
            luma=100 * chance.random(), contrast=50 * chance.random(),
        ),
        model=ModelRef(name="nano", version="bf217f7df567"), tier="full", fingerprint=f"{chance.getrandbits(64):016x}",
        timing={
            "fetch_ms": round(chance.uniform(0, 90), 1), "sample_ms": round(chance.uniform(20, 300), 1),
            "score_ms": round(chance.uniform(5, 90), 1), "lag_s": round(chance.uniform(0.2, 3), 3),
        },
    )  # fmt: skip


async def flush_ms(sink: SqliteSink) -> float:
    """Milliseconds until a batch of 8 scores is on the disk, the median."""
    waiting, times = scores(FLUSHES), []
    for _ in range(FLUSHES):
        for _ in range(BATCH):
            sink.add(next(waiting))
        started = time.monotonic()
        await sink.flush()
        times.append(time.monotonic() - started)
    return median(times) * 1000


def fill(folder: Path) -> Path:
    """A file with all scores."""
    path = folder / "scores.sqlite"
    with closing(open_file(path)) as connection:
        rows = [row_of(score) for score in scores()]
        for first in range(0, len(rows), 5000):
            with writing(connection):
                put(connection, rows[first : first + 5000])
        connection.execute("pragma wal_checkpoint(truncate)")
    return path


async def cost(question: Callable[[], Awaitable[object]]) -> str:
    """CPU and wall milliseconds of a question, the medians of 9."""
    cpu, wall = [], []
    for _ in range(9):
        started, started_cpu = time.monotonic(), time.process_time()
        await question()
        wall.append(time.monotonic() - started)
        cpu.append(time.process_time() - started_cpu)
    return f"{median(cpu) * 1000:.1f} ms of CPU, {median(wall) * 1000:.1f} ms"


async def main(folder: Path) -> None:
    """Print the figures."""
    print(f"flush of {BATCH} scores: {await flush_ms(SqliteSink(folder / 'flushes', days=30)):.1f} ms")
    path = fill(folder / "day")
    print(f"bytes of a row, with its indexes: {path.stat().st_size / STREAMS / SEGMENTS:.0f}")
    history, end = SqliteHistory(path), START + timedelta(days=1)
    stream = "channel-3"
    print(f"24 h in 500 buckets: {await cost(lambda: history.course(stream, None, START, end, 500))}")
    print(f"1 h in 500 buckets: {await cost(lambda: history.course(stream, None, end - timedelta(hours=1), end, 500))}")
    print(f"last 60 segments: {await cost(lambda: history.segments(stream, None, START, end, 60))}")
    print(f"one segment: {await cost(lambda: history.segment(stream, f'{stream}/720p/00020000'))}")


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fvq-store-") as temporary:
        asyncio.run(main(options.folder or Path(temporary)))
