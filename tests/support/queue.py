"""What tests of the training queue are made of."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from streams.events import ModelRef, SegmentScore, StreamDeletion, TrainingExample
from streams.queue.agent import make_example
from streams.queue.clips import ClipStore
from streams.queue.topic import Queue
from tests.support.alerts import make_score

MODEL = ModelRef(name="nano", version="1")


def scene(number: int) -> str:
    """A fingerprint; of each scene another."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def scored(sequence: int, score: float = 20.0, picture: int | None = None, **fields: Any) -> SegmentScore:
    """A segment's score; picture: its scene, without it one of its own."""
    known = {"uncertainty": 5.0, "model": MODEL, "fingerprint": scene(sequence if picture is None else picture)}
    return make_score(sequence, score, **(known | {"begin": datetime.now(UTC)} | fields))


def clip_of(score: SegmentScore) -> bytes:
    """The bytes of a segment, as far as a store looks at them."""
    return b"\x47" + score.segment_id.encode().ljust(187, b"-") + b"\x47"


def stored_example(store: ClipStore, score: SegmentScore, **changes: Any) -> TrainingExample:
    """An example whose clip is in the store."""
    data = clip_of(score)
    example = make_example(score, "low-score", store.uri(score.stream_id, data), data).model_copy(update=changes)
    store.put(example, data)
    return example


class Killed(Exception):
    """The worker is dead."""


class MemoryTopic:
    """In place of `QueueTopic`: its messages outlive the worker. life: messages that may still be sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.life = 10**6

    def refresh(self) -> Queue:
        queue = Queue()
        for key, value in self.messages:
            queue.fold(key, value)
        return queue

    def written(self) -> bool:
        return bool(self.messages)

    def add(self, examples: list[TrainingExample | StreamDeletion]) -> None:
        for one in examples:
            self._send(one.key, one.to_bytes())

    def take_back(self, examples: list[TrainingExample]) -> None:
        for one in examples:
            self._send(one.key, None)

    def _send(self, key: bytes, value: bytes | None) -> None:
        self.life -= 1
        if self.life < 0:
            raise Killed
        self.messages.append((key, value))
