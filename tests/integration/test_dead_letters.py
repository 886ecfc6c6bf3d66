"""`fvq dead-letters` on a real Kafka: letters are listed, sent again once, and removed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.consumer import send_letters
from streams.kafka.topics import create_topics
from streams.letter import DeadLetter, Message, dead_letter
from tests.integration.test_backpressure import events, running
from tests.support.pages import metric
from tests.support.processes import fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]


def letter(number: int, stream: str = "studio-7", kind: str = "event", reason: str = "it has no uri") -> DeadLetter:
    message = Message(stream.encode(), json.dumps({"number": number}).encode(), SEGMENTS_TOPIC, number % 4, number)
    return dead_letter(message, kind=kind, reason=reason, segment_id=f"{stream}/{number}")


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    return json.loads(run("ls", "--json", *options).stdout)


def test_letters_are_listed_sent_again_once_and_removed(kafka: KafkaServer, tmp_path: Path) -> None:
    connection = Connection(kafka.broker)
    create_topics(connection, partitions=4, replication=1)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return fvq("dead-letters", *arguments, FVQ_BROKER=kafka.broker, FVQ_DATA_DIR=str(tmp_path))

    assert listed(run) == []
    send_letters(connection, [letter(number) for number in range(6)])
    send_letters(connection, [letter(3)])  # a worker was killed before it acknowledged
    send_letters(connection, [letter(8, "other", "not-found", "HTTP 404 \x1b[31m\n[/b]"), letter(9, kind="unreadable")])

    ids = [entry["id"] for entry in listed(run)]
    assert sorted(ids) == [f"video-segments/{number % 4}/{number}" for number in (0, 4, 8, 1, 5, 9, 2, 3)]
    assert [entry["segment_id"] for entry in listed(run, "--kind", "not-found")] == ["other/8"]
    assert len(listed(run, "--stream", "studio-7", "--since", "1h")) == 7
    assert listed(run, "--until", "1h") == []
    table = run("ls").stdout
    assert "8 dead letters" in table
    assert "\x1b[31m" not in table
    shown = json.loads(run("show", "video-segments/3/3").stdout)
    assert (shown["event"], shown["reason"], shown["state"]) == ({"number": 3}, "it has no uri", "waiting")
    missing = run("show", "video-segments/0/77")
    assert (missing.returncode, missing.stderr) == (
        1,
        "fvq: there is no dead letter video-segments/0/77: see `fvq dead-letters ls`\n",
    )

    # Which letters are meant must be said.
    assert run("replay").returncode == 2
    follower = Follower(kafka.broker, SEGMENTS_TOPIC)
    assert "2 letters sent again" in run("replay", "video-segments/3/3", "video-segments/0/4").stdout
    assert sorted(follower.read()) == [b'{"number": 3}', b'{"number": 4}']
    again = json.loads(run("replay", "--kind", "event", "--json").stdout)
    assert again == {"sent": 4, "sent_before": 2, "cannot": {}, "missing": 0}
    rest = run("replay", "--all", "--json")
    assert rest.returncode == 1, "the one that cannot be read cannot be sent"
    assert json.loads(rest.stdout)["sent_before"] == 6
    assert list(json.loads(rest.stdout)["cannot"]) == ["video-segments/1/9"]
    assert sorted(json.loads(value)["number"] for value in follower.read()) == [0, 1, 2, 3, 4, 5, 8]
    assert {entry["id"] for entry in listed(run) if entry["state"] == "waiting"} == {"video-segments/1/9"}
    assert json.loads(run("replay", "video-segments/3/3", "--again", "--json").stdout)["sent"] == 1
    assert len(follower.read()) == 8
    follower.close()

    assert run("rm", "--kind", "event").stdout == "6 letters removed\n"
    assert sorted(entry["id"] for entry in listed(run)) == ["video-segments/0/8", "video-segments/1/9"]
    assert run("rm", "video-segments/3/3").returncode == 1, "it is gone already"


@pytest.mark.timeout(400)
def test_a_flood_holds_the_worker_until_the_media_are_there_and_its_letters_are_sent_again(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    segments = [
        event.model_copy(update={"stream_id": f"s-{number % 8}"})
        for number, event in enumerate(events(tmp_path, 120, datetime.now(UTC)))
    ]
    media = tmp_path / "segment.ts"
    media.unlink()
    produce(kafka.broker, SEGMENTS_TOPIC, segments)
    scores, letters = Follower(kafka.broker, SCORES_TOPIC), Follower(kafka.broker, DEAD_LETTER_TOPIC)
    with running(kafka, tmp_path, FVQ_LIVE_WINDOW="off", FVQ_FLOOD_WINDOW="60", FVQ_TEST_SINK="none") as (worker, port):
        wait_for("the flood is noticed", lambda: metric(port, "fvq_dead_letter_flood") == [1], 120)
        wait_for("the first letters", lambda: bool(letters.read()), 60)
        time.sleep(2)
        assert 0 < len(letters.read()) < 60, "the others wait"
        assert "dead letter of kind not-found" in worker.tail()
        media.touch()
        wait_for("the others are scored", lambda: len(scores.read()) + len(letters.read()) == 120, 120)
        assert metric(port, "fvq_dead_letter_flood") == []
        lost = len(letters.read())
        assert len(scores.read()) == 120 - lost
        replayed = fvq("dead-letters", "replay", "--kind", "not-found", "--json", FVQ_BROKER=kafka.broker)
        assert json.loads(replayed.stdout)["sent"] == lost
        wait_for("the letters that were sent again are scored", lambda: len(scores.read()) == 120, 120)
        worker.stop()
    answered = {SegmentScore.from_bytes(value).segment_id for value in scores.values}
    assert answered == {segment.segment_id for segment in segments}
    scores.close()
    letters.close()


def test_letters_of_other_programs_harm_nothing(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    producer.send(DEAD_LETTER_TOPIC, value=b"\xff")
    producer.send(
        DEAD_LETTER_TOPIC, key=b"\xff", headers=[("time", b"never"), ("topic", b"x"), ("partition", b"-1"), ("offset", b"?")]
    )
    producer.send("dead-letter-marks", key=b"letter/0/0", value=b"nonsense")
    producer.close()
    finished = fvq("dead-letters", "ls", "--json", FVQ_BROKER=kafka.broker, FVQ_DATA_DIR=str(tmp_path))
    assert [entry["id"] for entry in json.loads(finished.stdout)] == ["letter/0/0", "x/-1/?"]
    assert all(entry["obstacle"] for entry in json.loads(finished.stdout))
