"""No segment is lost: two workers on a real Kafka are killed in turn, and still every segment is answered."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.processes import ROOT, Worker, fvq, killed_at_the_end
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce

SEGMENTS = 500
STREAMS = 20
KILLS = 6
DEADLINE = 1200  # seconds; on two idle cores the test takes a sixth of it. A kill costs about 15: session, rebalance, start
CLIP_SECONDS = 0.8


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Short, small segments cut from the demo clip, of good and of bad quality."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for second in (1, 5, 9, 13, 17):
        paths.append(folder / f"{second}.mp4")
        cut = ["-ss", str(second), "-t", str(CLIP_SECONDS), "-i", str(ROOT / "examples/face.mp4"), "-vf", "scale=320:240"]
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *cut, "-c:v", "libx264", "-crf", "20", str(paths[-1])]
        subprocess.run(ffmpeg, check=True)
    return paths


def segment_events(clips: list[Path]) -> list[SegmentEvent]:
    """500 segments of 20 streams, in the order in which live streams would send them."""
    start = datetime.now(UTC) - timedelta(seconds=SEGMENTS // STREAMS * CLIP_SECONDS)
    return [
        SegmentEvent(
            stream_id=f"channel-{number % STREAMS}",
            segment_id=f"channel-{number % STREAMS}/{number // STREAMS}",
            sequence=number // STREAMS,
            uri=clips[number % len(clips)].as_uri(),
            start=start + timedelta(seconds=number // STREAMS * CLIP_SECONDS),
            duration=CLIP_SECONDS,
        )
        for number in range(SEGMENTS)
    ]


@contextmanager
def running(workers: list[Worker]) -> Iterator[None]:
    """The workers run while the context lasts and are killed at its end. A failure prints the ends of their logs."""
    with killed_at_the_end(*workers):
        for worker in workers:
            worker.start()
        yield


@pytest.mark.timeout(DEADLINE + 120)
def test_no_segment_is_lost_when_workers_are_killed_in_turn(kafka: KafkaServer, clips: list[Path], tmp_path: Path) -> None:
    created = fvq("topics", "create", FVQ_BROKER=kafka.broker)
    assert created.returncode == 0, created.stdout + created.stderr
    events = segment_events(clips)
    produce(kafka.broker, SEGMENTS_TOPIC, events)

    scores = Follower(kafka.broker, SCORES_TOPIC)
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": "delivery",
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_MEDIA_ROOTS": str(clips[0].parent),
        "FVQ_SESSION_TIMEOUT": "6",  # the shortest session that the broker allows
        "FVQ_SAMPLER_WORKERS": "1",
        "FVQ_SAMPLE_TIMEOUT": "300",  # a child that stands still with all of the machine has no bad segment
        "FVQ_DEVICE": "cpu",
    }
    workers = [Worker(name, tmp_path, core, **settings) for core, name in enumerate(("worker-a", "worker-b"))]

    def answered() -> Counter[str]:
        return Counter(SegmentScore.from_bytes(value).segment_id for value in scores.read())

    start = time.monotonic()
    kills = 0
    with running(workers):
        while len(answers := answered()) < SEGMENTS:
            assert time.monotonic() - start < DEADLINE, f"{SEGMENTS - len(answers)} of {SEGMENTS} unanswered after {kills} kills"
            for worker in workers:
                assert worker.running, f"{worker.name} ended by itself"
            # Kill only in the middle of the work: after new answers since the last kill, with segments left for the next kills.
            if kills < KILLS and len(answers) >= (kills + 1) * SEGMENTS // (KILLS + 2):
                victim = workers[kills % 2]
                victim.kill()
                victim.start()
                kills += 1
            time.sleep(0.2)
    seconds = time.monotonic() - start

    dead = Follower(kafka.broker, DEAD_LETTER_TOPIC)
    print(f"\n{SEGMENTS} segments, {kills} kills, {answers.total() - SEGMENTS} duplicates, {seconds:.0f} s")
    assert set(answers) == {event.segment_id for event in events}
    assert kills == KILLS
    assert dead.read() == []
    assert {SegmentScore.from_bytes(value).status for value in scores.values} == {"scored"}
    # A repeated segment gets the same score again, so that in a sink the repetition changes nothing.
    by_id: dict[str, set[float | None]] = {}
    for value in scores.values:
        score = SegmentScore.from_bytes(value)
        by_id.setdefault(score.segment_id, set()).add(score.score)
    assert all(len(distinct) == 1 for distinct in by_id.values())
    scores.close()
    dead.close()
