"""The model changes under load: a new version takes over, a bad one is refused, a roll-back works. Real Kafka, real worker."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import imageio_ffmpeg
import pytest
from kafka import KafkaProducer

from scorer.find import SHIPPED, version_of
from streams import parts
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.models.publish import publish, roll_back
from streams.settings import Settings
from tests.support.processes import ROOT, Worker
from tests.support.serve_process import variant
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import lost_time, wait_for

NANO = SHIPPED["nano"]
STREAMS = 3
PACE = 0.35  # seconds between segments
WAITING = 3 * STREAMS
"""The player pauses while this number of segments waits for answers: a slow machine must not look like a slow reload."""

RELOAD_SECONDS = 400.0
"""Time for a version to be tried in a child process and loaded. On idle cores it takes 6 s, on cores that others use minutes; the
old version scores meanwhile."""

CLIP_SECONDS = 0.8
LONGEST = 15.0
"""Seconds that a segment may take while a model is loaded: a few batches on a busy core. On an idle core a segment takes half
a second; on cores that others use, too, ten were seen. Where loading takes long, a segment may take half of that: it must not
wait for the load."""


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


class Player:
    """Sends segments of a few streams at the pace of live streams while the context lasts. events: the segments sent."""

    def __init__(self, broker: str, clip: Path) -> None:
        self.events: list[SegmentEvent] = []
        self._broker, self._clip = broker, clip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _play(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._broker, acks="all")
        answers = Follower(self._broker, SCORES_TOPIC)
        while not self._stop.wait(PACE):
            number = len(self.events)
            if number - len(answers.read()) >= WAITING:
                continue
            event = segment(f"channel-{number % STREAMS}", number // STREAMS, self._clip)
            producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes()).get(timeout=60)
            self.events.append(event)
        answers.close()
        producer.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short, small clip of a face."""
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    cut = ["-ss", "1", "-t", str(CLIP_SECONDS), "-i", str(ROOT / "examples/face.mp4"), "-vf", "scale=320:240"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *cut, "-crf", "20", str(path)], check=True)
    return path


@pytest.fixture
def worker(kafka: KafkaServer, clip: Path, tmp_path: Path) -> Iterator[Worker]:
    create_topics(Connection(kafka.broker), 2, 1)
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": "reload",
        "FVQ_REGISTRY": str(tmp_path / "registry"),
        "FVQ_MEDIA_ROOTS": str(clip.parent),
        "FVQ_SESSION_TIMEOUT": "60",  # no worker is killed: a shorter one would repeat answers where the machine stands still
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


@pytest.mark.timeout(1200)
def test_versions_change_under_load_and_no_segment_is_lost_or_late(
    kafka: KafkaServer, worker: Worker, clip: Path, tmp_path: Path
) -> None:
    settings = Settings(broker=kafka.broker, registry=str(tmp_path / "registry"), data_dir=tmp_path / "here")
    registry = parts.registry(settings)
    shipped = version_of(NANO)
    topic = Follower(kafka.broker, SCORES_TOPIC)

    def answers() -> list[SegmentScore]:
        return [SegmentScore.from_bytes(value) for value in topic.read()]

    def versions() -> list[str]:
        return [score.model.version for score in answers() if score.model]

    def promote(name: str, bias: float) -> str:
        model = variant(tmp_path / name, bias)
        update = publish(registry, model, "nano", {}, registry.current("nano") or shipped)
        parts.announce_update(settings, update)
        assert update.version is not None
        return update.version

    def go_back() -> None:
        parts.announce_update(settings, roll_back(registry, "nano"))

    def scored_since(version: str, before: int, count: int) -> bool:
        return versions()[before:].count(version) >= count

    # The first segment waits for the worker's start, so its delay is not measured.
    first = segment("first", 0, clip)
    produce(kafka.broker, SEGMENTS_TOPIC, [first])
    wait_for("the worker scores", lambda: len(answers()) == 1, RELOAD_SECONDS)
    with Player(kafka.broker, clip) as player, lost_time() as lost:
        wait_for("every stream has scores", lambda: len(answers()) > 2 * STREAMS, RELOAD_SECONDS)
        stricter = promote("stricter", -1.0)
        loading = wait_for("the new version scores", lambda: scored_since(stricter, 0, 6), RELOAD_SECONDS)

        before = len(answers())
        bad = promote("bad", float("nan"))
        refusal = f"model {bad} is refused, {stricter} goes on"
        wait_for("the bad version is refused", lambda: refusal in worker.log.read_text(), RELOAD_SECONDS)
        wait_for("the good version continues", lambda: scored_since(stricter, before, 9), RELOAD_SECONDS)

        # The first roll-back leaves the bad version, the second one leaves the stricter version.
        go_back()
        before = len(answers())
        go_back()
        wait_for("the shipped version scores again", lambda: scored_since(shipped, before, 6), RELOAD_SECONDS)
    sent = {event.segment_id for event in [first, *player.events]}
    wait_for("the rest is answered", lambda: {score.segment_id for score in answers()} >= sent, RELOAD_SECONDS)
    scores = answers()
    topic.close()

    assert worker.running
    counts = Counter(score.segment_id for score in scores)
    assert set(counts) == sent
    assert set(counts.values()) == {1}, "no worker was killed, so no answer is repeated"
    assert {score.status for score in scores} == {"scored"}
    for stream in range(STREAMS):
        of_stream = [score for score in scores if score.stream_id == f"channel-{stream}"]
        assert [score.sequence for score in of_stream] == list(range(len(of_stream)))
        assert [version for version, _ in groupby(score.model.version for score in of_stream if score.model)] == [
            shipped,
            stricter,
            shipped,
        ]
    # All segments are the same clip, so each version has exactly one score. The bad version has none: it is in no list above.
    values = {
        version: {score.score for score in scores if score.model and score.model.version == version}
        for version in (shipped, stricter)
    }
    assert [len(distinct) for distinct in values.values()] == [1, 1]
    assert values[stricter].pop() < values[shipped].pop() - 2  # type: ignore[operator]
    lags = [score.timing["lag_s"] for score in scores if score.stream_id != "first"]
    print(f"\n{len(lags)} segments; the slowest took {max(lags):.2f} s, the mean is {sum(lags) / len(lags):.2f} s")
    assert max(lags) < max(LONGEST, loading / 2) + lost()
