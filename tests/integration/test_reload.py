"""Another version takes over while segments come in, a bad one does not, and the old one comes back: real Kafka and worker."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from kafka import KafkaProducer
from safetensors.torch import load_file, save_file

from scorer.engine import version_of
from scorer.model.bases import SHIPPED
from streams import parts
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.models.publish import publish, roll_back
from streams.settings import Settings
from tests.support.processes import ROOT, Worker
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

NANO = SHIPPED["nano"]
STREAMS = 3
PACE = 0.35  # seconds between segments
WAITING = 3 * STREAMS
"""Segments that may wait for their answer: a machine that is too slow for the pace is no finding about the reload."""

CLIP_SECONDS = 0.8
LONGEST = 8.0
"""Seconds that a segment may take, whatever is loaded meanwhile: a few batches of a worker on a busy core. On a free one it
is half a second; a restart of the worker would take longer."""


def segment(stream: str, sequence: int, clip: Path) -> SegmentEvent:
    """A segment that ends now."""
    return SegmentEvent(
        stream_id=stream,
        segment_id=f"{stream}/{sequence}",
        sequence=sequence,
        uri=clip.as_uri(),
        start=datetime.now(UTC) - timedelta(seconds=CLIP_SECONDS),
        duration=CLIP_SECONDS,
    )


class Playing:
    """Segments of a few streams, sent at the pace of live ones until the context ends. events: what was sent."""

    def __init__(self, broker: str, clip: Path) -> None:
        self.events: list[SegmentEvent] = []
        self._broker, self._clip = broker, clip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> Playing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _play(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._broker, acks="all")
        answers = Follower(self._broker, SCORES_TOPIC)
        while not self._stop.wait(PACE):
            number = len(self.events)
            if number - len(answers.read()) >= WAITING:
                continue
            event = segment(f"channel-{number % STREAMS}", number // STREAMS, self._clip)
            producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes()).get(timeout=15)
            self.events.append(event)
        answers.close()
        producer.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    cut = ["-ss", "1", "-t", str(CLIP_SECONDS), "-i", str(ROOT / "examples/face.mp4"), "-vf", "scale=320:240"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *cut, "-crf", "20", str(path)], check=True)
    return path


def variant(folder: Path, bias: float) -> Path:
    """`nano` with something added to the head's bias: a model of another version, whose scores are others."""
    shutil.copytree(NANO, folder)
    weights = load_file(folder / "model.safetensors")
    weights["head.3.bias"] = weights["head.3.bias"] + torch.tensor([bias, 0.0])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def worker(kafka: KafkaServer, clip: Path, tmp_path: Path) -> Iterator[Worker]:
    create_topics(Connection(kafka.broker), 2, 1)
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": "reload",
        "FVQ_REGISTRY": str(tmp_path / "registry"),
        "FVQ_MEDIA_ROOTS": str(clip.parent),
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_SAMPLER_WORKERS": "1",
        "FVQ_HARVEST": "false",
        "FVQ_ALERTS": "false",
    }
    running = Worker("worker", tmp_path, **settings).start()
    try:
        yield running
    except BaseException:
        print(running.tail())
        raise
    finally:
        running.kill()


@pytest.mark.timeout(180)
def test_versions_change_under_load_and_nothing_is_lost_or_late(
    kafka: KafkaServer, worker: Worker, clip: Path, tmp_path: Path
) -> None:
    settings = Settings(broker=kafka.broker, registry=str(tmp_path / "registry"), data_dir=tmp_path / "here")
    registry = parts.registry(settings)
    shipped = version_of(NANO)
    topic = Follower(kafka.broker, SCORES_TOPIC)

    def answers() -> list[SegmentScore]:
        return [SegmentScore.from_bytes(value) for value in topic.read()]

    def versions() -> list[str]:
        return [one.model.version for one in answers() if one.model]

    def promote(name: str, bias: float) -> str:
        model = variant(tmp_path / name, bias)
        update = publish(registry, model, "nano", {})
        parts.announce_update(settings, update)
        assert update.version is not None
        return update.version

    def go_back() -> None:
        parts.announce_update(settings, roll_back(registry, "nano"))

    def scored_since(version: str, before: int, count: int) -> bool:
        return versions()[before:].count(version) >= count

    # What waits for the worker to start is no measure of delay.
    first = segment("first", 0, clip)
    produce(kafka.broker, SEGMENTS_TOPIC, [first])
    wait_for("the worker scores", lambda: len(answers()) == 1, 60)
    with Playing(kafka.broker, clip) as playing:
        wait_for("every stream has scores", lambda: len(answers()) > 2 * STREAMS, 30)
        stricter = promote("stricter", -1.0)
        wait_for("the new version scores", lambda: scored_since(stricter, 0, 6), 30)

        before = len(answers())
        bad = promote("bad", float("nan"))
        said = f"model {bad} is refused, {stricter} goes on"
        wait_for("the bad version is refused", lambda: said in worker.log.read_text(), 30)
        wait_for("the good one goes on", lambda: scored_since(stricter, before, 9), 30)

        # Back over the bad one, then over the first one.
        go_back()
        before = len(answers())
        go_back()
        wait_for("the shipped one scores again", lambda: scored_since(shipped, before, 6), 30)
    sent = {event.segment_id for event in [first, *playing.events]}
    wait_for("the rest is answered", lambda: {one.segment_id for one in answers()} >= sent, 30)
    found = answers()
    topic.close()

    assert worker.running
    counts = Counter(one.segment_id for one in found)
    assert set(counts) == sent
    assert set(counts.values()) == {1}, "no worker died, so nothing is doubled either"
    assert {one.status for one in found} == {"scored"}
    for stream in range(STREAMS):
        of_stream = [one for one in found if one.stream_id == f"channel-{stream}"]
        assert [one.sequence for one in of_stream] == list(range(len(of_stream)))
        assert [version for version, _ in groupby(one.model.version for one in of_stream if one.model)] == [
            shipped,
            stricter,
            shipped,
        ]
    # One clip, so one score for each version; and the bad one never made any.
    scores = {
        version: {one.score for one in found if one.model and one.model.version == version} for version in (shipped, stricter)
    }
    assert [len(values) for values in scores.values()] == [1, 1]
    assert scores[stricter].pop() < scores[shipped].pop() - 2  # type: ignore[operator]
    lags = [one.timing["lag_s"] for one in found if one.stream_id != "first"]
    print(f"\n{len(lags)} segments; the slowest took {max(lags):.2f} s, the mean is {sum(lags) / len(lags):.2f} s")
    assert max(lags) < LONGEST
