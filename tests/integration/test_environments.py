"""Two environments with prefixes of their own on one real Kafka: neither reads, answers or writes anything of the other."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    QualityAlert,
    SegmentEvent,
    SegmentScore,
)
from streams.ingest.announce import announce
from streams.kafka.connection import Connection
from streams.topic_names import ALL_TOPICS
from streams.web.follow import Follower as WallFollower
from streams.web.live import Live
from tests.support.processes import FREE_WORKER, Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

COUNT = 12
"""Segments that each environment announces."""

AGENTS = ("", ".alerts", ".harvest")
"""What the groups of a worker end with."""


@dataclass
class Environment:
    """One of the environments. folder: the data folder, the same for both."""

    prefix: str
    broker: str
    folder: Path
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.broker, prefix=self.prefix)

    def settings(self) -> dict[str, str]:
        return {"FVQ_BROKER": self.broker, "FVQ_TOPIC_PREFIX": self.prefix, "FVQ_DATA_DIR": str(self.folder / "data")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return fvq(*arguments, **self.settings())

    def follower(self, topic: str) -> Follower:
        return Follower(self.broker, f"{self.prefix}{topic}")

    def events(self) -> list[SegmentEvent]:
        """The same streams in both environments; the ids of the segments tell whose they are."""
        media = self.folder / "segment.ts"
        media.touch()
        return [
            SegmentEvent(
                stream_id=f"s-{number % 4}", segment_id=f"{self.prefix}{number}", sequence=number, uri=media.as_uri(),
                start=datetime.now(UTC), duration=1.0,
            )
            for number in range(COUNT)
        ]  # fmt: skip

    def announce(self) -> None:
        """Announce the segments, and one event that is none."""
        announce(iter(self.events()), self.connection, lambda _: None, lambda: False)
        producer = KafkaProducer(bootstrap_servers=self.broker)
        producer.send(f"{self.prefix}{SEGMENTS_TOPIC}", key=b"s-0", value=f'{{"of": "{self.prefix}"}}'.encode()).get(timeout=30)
        producer.close()

    def worker(self) -> Worker:
        settings = self.settings() | {
            "FVQ_MEDIA_ROOTS": str(self.folder), "FVQ_LIVE_WINDOW": "off", "FVQ_TEST_SINK": "none", "FVQ_SESSION_TIMEOUT": "6",
        }  # fmt: skip
        return Worker(f"worker-{self.prefix}", self.folder, command=FREE_WORKER, **settings)


@contextmanager
def running(environments: list[Environment]) -> Iterator[list[Worker]]:
    """A worker of each environment."""
    workers = [environment.worker().start() for environment in environments]
    try:
        yield workers
    except BaseException:
        for worker in workers:
            print(worker.tail())
        raise
    finally:
        for worker in workers:
            worker.kill()


def on_broker(broker: str) -> tuple[set[str], set[str]]:
    """The topics and the consumer groups of a broker."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    try:
        return set(admin.list_topics()), {group["group_id"] for group in admin.list_groups()}
    finally:
        admin.close()


@pytest.fixture
def environments(kafka: KafkaServer, tmp_path: Path) -> list[Environment]:
    return [Environment(prefix, kafka.broker, tmp_path) for prefix in ("staging.", "production-")]


@pytest.mark.timeout(600)
def test_workers_of_two_environments_answer_their_own_segments_alone(
    kafka: KafkaServer, environments: list[Environment], tmp_path: Path
) -> None:
    _, groups_before = on_broker(kafka.broker)
    for environment in environments:
        created = environment.run("topics", "create")
        assert created.returncode == 0, created.stderr
        assert all(f"{environment.prefix}{topic}" in created.stdout for topic in ALL_TOPICS)
        environment.announce()
    scores = [environment.follower(SCORES_TOPIC) for environment in environments]
    letters = [environment.follower(DEAD_LETTER_TOPIC) for environment in environments]

    def seen() -> set[str]:
        return on_broker(kafka.broker)[1] - groups_before

    wanted = {f"{environment.prefix}fvq{agent}" for environment in environments for agent in AGENTS}
    with running(environments) as workers:
        wait_for("all segments are answered", lambda: all(len(topic.read()) >= COUNT for topic in scores), 240)
        wait_for("each environment has its dead letter", lambda: all(topic.read() for topic in letters), 60)
        wait_for("all groups are there", lambda: seen() >= wanted, 60)
        for worker in workers:
            assert worker.terminate(60) == 0
    for environment, own, dead in zip(environments, scores, letters, strict=True):
        segment_ids = sorted(SegmentScore.from_bytes(value).segment_id for value in own.read())
        assert segment_ids == sorted(event.segment_id for event in environment.events())
        assert [json.loads(value) for value in dead.read()] == [{"of": environment.prefix}]
        own.close()
        dead.close()
    topics, _ = on_broker(kafka.broker)
    assert topics - {"__consumer_offsets"} == {
        f"{environment.prefix}{topic}" for environment in environments for topic in ALL_TOPICS
    }
    assert seen() == wanted
    assert {folder.name for folder in (tmp_path / "data").glob("*faust")} == {"staging.faust", "production-faust"}
    _the_letters_of_one_are_not_the_other_s(environments)
    _a_wall_shows_its_own(environments)


def _the_letters_of_one_are_not_the_other_s(environments: list[Environment]) -> None:
    """A letter is listed by its topic's name, and goes back to the topic from which it came."""
    staging, production = environments
    (letter,) = json.loads(staging.run("dead-letters", "ls", "--json").stdout)
    assert (letter["topic"], letter["obstacle"]) == ("staging.video-segments", "")
    assert letter["id"].startswith("staging.video-segments/")
    before = production.follower(SEGMENTS_TOPIC)
    count = len(before.read())
    replayed = json.loads(staging.run("dead-letters", "replay", letter["id"], "--json").stdout)
    assert replayed["sent"] == 1
    again = staging.follower(SEGMENTS_TOPIC)
    assert len(again.read()) == COUNT + 2
    assert len(before.read()) == count
    for follower in (before, again):
        follower.close()


def _a_wall_shows_its_own(environments: list[Environment]) -> None:
    """What a wall reads, up to the scores that are there."""
    for environment in environments:
        changes, stop = Live(), threading.Event()
        segment_ids: set[str] = set()
        add_score: Callable[..., object] = changes.add_score

        def note(score: object, value: bytes, received: float, add: Callable[..., object] = add_score) -> None:
            segment_ids.add(SegmentScore.from_bytes(value).segment_id)  # noqa: B023
            add(score, value, received)

        changes.add_score = note  # type: ignore[method-assign, assignment]
        wall = WallFollower(environment.connection, changes, lambda batch: [change(changes) for change in batch])  # type: ignore[func-returns-value]  # noqa: B023
        reader = threading.Thread(target=wall.run, args=(stop,), daemon=True)
        reader.start()
        wait_for("the wall has read what is there", lambda: wall.reading() == (True, ""), 60)
        stop.set()
        reader.join(30)
        assert segment_ids == {event.segment_id for event in environment.events()}
