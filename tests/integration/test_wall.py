"""The wall on a real Kafka: two of them agree on what is bad and on who has seen it, also after a restart."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from kafka import KafkaProducer

from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import default_limits
from streams.alerts.state import StreamState, to_json
from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    PICTURES_TOPIC,
    SCORES_TOPIC,
    QualityAlert,
    SegmentScore,
)
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.pictures import StreamPicture
from streams.wall import END_SECONDS
from tests.support.alerts import make_score
from tests.support.pages import read_page
from tests.support.processes import FVQ, Worker
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower
from tests.support.waiting import lost_time, wait_for

pytestmark = pytest.mark.timeout(900)
STREAMS = 12
SEGMENTS = 40


class Fleet:
    """Streams whose scores and alert states are on the topics; every third one has fallen."""

    def __init__(self, broker: str) -> None:
        self.begin = datetime.now(UTC) - timedelta(seconds=2 * SEGMENTS)
        self.producer = KafkaProducer(bootstrap_servers=broker)
        self.alerts: list[QualityAlert] = []
        for number in range(STREAMS):
            state = StreamState(f"studio/{number}")
            for sequence in range(SEGMENTS):
                score = self.score(number, sequence, 20 if number % 3 == 0 and sequence > 25 else 70)
                state, _ = step(state, score, default_limits())
                self.send(SCORES_TOPIC, score.stream_id, score.to_bytes())
            self.send(ALERT_STATE_TOPIC, state.stream_id, to_json(state))
            self.alerts += open_alerts(state)
        self.producer.flush()

    def score(self, number: int, sequence: int, points: float) -> SegmentScore:
        """A score of one stream."""
        labels = {"tier": ("premium", "free")[number % 2]}
        return make_score(sequence, points, stream=f"studio/{number}", begin=self.begin, labels=labels, timing={"lag_s": 1.0})

    def send(self, topic: str, key: str, value: bytes | None) -> None:
        """Send a message and wait for it."""
        self.producer.send(topic, key=key.encode(), value=value)
        self.producer.flush()


class WallProcess:
    """A `fvq web` process and its API."""

    def __init__(self, name: str, folder: Path, broker: str) -> None:
        self.port = free_ports(1)
        self.process = Worker(
            name, folder, command=[FVQ, "web", "--port", str(self.port)], FVQ_BROKER=broker, FVQ_LOG_LEVEL="info"
        )

    def start(self) -> None:
        self.process.start()
        wait_for(f"{self.process.name} is ready", lambda: read_page(self.port, "/readyz")[0] == 200, 60)

    def ask(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def streams(self) -> list[tuple[str, str]]:
        """Id and state of every stream, the worst first."""
        return [(item["stream_id"], item["state"]) for item in self.ask("/streams")[1]["items"]]

    def ack(self, alert_id: str) -> Any:
        """The acknowledgement of an alert."""
        return self.ask(f"/alerts/{alert_id}")[1]["ack"]


@pytest.fixture
def walls(kafka: KafkaServer, tmp_path: Path) -> Iterator[tuple[Fleet, WallProcess, WallProcess]]:
    create_topics(Connection(kafka.broker), 4, 1)
    fleet = Fleet(kafka.broker)
    one, other = WallProcess("one", tmp_path, kafka.broker), WallProcess("other", tmp_path, kafka.broker)
    try:
        one.start()
        other.start()
        yield fleet, one, other
    finally:
        for wall in (one, other):
            wall.process.kill()
            print(wall.process.tail())


async def test_two_walls_agree(walls: tuple[Fleet, WallProcess, WallProcess], kafka: KafkaServer) -> None:
    fleet, one, other = walls
    fallen = {f"studio/{number}" for number in range(0, STREAMS, 3)}
    assert len(fleet.alerts) == 2 * len(fallen), "each fell and is low"
    listed = one.streams()
    assert {stream_id for stream_id, _ in listed[: len(fallen)]} == fallen
    assert [stream_id for stream_id, _ in other.streams()] == [stream_id for stream_id, _ in listed]
    summary = one.ask("/summary")[1]
    assert (summary["streams"], summary["alerts"], summary["alerting"]) == (STREAMS, 8, 4)

    # Somebody acknowledges at one wall: the other one shows it, and it holds after a restart.
    alert = fleet.alerts[0].alert_id
    status, entry = one.ask(f"/alerts/{alert}/ack", "PUT", {"note": "the truck is on its way"})
    assert status == 201
    assert one.ack(alert) == entry["ack"]
    wait_for("the other wall knows", lambda: other.ack(alert) == entry["ack"], 60)
    began = time.monotonic()
    assert one.process.terminate() == 0 or time.monotonic() - began > END_SECONDS
    one.start()
    assert one.ack(alert) == entry["ack"]
    # What comes a minute is known some seconds after a start.
    wait_for("both say the same", lambda: one.ask("/summary") == other.ask("/summary"), 90)

    # Taken back at the other wall: a tombstone.
    assert other.ask(f"/alerts/{alert}/ack", "DELETE")[0] == 204
    wait_for("the first wall knows", lambda: one.ack(alert) is None, 60)
    follower = Follower(kafka.broker, ALERT_ACKS_TOPIC)
    assert follower.read()[-1] is None
    follower.close()

    # What comes later is told to a browser, soon.
    async with ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{one.port}/api/v1/live") as socket:
        snapshot = json.loads(await socket.receive_str(timeout=60))
        place = snapshot["streams"]["id"].index("studio/1")
        sent = time.monotonic()
        fleet.send(SCORES_TOPIC, "studio/1", fleet.score(1, SEGMENTS, 12.5).to_bytes())
        while True:
            frame = json.loads(await socket.receive_str(timeout=60))
            if frame["type"] == "scores" and place in frame["i"] and frame["s"][frame["i"].index(place)] == 125:
                break
        print(f"from the topic to the socket: {time.monotonic() - sent:.2f} s")
        over = fleet.alerts[0].model_copy(update={"state": "resolved", "ended_at": datetime.now(UTC)})
        fleet.send(ALERTS_TOPIC, over.stream_id, over.to_bytes())
        while frame["type"] != "alert" or frame["alert"]["state"] == "firing":
            frame = json.loads(await socket.receive_str(timeout=60))
        assert frame["alert"]["alert_id"] == alert
    assert one.ask(f"/alerts/{alert}/ack", "PUT", {})[0] == 409

    # The alert agent forgets a stream: it leaves every wall.
    fleet.send(ALERT_STATE_TOPIC, "studio/2", None)
    for wall in (one, other):
        wait_for("the stream is gone", lambda wall=wall: "studio/2" not in dict(wall.streams()), 60)
    # A picture is shown, and is gone when it is deleted.
    picture = StreamPicture("studio/1", "studio/1/40", datetime.now(UTC), 12.5, 160, 90, "changed", None, b"\xff\xd8\xff made up")
    fleet.producer.send(PICTURES_TOPIC, key=picture.key, value=picture.jpeg, headers=list(picture.headers().items()))
    fleet.producer.flush()
    wait_for("the picture is shown", lambda: len(other.ask("/streams/studio%2F1/pictures")[1]["items"]) == 2, 60)
    pair = other.ask("/streams/studio%2F1/compare")[1]
    assert (pair["good"], pair["bad"]["segment_id"]) == (None, "studio/1/40")
    fleet.send(PICTURES_TOPIC, "studio/1", None)
    wait_for("the picture is gone", lambda: other.ask("/streams/studio%2F1/pictures")[1]["items"] == [], 60)

    # What cannot be read is left out, and what follows is read.
    for topic in (SCORES_TOPIC, ALERTS_TOPIC, ALERT_ACKS_TOPIC, ALERT_STATE_TOPIC, PICTURES_TOPIC):
        fleet.send(topic, "studio/1", b"\xff nonsense")
    fleet.send(SCORES_TOPIC, "studio/1", fleet.score(1, SEGMENTS + 1, 99).to_bytes())
    wait_for("the wall goes on", lambda: one.ask("/streams/studio%2F1")[1]["score"] == 99, 60)


def test_a_wall_waits_for_its_topics_and_ends_in_time(kafka: KafkaServer, tmp_path: Path) -> None:
    wall = WallProcess("early", tmp_path, kafka.broker)
    try:
        wall.process.start()
        wait_for("it listens", lambda: read_page(wall.port, "/healthz")[0] == 200, 60)
        assert wall.ask("/streams")[0] in (200, 503)
        create_topics(Connection(kafka.broker), 2, 1)
        fleet = Fleet(kafka.broker)
        wait_for(
            "it reads the new topics", lambda: read_page(wall.port, "/readyz")[0] == 200 and len(wall.streams()) == STREAMS, 60
        )
        assert fleet.alerts
        kafka.stop()
        wait_for("it says what is wrong", lambda: "Kafka" in wall.ask("/health")[1]["problem"], 60)
        assert read_page(wall.port, "/readyz")[0] == 200, "it still shows what it knows"
        wait_for("scores grow old", lambda: {state for _, state in wall.streams()} <= {"stale", "no-segments"}, 90)
        seen = time.monotonic()
        while time.monotonic() - seen < 15:
            health = wall.ask("/health")[1]
            assert health["problem"], "it says so until Kafka answers again"
            assert health["reading"] == "waiting"
            time.sleep(0.1)
        assert len(wall.streams()) == STREAMS, "what it knows it still shows"
        alert = fleet.alerts[0].alert_id
        assert wall.ask(f"/alerts/{alert}/ack", "PUT", {})[0] in (404, 503)
        kafka.start()
        wait_for("it follows again", lambda: wall.ask("/health")[1]["problem"] == "", 60)
        later = fleet.score(1, SEGMENTS, 33)
        fleet.send(SCORES_TOPIC, later.stream_id, later.to_bytes())
        wait_for("a later score is shown", lambda: wall.ask("/streams/studio%2F1")[1]["score"] == 33, 60)
        kafka.stop()
        with lost_time() as lost:
            began = time.monotonic()
            wall.process.terminate(60)
            assert time.monotonic() - began < 15 + lost()
    finally:
        wall.process.kill()
        print(wall.process.tail())
        kafka.start()
