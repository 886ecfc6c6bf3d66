"""The training queue: the examples of clips that wait to be rated, on a compacted topic. Their bytes are in the clip store.

A message without a value takes an example back. The deletion of a stream is a message of its own, so that it also holds for an
example that a worker is about to send.

**An example is taken back only when its clip is gone from the store, or over its time, or its stream has the note of a
deletion.** Kafka drops messages without a value after a day or two, and the topic then looks as if it had never had the key. So a
clip that has an example beside it, is not over its time, and is not on the topic was never deleted on purpose: the sweep queues
it again.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from streams.errors import EventError
from streams.events import TRAINING_TOPIC, StreamDeletion, TrainingExample
from streams.kafka.clients import send_all
from streams.kafka.connection import Connection
from streams.kafka.whole_topic import WholeTopic
from streams.queue.clips import ClipStore, place_of, place_of_key
from streams.remembered import remember

log = logging.getLogger(__name__)

KeyState = Literal["waits", "taken-back", "unreadable"]
"""What the last message of a key says. unreadable: it has a value, perhaps one of a later version."""

EXAMPLE_KEY = re.compile(rb".+/[0-9a-f]{64}", re.DOTALL)

MOST_ENDED = 100_000
"""Keys without an example that are kept, some 25 MB. A key that is left out counts as one that the topic never had."""


class Queue:
    """The queue that the topic's messages add up to."""

    def __init__(self) -> None:
        self._examples: dict[bytes, TrainingExample] = {}
        self._deleted: dict[str, datetime] = {}
        self._forgotten: dict[str, datetime] = {}
        self._ended: OrderedDict[str, KeyState] = OrderedDict()

    def fold(self, key: bytes, value: bytes | None) -> None:
        """Take in one message; a message that is neither an example nor a deletion is ignored."""
        if not value:
            self._examples.pop(key, None)
            if key.endswith(b"/"):
                self._deleted.pop(key[:-1].decode(errors="replace"), None)
                self._forgotten.pop(key[:-1].decode(errors="replace"), None)
            self._end(key, "taken-back")
            return
        try:
            if key.endswith(b"/"):
                deletion = StreamDeletion.from_bytes(value)
                self._deleted[deletion.stream_id] = deletion.deleted_at
                if deletion.forgotten:
                    self._forgotten[deletion.stream_id] = deletion.deleted_at
                return
            self._examples[key] = TrainingExample.from_bytes(value)
        except EventError as error:
            log.warning("a message of the training queue cannot be read: %s", error)
            self._end(key, "unreadable")

    def _end(self, key: bytes, state: KeyState) -> None:
        """Remember a key that has no example. The oldest one is left out where there are too many."""
        if EXAMPLE_KEY.fullmatch(key):
            remember(self._ended, place_of_key(key), state, MOST_ENDED)

    def places(self) -> dict[str, KeyState]:
        """What the topic says of each clip, by its place in the store (`place_of`). A clip that it never had is not in it."""
        places = dict(self._ended)
        for key, example in self._examples.items():
            places[place_of_key(key)] = places[place_of(example.clip_uri)] = "waits"
        return places

    def holds(self, example: TrainingExample) -> bool:
        """Whether an example waits: it is on the topic, and its stream was not deleted after it was queued."""
        deleted = self._deleted.get(example.stream_id)
        return example.key in self._examples and (deleted is None or example.queued_at > deleted)

    def waiting(self, key: bytes) -> TrainingExample | None:
        """The example that waits under this key; None where none does."""
        example = self._examples.get(key)
        return example if example is not None and self.holds(example) else None

    def deletions(self) -> dict[str, datetime]:
        """By stream id, when the stream was last deleted, UTC; examples that were queued until then are gone for good."""
        return dict(self._deleted)

    def forgotten(self) -> dict[str, datetime]:
        """The last deletion of each stream that was of all of it, also its scores: by `fvq forget`, not `fvq queue rm`."""
        return dict(self._forgotten)

    def of_stream(self, stream_id: str) -> list[TrainingExample]:
        """All examples of a stream on the topic, deleted or not."""
        return [example for example in self._examples.values() if example.stream_id == stream_id]

    def left_behind(self) -> list[TrainingExample]:
        """The examples that do not wait, since their stream was deleted after they were queued."""
        return [example for example in self._examples.values() if not self.holds(example)]

    def examples(self) -> list[TrainingExample]:
        """The examples that wait, oldest first."""
        return oldest_first(example for example in self._examples.values() if self.holds(example))


class QueueTopic(WholeTopic):
    """The topic: `refresh` reads it from its beginning, then what is new; the other methods write. Use as a context manager.

    It and its methods raise `BrokerError` where Kafka does not answer, or the topic is missing.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, connection.named(TRAINING_TOPIC))
        self.queue = Queue()

    def refresh(self) -> Queue:
        """The present queue, with every message that was acknowledged before the call."""
        for record in self._new_records():
            self.queue.fold(record.key or b"", record.value)
        return self.queue

    def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
        """Send examples or deletions, and wait for the acknowledgements."""
        send_all(self._producer, self._topic, [(event.key, event.to_bytes()) for event in events])

    def take_back(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
        """Remove examples or notes of deletions from the topic, and wait for the acknowledgements."""
        send_all(self._producer, self._topic, [(event.key, None) for event in events])


@dataclass(frozen=True)
class QueuePlace:
    """Where the queue is. connection: None where no broker is set; then the clip store alone says which clips wait."""

    connection: Connection | None
    store: ClipStore

    @property
    def shown(self) -> str:
        """What is read, for messages."""
        if self.connection is None:
            return f"the clip store {self.store.shown}, which is read because FVQ_BROKER is not set"
        return f"the topic {self.connection.named(TRAINING_TOPIC)}"

    def read(self, left_out: list[str] | None = None) -> tuple[list[TrainingExample], dict[str, datetime]]:
        """The examples that wait, oldest first, and when each deleted stream was deleted (`Queue.deletions`).

        left_out: gets the URIs of stored clips whose example the store alone would tell, and does not. Raises `BrokerError`.
        """
        if self.connection is None:
            return oldest_first(self.store.examples(left_out)), {}
        with QueueTopic(self.connection) as topic:
            queue = topic.refresh()
            return queue.examples(), queue.deletions()


def oldest_first(examples: Iterable[TrainingExample]) -> list[TrainingExample]:
    """The examples in the order in which they were queued."""
    return sorted(examples, key=lambda example: (example.queued_at, example.key))
