"""What producers send, and what disks make of it: one message that cannot be read stops neither the worker nor its agents."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentScore
from streams.kafka.clients import open_reader
from streams.kafka.connection import Connection
from streams.kafka.consumer import read_to_end
from streams.kafka.progress import Progress, lag_of
from streams.kafka.topics import create_topics
from tests.integration.test_backpressure import events, running
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
OFF = {"FVQ_LIVE_WINDOW": "off", "FVQ_TEST_SINK": "none"}


class NotUtf8(str):
    """A header's name that is sent as two bytes that are no UTF-8, which Kafka allows."""

    def encode(self, *_: str) -> bytes:  # type: ignore[override]
        return b"\xff\xfe"


def send(broker: str, topic: str, values: list[bytes], **options: Any) -> None:
    """Send the values to partition 0, in one batch, and wait for the acknowledgement."""
    headers = options.pop("headers", [])
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=200, **options)
    sent = [producer.send(topic, key=b"s-0", value=value, headers=headers, partition=0) for value in values]
    for acknowledgement in sent:
        acknowledgement.get(timeout=30)
    producer.close()


def break_on_disk(kafka: KafkaServer, topic: str, text: bytes) -> None:
    """Change the first letter of `text` in the broker's file of a topic's partition 0, as a failing disk does."""
    (log,) = kafka.folder.rglob(f"{topic}-0/00000000000000000000.log")
    at = log.read_bytes().index(text)
    with log.open("r+b") as file:
        file.seek(at)
        file.write(bytes([text[0] ^ 0x20]))


def send_everything(kafka: KafkaServer, topic: str, values: list[bytes]) -> tuple[int, int, int]:
    """Two of the values with each codec, one with a header's name that is not UTF-8, two in a batch that is broken, and the last.

    Returns the first and the last offset that cannot be read, and the number of values that can be.
    """
    for number, codec in enumerate(CODECS):
        send(kafka.broker, topic, values[2 * number : 2 * number + 2], compression_type=codec)
    send(kafka.broker, topic, values[10:11], headers=[(NotUtf8("name"), b"x")])
    mark = values[11].index(b"s-0/")
    send(kafka.broker, topic, [values[11][:mark] + b"broken-" + values[11][mark:], values[12]])
    break_on_disk(kafka, topic, b"broken-")
    send(kafka.broker, topic, values[13:14])
    return 11, 12, 12


def letters(broker: str) -> list[dict[str, str]]:
    """The headers of all dead letters, and their values as `value`."""
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(DEAD_LETTER_TOPIC, 0)])
    headers = []
    try:
        for message in read_to_end(consumer, [TopicPartition(DEAD_LETTER_TOPIC, 0)]):
            text = {name: value.decode() for name, value in message.headers}
            headers.append(text | {"value": message.value.decode(errors="replace")})
    finally:
        consumer.close()
    return headers


def has_read_all(progress: Progress) -> bool:
    """Whether a group has committed all of partition 0; not known while Kafka does not answer in time."""
    try:
        return lag_of(*progress.ends_and_committed([0])) == {0: 0}
    except KafkaError:
        return False


def score(number: int) -> SegmentScore:
    now = datetime.now(UTC)
    return SegmentScore(
        stream_id="s-0", segment_id=f"s-0/{number}", sequence=number, start=now, duration=1.0, uri="file:///gone",
        status="skipped", reason="late", timing={"lag_s": 1.0},
    )  # fmt: skip


@pytest.mark.timeout(400)
def test_every_codec_is_answered_and_what_cannot_be_read_is_a_dead_letter(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    segments = [event.model_copy(update={"stream_id": "s-0"}) for event in events(tmp_path, 14, datetime.now(UTC))]
    values = [event.model_copy(update={"segment_id": f"s-0/{n}"}).to_bytes() for n, event in enumerate(segments)]
    first, last, readable = send_everything(kafka, SEGMENTS_TOPIC, values)
    follower = Follower(kafka.broker, SCORES_TOPIC)
    with running(kafka, tmp_path, FVQ_ALERTS="false", FVQ_HARVEST="false", **OFF) as (worker, _):
        wait_for("every answer", lambda: len(follower.read()) == readable, 120)
        with Progress(Connection(kafka.broker), "fvq", SEGMENTS_TOPIC) as progress:
            wait_for("the commit behind the last message", lambda: has_read_all(progress), 60)
        worker.stop()
    answered = [SegmentScore.from_bytes(value) for value in follower.values]
    assert [score.segment_id for score in answered] == [f"s-0/{n}" for n in (*range(11), 13)]
    assert {score.status for score in answered} == {"scored"}
    (letter,) = letters(kafka.broker)
    assert (letter["kind"], letter["reason"]) == ("unreadable", "the checksum is wrong")
    assert (letter["topic"], letter["partition"], letter["offset"]) == (SEGMENTS_TOPIC, "0", str(first))
    assert letter["last_offset"] == str(last)
    assert "roken-s-0/11" in letter["value"], "the bytes that can be had"
    follower.close()


@pytest.mark.timeout(400)
def test_the_alert_and_harvest_agents_read_every_codec_and_step_over_what_cannot_be_read(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    connection = Connection(kafka.broker)
    create_topics(connection, partitions=1, replication=1)
    values = [score(number).to_bytes() for number in range(14)]
    first, last, readable = send_everything(kafka, SCORES_TOPIC, values)
    with running(kafka, tmp_path, **OFF) as (worker, _):
        for group in ("fvq.alerts", "fvq.harvest"):
            with Progress(connection, group, SCORES_TOPIC) as progress:
                wait_for(f"{group} at the end", lambda progress=progress: has_read_all(progress), 120)
        worker.stop()
        assert "outage of agent" not in worker.log.read_text(), "no agent failed"
    places = {(letter["reader"], letter["topic"], letter["offset"], letter["last_offset"]) for letter in letters(kafka.broker)}
    assert places == {(group, SCORES_TOPIC, str(first), str(last)) for group in ("fvq.alerts", "fvq.harvest")}
    reader = open_reader(connection)
    reader.assign([TopicPartition(SCORES_TOPIC, 0)])
    assert len(list(read_to_end(reader, [TopicPartition(SCORES_TOPIC, 0)]))) == readable
    reader.close()
