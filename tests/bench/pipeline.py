"""Throughput of the whole path against a bare decode of the same segments, in one run.

    python -m tests.bench.pipeline [--segments 60] [--height 720] [--json]

The whole path is what a user runs: events from Kafka (the embedded broker), a worker with its in-process scorer, scores
acknowledged by Kafka and SQLite. The bare decode is ffmpeg, which decodes every frame of the same segments and discards it,
with one process for each core. The speed of a machine varies, so the result to compare is the ratio of the two. The decode
is measured before and after the whole path, and both rates are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch

from scorer.load import load_engine
from scorer.sampling import SamplerPool, probe
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.ingest.files import cut, find_sources
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from streams.ports import free_port
from tests.bench.arguments import parser_of
from tests.support.pages import read_page
from tests.support.processes import ROOT, Worker
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
DEMO = ROOT / "examples/face.mp4"


def make_segments(folder: Path, height: int) -> list[Path]:
    """The demo clip, scaled to 16:9 at `height`, cut into segments of 2 s."""
    clip = folder / "clip.mp4"
    size = f"scale=-2:{height},crop=min(iw\\,{height * 16 // 9}):{height},pad={height * 16 // 9}:{height}:-1:-1"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", "50", "-keyint_min", "50"]
    subprocess.run([FFMPEG, "-v", "error", "-i", str(DEMO), "-vf", size, *encode, str(clip)], check=True)
    (source,) = find_sources(clip)
    return [segment.path for segment in cut(source, folder, 2.0, probe)]


def bare_decode(segments: list[Path], count: int) -> float:
    """Segments per second that ffmpeg decodes: one process with one thread for each segment, on all cores."""

    def decode(path: Path) -> None:
        subprocess.run([FFMPEG, "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"], check=True)

    started = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(decode, (segments[i % len(segments)] for i in range(count))))
    return count / (time.monotonic() - started)


def whole_path(segments: list[Path], count: int, folder: Path) -> tuple[float, list[SegmentScore]]:
    """Segments per second from the first event sent to the last score read, and the scores."""
    with EmbeddedBroker() as broker:
        create_topics(Connection(broker.address), partitions=4, replication=1)
        port = free_port("127.0.0.1")
        worker = Worker(
            "bench", folder, FVQ_BROKER=broker.address, FVQ_MEDIA_ROOTS=str(folder), FVQ_LIVE_WINDOW="off",
            FVQ_SESSION_TIMEOUT="6", FVQ_WEB_PORT=str(port), OMP_NUM_THREADS=str(os.cpu_count() or 1),
        ).start()  # fmt: skip
        try:
            wait_for("the worker is ready", lambda: read_page(port, "/readyz")[0] == 200, 120)
            warm = 8
            produce(broker.address, SEGMENTS_TOPIC, _events(segments, warm, "warm"))
            follower = Follower(broker.address, SCORES_TOPIC)
            wait_for("the scores of the warm-up", lambda: len(follower.read()) == warm, 120)
            started = time.monotonic()
            produce(broker.address, SEGMENTS_TOPIC, _events(segments, count, "run"))
            wait_for("every score", lambda: len(follower.read()) == warm + count, 600, every=0.05)
            seconds = time.monotonic() - started
            scores = [SegmentScore.from_bytes(value) for value in follower.values[warm:]]
            follower.close()
        finally:
            worker.kill()
    return count / seconds, scores


def stage_times(segments: list[Path]) -> dict[str, float]:
    """Milliseconds per segment: sampling (decode, faces, mattes, statistics) and scoring (batches of 8), on one core each."""
    engine = load_engine()
    torch.set_num_threads(1)
    with SamplerPool(engine.spec, workers=1, timeout=60, memory_mb=2048) as pool:
        pool.submit(segments[0]).result()
        started = time.monotonic()
        clips = [pool.submit(path).result()[0][1] for path in segments]
        sample = (time.monotonic() - started) / len(segments)
    batch = (clips * 8)[:8]
    engine.score(batch)
    started = time.monotonic()
    for _ in range(3):
        engine.score(batch)
    return {"sample": sample * 1000, "score": (time.monotonic() - started) / 24 * 1000}


def _events(segments: list[Path], count: int, name: str) -> list[SegmentEvent]:
    now = datetime.now(UTC)
    return [
        SegmentEvent(
            stream_id=f"{name}-{i % 16}",
            segment_id=f"{name}-{i}",
            sequence=i,
            uri=segments[i % len(segments)].as_uri(),
            start=now,
            duration=2.0,
        )
        for i in range(count)
    ]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--segments", type=int, default=60)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        segments = make_segments(folder, arguments.height)
        before = bare_decode(segments, arguments.segments)
        rate, scores = whole_path(segments, arguments.segments, folder)
        after = bare_decode(segments, arguments.segments)
        stages = stage_times(segments)
    decode = (before + after) / 2
    stages["fetch"] = float(np.median([score.timing["fetch_ms"] for score in scores]))
    report = {
        "segments": arguments.segments,
        "height": arguments.height,
        "whole_path_per_second": round(rate, 2),
        "bare_decode_per_second": round(decode, 2),
        "bare_decode_before_after": [round(before, 2), round(after, 2)],
        "ratio": round(rate / decode, 3),
        "stages_ms_per_segment": {stage: round(value, 1) for stage, value in stages.items()},
    }
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"{arguments.segments} segments of 2 s at {arguments.height}p on {os.cpu_count()} cores")
    print(f"whole path   {rate:7.2f} segments/s")
    print(f"bare decode  {decode:7.2f} segments/s   (before {before:.2f}, after {after:.2f})")
    print(f"ratio        {rate / decode:7.3f}")
    print(
        "ms per segment, each stage alone on one core: "
        + ", ".join(f"{name} {value}" for name, value in report["stages_ms_per_segment"].items())
    )


if __name__ == "__main__":
    main()
