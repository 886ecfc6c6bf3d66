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
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.models import publish
from streams.reload import registry_of
from streams.settings import Settings
from streams.topics import create_topics
from tests.integration.harness import ROOT, Follower, KafkaServer, Worker, fvq, wait_for

NANO = SHIPPED["nano"]
STREAMS = 3
PACE = 0.35  # seconds between segments; a worker on one busy core keeps up
CLIP_SECONDS = 0.8
LONGEST = 5.0
"""Seconds that a segment may take, whatever is loaded meanwhile: a few batches of a worker on a busy core. A stop for the
whole of a load, or a restart, would be more."""


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
        while not self._stop.wait(PACE):
            number = len(self.events)
            stream = f"channel-{number % STREAMS}"
            event = SegmentEvent(
                stream_id=stream,
                segment_id=f"{stream}/{number // STREAMS}",
                sequence=number // STREAMS,
                uri=self._clip.as_uri(),
                start=datetime.now(UTC) - timedelta(seconds=CLIP_SECONDS),
                duration=CLIP_SECONDS,
            )
            producer.send(SEGMENTS_TOPIC, key=stream.encode(), value=event.to_bytes()).get(timeout=15)
            self.events.append(event)
        producer.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    cut = ["-ss", "1", "-t", str(CLIP_SECONDS), "-i", str(ROOT / "deploy/demo/face.mp4"), "-vf", "scale=320:240"]
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
    create_topics(kafka.broker, 2, 1)
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": "reload",
        "FVQ_REGISTRY": str(tmp_path / "registry"),
        "FVQ_MEDIA_ROOTS": str(clip.parent),
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_SAMPLER_WORKERS": "1",
        "FVQ_HARVEST": "false",
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
    registry = registry_of(settings)
    shipped = version_of(NANO)
    topic = Follower(kafka.broker, SCORES_TOPIC)

    def answers() -> list[SegmentScore]:
        return [SegmentScore.from_bytes(value) for value in topic.read()]

    def versions() -> list[str]:
        return [one.model.version for one in answers() if one.model]

    def promote(name: str, bias: float) -> str:
        model = variant(tmp_path / name, bias)
        return publish(settings, registry, model, "nano", {})

    def scored_since(version: str, before: int, count: int) -> bool:
        return versions()[before:].count(version) >= count

    with Playing(kafka.broker, clip) as playing:
        wait_for("the worker scores", lambda: len(answers()) >= 6, 60)
        # Those that waited for the worker to start are no measure of delay.
        steady = len(playing.events)
        milder = promote("milder", 0.3)
        wait_for("the new version scores", lambda: scored_since(milder, 0, 6), 30)

        before = len(answers())
        bad = promote("bad", float("nan"))
        wait_for("the bad version is refused", lambda: f"model {bad} is refused, {milder} goes on" in worker.log.read_text(), 30)
        wait_for("the good one goes on", lambda: scored_since(milder, before, 9), 30)

        # Back over the bad one, then over the first one.
        for wanted in (milder, "the shipped version"):
            done = fvq("models", "rollback", "nano", FVQ_BROKER=kafka.broker, FVQ_REGISTRY=str(tmp_path / "registry"))
            assert done.returncode == 0, done.stderr
            assert f"nano: {wanted} serves again" in done.stdout
        before = len(answers())
        wait_for("the shipped one scores again", lambda: scored_since(shipped, before, 6), 30)
    sent = {event.segment_id for event in playing.events}
    wait_for("the rest is answered", lambda: {one.segment_id for one in answers()} >= sent, 30)
    topic.close()
    found = answers_of(topic)

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
            milder,
            shipped,
        ]
    # One clip, so one score for each version; and the bad one never made any.
    scores = {
        version: {one.score for one in found if one.model and one.model.version == version} for version in (shipped, milder)
    }
    assert [len(values) for values in scores.values()] == [1, 1]
    assert scores[milder].pop() > scores[shipped].pop() + 2  # type: ignore[operator]
    late = {event.segment_id for event in playing.events[steady:]}
    lags = [one.timing["lag_s"] for one in found if one.segment_id in late]
    print(
        f"\n{len(found)} segments; the slowest of {len(lags)} took {max(lags):.2f} s, on the mean {sum(lags) / len(lags):.2f} s"
    )
    assert max(lags) < LONGEST


def answers_of(topic: Follower) -> list[SegmentScore]:
    """What it has read."""
    return [SegmentScore.from_bytes(value) for value in topic.values]
