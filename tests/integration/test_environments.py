"""Two environments with prefixes of their own on one real Kafka: neither reads, answers or writes anything of the other."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    LETTER_MARKS_TOPIC,
    MODELS_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    QualityAlert,
    SegmentEvent,
    SegmentScore,
)
from streams.ingest.announce import announce
from streams.kafka.connection import Connection
from streams.topic_names import ALL_TOPICS
from streams.web.follow import Change
from streams.web.follow import Follower as WallFollower
from streams.web.live import Live
from tests.support.processes import FREE_WORKER, Worker, fvq, killed_at_the_end
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

COUNT, STREAMS = 12, 4
"""Segments that each environment announces, and of how many streams."""

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
                stream_id=f"s-{number % STREAMS}", segment_id=f"{self.prefix}{number}", sequence=number, uri=media.as_uri(),
                start=datetime.now(UTC), duration=1.0, labels={"environment": self.prefix},
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
            "FVQ_MEDIA_ROOTS": str(self.folder), "FVQ_LIVE_WINDOW": "off", "FVQ_TEST_SINK": "none", "FVQ_SESSION_TIMEOUT": "30",
        }  # fmt: skip
        return Worker(f"worker-{self.prefix}", self.folder, command=FREE_WORKER, **settings)


@contextmanager
def running(environments: list[Environment]) -> Iterator[list[Worker]]:
    """A worker of each environment."""
    workers = [environment.worker().start() for environment in environments]
    with killed_at_the_end(*workers):
        yield workers


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
            worker.stop()
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
    """What a wall has read at its start, in this process."""
    for environment in environments:
        live, stop = Live(), threading.Event()
        wall = WallFollower(environment.connection, live, partial(_apply, live))
        reader = threading.Thread(target=wall.run, args=(stop,), daemon=True)
        reader.start()
        wait_for("the wall has read what is there", lambda wall=wall: wall.reading() == (True, ""), 60)  # type: ignore[misc]
        stop.set()
        reader.join(30)
        assert {stream.labels["environment"] for stream in live.streams.values()} == {environment.prefix}
        assert len(live.streams) == STREAMS


def _apply(live: Live, changes: Sequence[Change]) -> None:
    for change in changes:
        change(live)


@pytest.mark.timeout(600)
def test_commands_name_and_touch_the_topics_of_their_environment_alone(
    kafka: KafkaServer, environments: list[Environment]
) -> None:
    staging, production = environments
    assert staging.run("topics", "create", "--partitions", "2").returncode == 0
    checked = staging.run("topics", "check", "--partitions", "2", "--json")
    assert checked.returncode == 0, checked.stdout
    assert {json.loads(line)["name"] for line in checked.stdout.splitlines()} == {f"staging.{topic}" for topic in ALL_TOPICS}
    for other in (production.run("topics", "check"), fvq("topics", "check", FVQ_BROKER=kafka.broker)):
        assert other.returncode == 1
        assert other.stdout.count("missing: run `fvq topics create`") == len(ALL_TOPICS)

    alert = QualityAlert(
        alert_id="a-1", stream_id="s-1", kind="black", state="firing", started_at=datetime.now(UTC), value=1.0, segment_id="1"
    )
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    producer.send(staging.connection.named(ALERTS_TOPIC), key=b"s-1", value=alert.to_bytes()).get(timeout=30)
    producer.close()
    acknowledged = staging.run("alerts", "ack", "a-1", "--by", "kim")
    assert acknowledged.returncode == 0, acknowledged.stderr
    acks = staging.follower(ALERT_ACKS_TOPIC)
    assert len(acks.read()) == 1
    acks.close()
    missing = production.run("alerts", "ack", "a-1", "--by", "kim")
    assert (missing.returncode, "topic production-quality-alerts is missing" in missing.stderr) == (1, True)

    forgotten = staging.run("forget", "s-1", "--dry-run")
    named = {word.strip(",:;()") for word in forgotten.stdout.split() if word.startswith("staging.")}
    assert named == {f"staging.{topic}" for topic in ALL_TOPICS if topic not in (MODELS_TOPIC, LETTER_MARKS_TOPIC)}
    for command in (("queue", "ls", "--json"), ("sources", "--json")):
        assert staging.run(*command).returncode == 0, command
    # Kafka's metrics write '.' as '_', so it takes no second topic whose name differs only in that.
    twin = fvq("topics", "create", FVQ_BROKER=kafka.broker, FVQ_TOPIC_PREFIX="staging_")
    assert (twin.returncode, twin.stdout) == (1, "")
    assert "created no topic staging_" in twin.stderr
    assert "collides with existing topic" in twin.stderr
    topics, _ = on_broker(kafka.broker)
    assert {topic for topic in topics if not topic.startswith("__")} == {f"staging.{topic}" for topic in ALL_TOPICS}
