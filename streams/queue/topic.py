"""The training queue: what waits to be rated, kept on a compacted topic, its clips in the clip store.

An example is taken back by a message without a value. A stream's deletion is a message of its own, so that an example which
a worker was just about to queue is deleted too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from streams.events import TRAINING_TOPIC, EventError, StreamDeletion, TrainingExample
from streams.kafka.connection import BrokerError, client_options
from streams.queue.clips import ClipStore
from streams.settings import Settings

log = logging.getLogger(__name__)
ACK_SECONDS = 30.0


class Queue:
    """What messages of the topic say, folded."""

    def __init__(self) -> None:
        self._examples: dict[bytes, TrainingExample] = {}
        self._deleted: dict[str, datetime] = {}

    def fold(self, key: bytes, value: bytes | None) -> None:
        """One message; one that is neither an example nor a deletion is left out."""
        if not value:
            self._examples.pop(key, None)
            return
        try:
            if key.endswith(b"/"):
                deletion = StreamDeletion.from_bytes(value)
                self._deleted[deletion.stream_id] = deletion.deleted_at
                return
            self._examples[key] = TrainingExample.from_bytes(value)
        except EventError as error:
            log.warning("a message on %s cannot be read: %s", TRAINING_TOPIC, error)

    def holds(self, example: TrainingExample) -> bool:
        """Whether an example waits: it is on the topic, and its stream was not deleted since."""
        deleted = self._deleted.get(example.stream_id)
        return example.key in self._examples and (deleted is None or example.queued_at > deleted)

    def deletions(self) -> dict[str, datetime]:
        """Stream -> when it was deleted last; what was queued until then is gone for good."""
        return dict(self._deleted)

    def of_stream(self, stream_id: str) -> list[TrainingExample]:
        """What is on the topic of a stream, deleted or not."""
        return [one for one in self._examples.values() if one.stream_id == stream_id]

    def examples(self) -> list[TrainingExample]:
        """What waits, oldest first."""
        return sorted((one for one in self._examples.values() if self.holds(one)), key=lambda one: (one.queued_at, one.key))


class QueueTopic:
    """The topic, read from its beginning and then as it grows, and written. Raises `BrokerError`."""

    def __init__(self, settings: Settings) -> None:
        assert settings.broker
        servers, security = settings.broker.split(","), client_options(settings)
        self.queue = Queue()
        try:
            self._reader: Any = KafkaConsumer(
                bootstrap_servers=servers,
                group_id=None,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                bootstrap_timeout_ms=8000,
                **security,
            )
            numbers = self._reader.partitions_for_topic(TRAINING_TOPIC)
        except KafkaError as error:
            raise BrokerError(f"no Kafka broker answers at {settings.broker} ({type(error).__name__})") from error
        if not numbers:
            self._reader.close()
            raise BrokerError(f"topic {TRAINING_TOPIC} is missing: run `fvq topics create`")
        self._partitions = [TopicPartition(TRAINING_TOPIC, number) for number in numbers]
        self._reader.assign(self._partitions)
        self._producer: Any = KafkaProducer(bootstrap_servers=servers, acks="all", **security)

    def refresh(self) -> Queue:
        """The queue as it is now: everything that was acknowledged before the call."""
        patience = time.monotonic() + ACK_SECONDS
        try:
            ends = self._reader.end_offsets(self._partitions)
            while any(self._reader.position(one) < ends[one] for one in self._partitions):
                for records in self._reader.poll(timeout_ms=500).values():
                    for record in records:
                        self.queue.fold(record.key or b"", record.value)
                    patience = time.monotonic() + ACK_SECONDS
                if time.monotonic() > patience:
                    raise BrokerError(f"{TRAINING_TOPIC}: nothing comes before its end")
        except KafkaError as error:
            raise BrokerError(f"{TRAINING_TOPIC} cannot be read: {type(error).__name__}: {error}") from error
        return self.queue

    def written(self) -> bool:
        """Whether there ever was a message. Offsets stay when the messages are gone."""
        try:
            return any(self._reader.end_offsets(self._partitions).values())
        except KafkaError as error:
            raise BrokerError(f"{TRAINING_TOPIC} cannot be read: {type(error).__name__}: {error}") from error

    def add(self, examples: Iterable[TrainingExample | StreamDeletion]) -> None:
        """Send and wait for the acknowledgements."""
        self._send((one.key, one.to_bytes()) for one in examples)

    def take_back(self, examples: Iterable[TrainingExample]) -> None:
        """Remove examples, and wait for the acknowledgements."""
        self._send((one.key, None) for one in examples)

    def close(self) -> None:
        """Close the connections."""
        self._reader.close(timeout_ms=1000)
        self._producer.close(timeout=1)

    def _send(self, messages: Iterable[tuple[bytes, bytes | None]]) -> None:
        try:
            sent = [self._producer.send(TRAINING_TOPIC, key=key, value=value) for key, value in messages]
            for one in sent:
                one.get(timeout=ACK_SECONDS)
        except KafkaError as error:
            raise BrokerError(f"{TRAINING_TOPIC} does not take a message: {type(error).__name__}: {error}") from error


@contextmanager
def open_queue(settings: Settings) -> Iterator[QueueTopic]:
    """The topic, closed with the context."""
    topic = QueueTopic(settings)
    try:
        yield topic
    finally:
        topic.close()


def clip_store(settings: Settings) -> ClipStore:
    """The clip store of the settings: `FVQ_CLIP_STORE`, or `clips` in the data folder."""
    return ClipStore(settings.clip_store or str(settings.data_dir.resolve() / "clips"))


def read_queue(settings: Settings) -> list[TrainingExample]:
    """What waits now, oldest first: on the topic, or, where no broker is set, as the clip store tells it.

    Raises `BrokerError`.
    """
    if not settings.broker:
        return sorted(clip_store(settings).examples(), key=lambda one: (one.queued_at, one.key))
    with open_queue(settings) as topic:
        return topic.refresh().examples()


def read_deletions(settings: Settings) -> tuple[list[TrainingExample], dict[str, datetime]]:
    """What waits now as `read_queue` has it, and the streams that were deleted: see `Queue.deletions`."""
    if not settings.broker:
        return read_queue(settings), {}
    with open_queue(settings) as topic:
        queue = topic.refresh()
        return queue.examples(), queue.deletions()


def restore(topic: QueueTopic, store: ClipStore) -> int:
    """Queue what the clip store has, on a topic that was never written to; returns how many.

    A new broker, or the embedded one, knows of no clips, the store does. On any other topic what is missing was taken back.
    """
    if topic.written():
        return 0
    examples = store.examples()
    topic.add(examples)
    return len(examples)
