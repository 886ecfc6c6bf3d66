"""A stream on Kafka's topics: what each compacted one forgets, and what stays in the others until their retention takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from streams.dead_letters.kept import Selection
from streams.dead_letters.topic import DeadLetters
from streams.errors import BrokerError, EventError
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
from streams.kafka.connection import Connection
from streams.kafka.erase import Belongs, Erased, erase_beginning, take_back
from streams.kafka.topics import has_topic
from streams.letter import named_stream
from streams.privacy.step import Found, Part
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic

COMPACTION = "the old messages leave the disk when Kafka compacts the topic"
NOTE = "a note that it was deleted stays, with its id, for 90 days, or for FVQ_CLIP_DAYS where that is longer"
NO_TOPIC = Found(0, "the topic is not there")


def states(connection: Connection, stream_id: str, dry_run: bool) -> Iterator[Part]:
    """The compacted topics but the training queue: pictures, states, acknowledgements, positions."""
    key = stream_id.encode()
    position = f"{len(stream_id)}/{stream_id}/".encode()
    topics: dict[str, tuple[str, Belongs]] = {
        connection.named(PICTURES_TOPIC): ("pictures", lambda record: record.key == key),
        connection.named(ALERT_STATE_TOPIC): ("alert states", lambda record: record.key == key),
        connection.named(ALERT_ACKS_TOPIC): ("acknowledgements", lambda record: _acknowledged(record.value) == stream_id),
        connection.named(INGEST_STATE_TOPIC): ("ingest positions", lambda record: (record.key or b"").startswith(position)),
    }
    for topic, (store, belongs) in topics.items():

        def forget(topic: str = topic, belongs: Belongs = belongs) -> Found:
            count = take_back(connection, topic, belongs, dry_run)
            return NO_TOPIC if count is None else Found(count, COMPACTION if count else "")

        yield Part(store, f"topic {topic}", forget)


def waiting_clips(connection: Connection, stream_id: str) -> list[str]:
    """The ids of the stream's clips on the training queue. Raises `BrokerError`."""
    if not has_topic(connection, connection.named(TRAINING_TOPIC)):
        return []
    with QueueTopic(connection) as topic:
        return [example.example_id for example in topic.refresh().of_stream(stream_id)]


def queue_and_letters(connection: Connection, store: ClipStore, stream_id: str, dry_run: bool) -> Iterator[Part]:
    """The training queue, and the dead letters' list. store: the clip store of these settings."""
    queue, letters = connection.named(TRAINING_TOPIC), connection.named(DEAD_LETTER_TOPIC)
    yield Part("training queue", f"topic {queue}", partial(_forget_queue, connection, store, stream_id, dry_run))
    yield Part("dead letters", f"topic {letters}", partial(_forget_letters, connection, stream_id, dry_run))


def _forget_queue(connection: Connection, store: ClipStore, stream_id: str, dry_run: bool) -> Found:
    """Take the stream's clips off the training queue, and tell all workers and rating pages that it was deleted."""
    if not has_topic(connection, connection.named(TRAINING_TOPIC)):
        return NO_TOPIC
    with QueueTopic(connection) as topic:
        if not dry_run:
            # First, so that a worker that is about to store a clip reads it, and deletes that clip.
            topic.add([StreamDeletion(stream_id=stream_id, deleted_at=datetime.now(UTC), forgotten=True)])
        examples = topic.refresh().of_stream(stream_id)
        if not dry_run:
            topic.take_back(examples)
    elsewhere = [example.clip_uri for example in examples if not store.has(example.clip_uri)]
    if not elsewhere:
        return Found(len(examples), "" if dry_run else NOTE)
    text = (
        f"{len(elsewhere)} of the clips are in another store, as {elsewhere[0][:300]}: its workers delete them within two hours"
    )
    return Found(len(examples), text, remains=True)


def _forget_letters(connection: Connection, stream_id: str, dry_run: bool) -> Found:
    """Mark the stream's dead letters as removed: no list shows them, and none is sent again."""
    if not has_topic(connection, connection.named(DEAD_LETTER_TOPIC)):
        return NO_TOPIC
    selection = Selection(streams=frozenset([stream_id]))
    with DeadLetters(connection) as letters:
        count = sum(1 for _ in letters.letters(selection)) if dry_run else letters.remove(selection)
    return Found(count, "marked as removed" if count and not dry_run else "")


def events(connection: Connection, group: str, stream_id: str, dry_run: bool) -> Iterator[Part]:
    """The topics that are not compacted. group: the scorers', whose unread segments stay to be answered."""
    key, segments = stream_id.encode(), connection.named(SEGMENTS_TOPIC)

    def belongs(record: Any) -> bool:
        return record.key == key or (record.key is None and named_stream(record.value) == stream_id)

    for topic, store in (
        (segments, "segment events"),
        (connection.named(SCORES_TOPIC), "score events"),
        (connection.named(ALERTS_TOPIC), "alert events"),
        (connection.named(DEAD_LETTER_TOPIC), "dead letters' bytes"),
    ):

        def forget(topic: str = topic) -> Found:
            erased = erase_beginning(connection, topic, belongs, dry_run, group if topic == segments else "")
            return NO_TOPIC if erased is None else _found(erased)

        yield Part(store, f"topic {topic}", forget)


def _found(erased: Erased) -> Found:
    """What became of a topic, as a sentence. Raises `BrokerError` where Kafka refused to delete."""
    if erased.left == 0:
        return Found(erased.deleted)
    many = {None: "more may be there", 1: "1 stays"}.get(erased.left, f"{erased.left} stay")
    gone = f"deleted by Kafka by {erased.until:%Y-%m-%d %H:%M} UTC" if erased.until else "the topic keeps its messages for ever"
    if erased.refused:
        raise BrokerError(f"{erased.refused}; {many}; {gone}")
    why = "Kafka deletes no single message, only the oldest of a partition"
    return Found(erased.deleted, f"{many}: {why}; no pictures, but addresses and scores; {gone}", remains=True)


def _acknowledged(value: bytes) -> str:
    """The stream of an acknowledgement; '' for another message."""
    with suppress(EventError):
        return AlertAcknowledgement.from_bytes(value).stream_id
    return ""
