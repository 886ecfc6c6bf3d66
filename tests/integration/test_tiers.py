"""Glances on a real Kafka, from real workers: a steady stream gets them, a degraded one a full look, and kills lose nothing."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.scoring.tiers import TierLimits
from tests.support.processes import ROOT, Worker
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

STREAMS, SECONDS = 6, 2.0
STEADY, DEGRADED = 14, 5
KILLED_BEFORE = 6
"""The segment of each stream before which one of the workers is killed."""

DAMAGE = "gblur=sigma=3"


def make_segments(folder: Path, name: str, change: str) -> list[Path]:
    """Segments of a person who goes on talking."""
    cut = [
        "-ss",
        "1",
        "-t",
        "10",
        "-i",
        str(ROOT / "examples/face.mp4"),
        "-an",
        "-vf",
        f"scale=-2:240,{change}",
        "-g",
        "50",
        "-r",
        "25",
    ]
    encode = [
        "-g",
        "50",
        "-r",
        "25",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-b:v",
        "400k",
        "-maxrate",
        "500k",
        "-bufsize",
        "800k",
    ]
    segments = ["-f", "segment", "-segment_time", "2", "-segment_format", "mpegts", f"{folder}/{name}%d.ts"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut, *encode, *segments], check=True)
    return [folder / f"{name}{number}.ts" for number in range(4)]


@pytest.mark.timeout(900)
def test_glances_and_full_looks_while_workers_come_and_go(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    media = tmp_path / "media"
    media.mkdir()
    good, bad = make_segments(media, "good", "null"), make_segments(media, "bad", DAMAGE)
    begin = datetime.now(UTC)
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_MEDIA_ROOTS": str(media), "FVQ_LIVE_WINDOW": "off", "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_SAMPLER_WORKERS": "1", "FVQ_TIERS": "on", "FVQ_HARVEST": "false",
    }  # fmt: skip
    workers = [Worker(f"worker-{number}", tmp_path, number, **settings) for number in range(2)]
    scores, letters = Follower(kafka.broker, SCORES_TOPIC), Follower(kafka.broker, DEAD_LETTER_TOPIC)
    answers: dict[str, dict[int, SegmentScore]] = defaultdict(dict)
    again: dict[str, list[SegmentScore]] = defaultdict(list)

    def answered(sequence: int) -> bool:
        for value in scores.read():
            score = SegmentScore.from_bytes(value)
            # After a kill a segment may be answered once more: what counts is the first answer, but a glance may rest on either.
            answers[score.stream_id].setdefault(score.sequence, score)
            again[score.segment_id].append(score)
        return all(sequence in answers[f"channel-{stream}"] for stream in range(STREAMS))

    try:
        for worker in workers:
            worker.start()
        for sequence in range(STEADY + DEGRADED):
            if sequence == KILLED_BEFORE:
                workers[0].kill()
            if sequence == KILLED_BEFORE + 3:
                workers[0].start()
            files = good if sequence < STEADY else bad
            events = [
                SegmentEvent(
                    stream_id=f"channel-{stream}",
                    segment_id=f"channel-{stream}/{sequence}",
                    sequence=sequence,
                    uri=files[(sequence + stream) % len(files)].as_uri(),
                    start=begin + timedelta(seconds=SECONDS * sequence),
                    duration=SECONDS,
                )
                for stream in range(STREAMS)
            ]
            produce(kafka.broker, SEGMENTS_TOPIC, events)
            wait_for(f"segment {sequence} of all streams", lambda sequence=sequence: answered(sequence), 120)
        assert letters.read() == []
    finally:
        scores.close()
        letters.close()
        for worker in workers:
            worker.kill()
    glances = 0
    for stream, of_stream in answers.items():
        assert sorted(of_stream) == list(range(STEADY + DEGRADED))
        for score in of_stream.values():
            if score.tier == "glance":
                glances += 1
                rested = [full for full in again[score.rests_on or ""] if (full.tier, full.score) == ("full", score.score)]
                assert rested
                assert rested[0].sequence < score.sequence
        damaged = [of_stream[sequence] for sequence in range(STEADY, STEADY + DEGRADED)]
        seen = next((number for number, score in enumerate(damaged) if score.tier == "full"), DEGRADED)
        # Where the packets are as they were, the keyframe of every third segment shows the damage.
        assert seen < TierLimits().seen, (stream, [(answer.tier, answer.tier_reason) for answer in of_stream.values()])
        assert [score.tier for score in damaged[seen : seen + 2]] == ["full", "full"]
        # They go on while an alert is open; a worker that takes the stream over now begins anew, and may glance at the damage.
        looked_at = {score.segment_id for score in damaged[seen:] if score.tier == "full"}
        assert all(score.rests_on in looked_at for score in damaged[seen:] if score.tier == "glance")
        assert (damaged[seen].score or 0) < (of_stream[STEADY - 1].score or 0)
    # A stream has up to three workers here, and each of them begins with two full looks.
    print(f"\n{glances} glances of {STREAMS} streams with {STEADY} steady segments each")
    assert glances >= STREAMS * STEADY / 4
