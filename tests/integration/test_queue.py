"""Hard clips enter the training queue and are removed from it: a real Kafka, a real worker that is killed, a real store."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from streams.errors import BrokerError
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.queue.clips import ClipStore
from streams.queue.retention import STRAY_AGE, sweep
from streams.queue.topic import QueueTopic
from tests.support.processes import ROOT, Worker, fvq
from tests.support.queue import scored, stored_example
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(900)
STREAMS = 3


def clip(folder: Path, second: int, crf: int = 20) -> Path:
    """A short segment of the demo clip: sharp at second 1, blurred at second 9."""
    path = folder / f"{second}.mp4"
    cut = ["-ss", str(second), "-t", "0.8", "-i", str(ROOT / "examples/face.mp4"), "-an"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *cut, "-c:v", "libx264", "-crf", str(crf), str(path)]
    subprocess.run(command, check=True)
    return path


def events(clips: list[Path], sequence: int) -> list[SegmentEvent]:
    """A good segment and a bad one for each stream."""
    return [
        SegmentEvent(
            stream_id=f"channel/{stream}",
            segment_id=f"channel/{stream}/{sequence + number}",
            sequence=sequence + number,
            uri=path.as_uri(),
            start=datetime.now(UTC) - timedelta(seconds=2),
            duration=0.8,
        )
        for stream in range(STREAMS)
        for number, path in enumerate(clips)
    ]


def test_bad_clips_are_queued_once_and_their_deletion_removes_every_file(kafka: KafkaServer, tmp_path: Path) -> None:
    clips = [clip(tmp_path, 1), clip(tmp_path, 9, crf=48)]
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_CLIP_STORE": str(tmp_path / "store"),
        "FVQ_MEDIA_ROOTS": str(tmp_path),
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_GROUP": f"queue-{tmp_path.name}",
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_SAMPLER_WORKERS": "1",
    }

    def queue(command: str, *arguments: str, code: int = 0) -> str:
        finished = fvq("queue", command, *arguments, **settings)
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished.stdout if code == 0 else finished.stderr

    def waiting() -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = json.loads(queue("ls", "--json"))
        return examples

    assert fvq("topics", "create", FVQ_BROKER=kafka.broker).returncode == 0
    worker = Worker("harvester", tmp_path, **settings)
    scores = Follower(kafka.broker, SCORES_TOPIC)
    try:
        worker.start()
        produce(kafka.broker, SEGMENTS_TOPIC, events(clips, 0))
        wait_for("the bad clip of each stream", lambda: len(waiting()) == STREAMS, 180, every=1)
        worker.kill()
        worker.start()
        produce(kafka.broker, SEGMENTS_TOPIC, events(clips, 2))
        wait_for("all scores", lambda: len(scores.read()) >= 4 * STREAMS, 120)
        # A scene that no stream has shown yet. When it is in the queue, all segments before it have been judged.
        other = clip(tmp_path, 10, crf=48)
        witness_event = SegmentEvent.model_validate(
            events([other], 4)[0].model_dump() | {"stream_id": "witness", "segment_id": "witness/4"}
        )
        produce(kafka.broker, SEGMENTS_TOPIC, [witness_event])
        wait_for("the witness", lambda: any(example["stream_id"] == "witness" for example in waiting()), 180, every=1)
    except BaseException:
        print(worker.tail())
        raise
    finally:
        worker.kill()
        scores.close()

    examples = waiting()
    assert sorted(example["stream_id"] for example in examples) == ["channel/0", "channel/1", "channel/2", "witness"], (
        "each scene is queued once"
    )
    assert {example["reason"] for example in examples} == {"low-score"}
    digest = hashlib.sha256(clips[1].read_bytes()).hexdigest()
    assert {example["example_id"] for example in examples if example["stream_id"] != "witness"} == {digest}
    assert json.loads(queue("show", digest[:8]))["score"] < 40
    assert "no clip 'abc' waits" in queue("show", "abc", code=1)

    queue("export", str(tmp_path / "out"))
    with (tmp_path / "out/queue.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        assert hashlib.sha256((tmp_path / "out" / row["path"]).read_bytes()).hexdigest() == row["example_id"]

    assert "1 clip deleted of stream channel/0" in queue("rm", "--stream", "channel/0")
    assert "channel/0" not in queue("ls", "--json")
    queue("export", str(tmp_path / "after"))
    assert "channel/0" not in (tmp_path / "after/queue.csv").read_text()
    stored = [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert len(stored) == 2 * 3
    assert not any(b"channel/0" in file.read_bytes() for file in stored)
    witness = next(example["example_id"] for example in examples if example["stream_id"] == "witness")
    queue("rm", witness)
    assert {example["stream_id"] for example in waiting()} == {"channel/1", "channel/2"}
    queue("rm", digest[:8])
    assert waiting() == [], "one id removes the clip from both streams"
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert "name clips by their ids, or a stream" in queue("rm", code=2)


def make_topics(connection: Connection) -> None:
    """Create the topics, and wait until the broker knows of the queue: the controller tells it a moment later."""

    def is_there() -> bool:
        try:
            QueueTopic(connection).__exit__()
        except BrokerError:
            return False
        return True

    create_topics(connection, 4, 1)
    wait_for("the queue's topic", is_there, 60)


def test_a_topic_that_is_made_anew_costs_no_clip_although_a_command_wrote_to_it_first(kafka: KafkaServer, tmp_path: Path) -> None:
    connection, store = Connection(kafka.broker), ClipStore(str(tmp_path / "store"))
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_CLIP_STORE": str(tmp_path / "store"), "FVQ_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip
    make_topics(connection)
    kept = [stored_example(store, scored(number, stream=f"kept/{number}")) for number in range(3)]
    with QueueTopic(connection) as topic:
        topic.add(kept)
    kafka.remove_topics()
    make_topics(connection)
    assert fvq("forget", "gone", "--yes", **settings).returncode == 0
    copy = stored_example(store, scored(9, stream="gone"), queued_at=datetime.now(UTC) - timedelta(hours=1))  # from a back-up

    later = datetime.now(UTC) + 3 * STRAY_AGE
    with QueueTopic(connection) as topic, QueueTopic(connection) as other:
        sweep(topic, store, 30, later)
        sweep(other, store, 30, later)
    listed = fvq("queue", "ls", "--json", **settings)
    assert sorted(example["stream_id"] for example in json.loads(listed.stdout)) == ["kept/0", "kept/1", "kept/2"], listed.stderr
    assert sorted(uri for uri, _ in store.clips()) == sorted(example.clip_uri for example in kept)

    removed = fvq("queue", "rm", kept[0].example_id, **settings)
    assert "1 clip deleted" in removed.stdout, removed.stderr
    elsewhere = fvq("queue", "rm", kept[1].example_id, **settings | {"FVQ_CLIP_STORE": str(tmp_path / "other")})
    assert elsewhere.returncode == 1
    assert "it still waits: run this with FVQ_CLIP_STORE as that store" in elsewhere.stderr
    with QueueTopic(connection) as topic:
        sweep(topic, store, 30, later)
        assert {example.key for example in topic.refresh().examples()} == {kept[1].key, kept[2].key}
    assert copy.clip_uri not in dict(store.clips())
