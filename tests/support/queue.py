"""For tests of the training queue: scores that are worth a rating, stored clips, and the topic in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from streams.events import ModelRef, SegmentScore, StreamDeletion, TrainingExample
from streams.queue.agent import make_example
from streams.queue.clips import ClipStore
from streams.queue.topic import Queue
from tests.support.alerts import Killed, make_score

MODEL = ModelRef(name="nano", version="1")


def scene(number: int) -> str:
    """The fingerprint of a scene; each number is another scene."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def scored(sequence: int, score: float = 20.0, picture: int | None = None, **fields: Any) -> SegmentScore:
    """The score of a segment that starts about now. score: points. picture: its scene; each segment has its own without it."""
    defaults = {"uncertainty": 5.0, "model": MODEL, "fingerprint": scene(sequence if picture is None else picture)}
    return make_score(sequence, score, **(defaults | {"begin": datetime.now(UTC)} | fields))


def clip_of(score: SegmentScore) -> bytes:
    """The bytes of a segment: the clip store takes them for MPEG-TS."""
    return b"\x47" + (score.segment_id + (score.rendition or "")).encode().ljust(187, b"-") + b"\x47"


def stored_example(store: ClipStore, score: SegmentScore, **changes: Any) -> TrainingExample:
    """Puts a segment's clip into the store; returns its example. changes: other values of the example's fields."""
    data = clip_of(score)
    example = make_example(score, "low-score", store.uri(score.stream_id, data), data).model_copy(update=changes)
    store.put(example, data)
    return example


class MemoryTopic:
    """Stands for `streams.queue.topic.QueueTopic`: its messages outlive the worker.

    messages_left: number of messages that the worker can send before it is killed.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.messages_left = 10**6

    def __enter__(self) -> MemoryTopic:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the messages where they are."""

    def refresh(self) -> Queue:
        queue = Queue()
        for key, value in self.messages:
            queue.fold(key, value)
        return queue

    def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
        for event in events:
            self._send(event.key, event.to_bytes())

    def take_back(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
        for event in events:
            self._send(event.key, None)

    def compact(self) -> None:
        """Drop what Kafka drops in time: older messages of a key, and those without a value."""
        self.messages = [(key, value) for key, value in dict(self.messages).items() if value is not None]

    def _send(self, key: bytes, value: bytes | None) -> None:
        self.messages_left -= 1
        if self.messages_left < 0:
            raise Killed
        self.messages.append((key, value))
