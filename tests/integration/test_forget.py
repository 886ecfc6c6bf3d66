"""`fvq forget` on a real Kafka and a real InfluxDB: nothing is left of one of two streams, and all of the other."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import InfluxDBClient
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.alerts.state import StreamState, to_json
from streams.dead_letters.kept import Selection
from streams.dead_letters.topic import DeadLetters
from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    INGEST_STATE_TOPIC,
    PICTURES_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    TRAINING_TOPIC,
    AlertAcknowledgement,
    StreamDeletion,
)
from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.positions import key_of, to_bytes
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.letter import Message, dead_letter
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic
from streams.sinks.influx import InfluxBucket, InfluxSink
from streams.sinks.influx_erase import count_points, erase_stream, stored_names
from tests.support.processes import fvq
from tests.support.queue import scored, stored_example
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.sinks import make_score

GONE, KEPT = 'news, "late"=\\1/é', 'news, "late"=\\1/é2'
COMPACTED = (PICTURES_TOPIC, ALERT_STATE_TOPIC, ALERT_ACKS_TOPIC, INGEST_STATE_TOPIC, TRAINING_TOPIC)
EVENTS = (SEGMENTS_TOPIC, SCORES_TOPIC, ALERTS_TOPIC, DEAD_LETTER_TOPIC)
NOW = datetime.now(UTC).replace(microsecond=0)
OFFSETS = itertools.count()
"""Of the segments that the dead letters are of."""


@pytest.fixture
def bucket(influxdb: InfluxServer, request: pytest.FixtureRequest) -> InfluxBucket:
    """New buckets of scores and of hourly values, for one test."""
    name = f"{request.node.originalname}-{time.monotonic_ns()}"
    with client(influxdb) as admin:
        for suffix in ("", "_hourly"):
            admin.buckets_api().create_bucket(bucket_name=name + suffix, org="fvq")
    return InfluxBucket(influxdb.url, influxdb.token_file.read_text().strip(), "fvq", name)


def client(influxdb: InfluxServer) -> InfluxDBClient:
    return InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq", timeout=20_000)


def points(influxdb: InfluxServer, bucket: str, stream: str, field: str = "segment_id") -> int:
    with client(influxdb) as reader:
        return sum(count_points(reader, bucket, field, tag) for tag in stored_names(stream))


async def write_scores(bucket: InfluxBucket, streams: list[str]) -> None:
    sink = InfluxSink(bucket)
    for stream in streams:
        for number in range(3):
            sink.add(make_score(stream_id=stream, segment_id=str(number), start=NOW - timedelta(hours=number)))
    assert await sink.flush() == []
    await sink.close()


IDS = [
    "plain",
    "plain2",
    "tv/1",
    'say "hi"',
    "it's",
    "a,b=c d",
    "back\\slash",
    'both\\"',
    "ünï 🎥",
    "line\nbreak",
    "tab\tbed",
    " x ",
]


async def test_influxdb_forgets_each_id_and_no_other(influxdb: InfluxServer, bucket: InfluxBucket) -> None:
    await write_scores(bucket, IDS)
    left = list(IDS)
    for stream in IDS:
        assert erase_stream(bucket, stream, dry_run=True)[bucket.bucket] == 3, stream
        assert erase_stream(bucket, stream, dry_run=False)[bucket.bucket] == 3, stream
        left.remove(stream)
        assert [other for other in IDS if points(influxdb, bucket.bucket, other)] == left, stream


def put_events(broker: str, stream: str, partition: int) -> None:
    """One message of the stream on each topic."""
    producer = KafkaProducer(bootstrap_servers=broker)
    score = scored(1, stream=stream)
    letter = dead_letter(
        Message(stream.encode(), b"{}", SEGMENTS_TOPIC, partition, next(OFFSETS)), kind="event", reason="is empty"
    )
    ack = AlertAcknowledgement(alert_id=f"alert-{partition}", by="Ada", at=NOW, stream_id=stream)
    place, named = Stream(stream), stream.encode()
    for topic, key, value, headers in (
        (SEGMENTS_TOPIC, named, json.dumps({"stream_id": stream}).encode(), []),
        (SCORES_TOPIC, named, score.to_bytes(), []),
        (ALERTS_TOPIC, named, b"{}", []),
        (DEAD_LETTER_TOPIC, named, letter.value, letter.header_bytes()),
        (PICTURES_TOPIC, named, b"\xff\xd8\xff a face", []),
        (ALERT_STATE_TOPIC, named, to_json(StreamState(stream)), []),
        (ALERT_ACKS_TOPIC, ack.alert_id.encode(), ack.to_bytes(), []),
        (INGEST_STATE_TOPIC, key_of(place), to_bytes(place, SavedPosition(Position(), "http://origin/a")), []),
    ):
        producer.send(topic, key=key, value=value, headers=headers, partition=partition).get(timeout=30)
    producer.close()


def records(broker: str, topic: str) -> Iterator[Any]:
    """All messages that a new reader gets."""
    consumer = KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    while any(consumer.position(at) < ends[at] for at in partitions):
        for batch in consumer.poll(timeout_ms=500).values():
            yield from batch
    consumer.close()


def last_values(broker: str, topic: str) -> dict[bytes, bytes]:
    """What a compacted topic adds up to."""
    values = {record.key: record.value for record in records(broker, topic)}
    return {key: value for key, value in values.items() if value is not None}


def about(stream: str, key: bytes, value: bytes) -> bool:
    """Whether a message names a stream, and not one whose id begins with it."""
    written = json.dumps(stream, ensure_ascii=False).encode()
    return key in (stream.encode(), key_of(Stream(stream))) or written in value


async def test_nothing_is_left_of_one_stream_and_all_of_the_other(
    kafka: KafkaServer, influxdb: InfluxServer, bucket: InfluxBucket, tmp_path: Path
) -> None:
    connection, store = Connection(kafka.broker), ClipStore(str(tmp_path / "clips"))
    create_topics(connection, 4, 1)
    await write_scores(bucket, [GONE, KEPT])
    with client(influxdb) as admin:
        hour = {"measurement": "segment_score", "fields": {"segments": 3}, "time": NOW}
        tagged = [hour | {"tags": {"stream_id": stream}} for stream in (GONE, KEPT)]
        admin.write_api().write(bucket.hourly, record=tagged)
    for number, stream in enumerate((GONE, KEPT)):
        put_events(kafka.broker, stream, number)
    examples = [stored_example(store, scored(1, stream=stream)) for stream in (GONE, KEPT)]
    with QueueTopic(connection) as topic:
        topic.add(examples)
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_CLIP_STORE": str(tmp_path / "clips"), "FVQ_DATA_DIR": str(tmp_path / "data"),
        "FVQ_INFLUX_URL": bucket.url, "FVQ_INFLUX_TOKEN": bucket.token, "FVQ_INFLUX_BUCKET": bucket.bucket,
    }  # fmt: skip

    looked = fvq("forget", GONE, "--dry-run", "--json", **settings)
    assert looked.returncode == 0, looked.stderr
    assert len([step for step in json.loads(looked.stdout)["steps"] if step["outcome"] == "would-delete"]) == 12
    assert points(influxdb, bucket.bucket, GONE) == 3
    done = fvq("forget", GONE, "--yes", "--json", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = {step["where"]: step for step in json.loads(done.stdout)["steps"]}
    for topic_name in (*COMPACTED, *EVENTS):
        step = steps[f"topic {topic_name}"]
        assert (step["outcome"], step["count"]) == ("deleted", 1), step

    for name, field in ((bucket.bucket, "segment_id"), (bucket.hourly, "segments")):
        assert points(influxdb, name, GONE, field) == 0
        assert points(influxdb, name, KEPT, field) > 0
    assert (store.example_ids(GONE), len(store.example_ids(KEPT))) == ([], 1)
    for topic_name in COMPACTED:
        values = last_values(kafka.broker, topic_name)
        note = StreamDeletion(stream_id=GONE, deleted_at=NOW).key
        assert not [key for key, value in values.items() if about(GONE, key, value) and key != note], topic_name
        assert [key for key, value in values.items() if about(KEPT, key, value)], topic_name
    for topic_name in EVENTS:
        assert {record.key for record in records(kafka.broker, topic_name)} == {KEPT.encode()}, topic_name
    with DeadLetters(connection) as letters:
        assert [letter.stream_id for letter, _ in letters.letters(Selection())] == [KEPT]

    again = json.loads(fvq("forget", GONE, "--yes", "--json", **settings).stdout)
    assert {step["outcome"] for step in again["steps"]} == {"nothing"}


def test_messages_between_those_of_others_stay_and_it_is_said_until_when(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), 1, 1)
    for stream in (GONE, KEPT, GONE):
        put_events(kafka.broker, stream, 0)
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_DATA_DIR": str(tmp_path / "data")}
    done = fvq("forget", GONE, "--yes", "--json", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = {step["where"]: step for step in json.loads(done.stdout)["steps"]}
    for topic in EVENTS:
        step = steps[f"topic {topic}"]
        assert (step["outcome"], step["count"]) == ("part", 1), step
        assert "1 stays: Kafka deletes no single message" in step["text"]
        assert "deleted by Kafka by 20" in step["text"]
        assert [record.key for record in records(kafka.broker, topic)] == [KEPT.encode(), GONE.encode()]
    listed = fvq("dead-letters", "ls", "--json", **settings)
    assert [letter["stream_id"] for letter in json.loads(listed.stdout)] == [KEPT]


def test_unread_segments_are_left_to_the_workers(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), 1, 1)
    put_events(kafka.broker, GONE, 0)
    put_events(kafka.broker, GONE, 0)
    group = KafkaConsumer(bootstrap_servers=kafka.broker, group_id="fvq", enable_auto_commit=False, auto_offset_reset="earliest")
    at = TopicPartition(SEGMENTS_TOPIC, 0)
    group.assign([at])
    group.seek(at, 1)
    group.commit()
    group.close(autocommit=False)
    done = fvq("forget", GONE, "--yes", FVQ_BROKER=kafka.broker, FVQ_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record.offset for record in records(kafka.broker, SEGMENTS_TOPIC)] == [1]
    assert list(records(kafka.broker, SCORES_TOPIC)) == []


def test_without_a_broker_that_answers_the_rest_is_done_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = fvq("forget", GONE, "--yes", FVQ_BROKER="127.0.0.1:9", FVQ_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 1
    assert "Kafka: FAILED; no Kafka broker answers at 127.0.0.1:9" in done.stdout
    assert "clips: nothing" in done.stdout
