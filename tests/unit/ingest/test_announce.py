"""Events on their way to Kafka, with a producer in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaError

from streams.errors import BrokerError
from streams.events import SEGMENTS_TOPIC, SegmentEvent
from streams.ingest import announce as module
from streams.ingest.announce import announce
from streams.ingest.files import CutSegment, Source, events_of
from streams.kafka.connection import Connection

CONNECTION = Connection("kafka.example:9092")


class MemoryProducer:
    """Keeps what is sent. refuse_after: number of messages after which none is acknowledged."""

    def __init__(self, refuse_after: int = 1000) -> None:
        self.messages: list[tuple[str, bytes, bytes]] = []
        self.closed = False
        self._refuse_after = refuse_after

    def send(self, topic: str, *, key: bytes, value: bytes) -> MemoryProducer:
        self.messages.append((topic, key, value))
        return self

    def get(self, timeout: float) -> None:
        """The acknowledgement of the last message."""
        assert timeout > 0
        if len(self.messages) > self._refuse_after:
            raise KafkaError("no replica")

    def close(self) -> None:
        self.closed = True


def events() -> list[SegmentEvent]:
    parts = [CutSegment(Path(f"/media/{number}.ts"), 2.0 * number, 2.0) for number in range(3)]
    return events_of(Source("studio-7", Path("a.mp4")), parts, datetime(2026, 1, 1, tzinfo=UTC), {})


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryProducer]:
    memory = MemoryProducer()
    monkeypatch.setattr(module, "open_producer", lambda connection: memory)
    yield memory
    assert memory.closed


def test_each_event_is_sent_with_its_stream_as_the_key(producer: MemoryProducer) -> None:
    sent: list[SegmentEvent] = []
    assert announce(iter(events()), CONNECTION, sent.append, lambda: False) == 3
    assert sent == events()
    assert producer.messages == [(SEGMENTS_TOPIC, b"studio-7", event.to_bytes()) for event in events()]


def test_it_ends_when_told_to(producer: MemoryProducer) -> None:
    sent: list[SegmentEvent] = []
    assert announce(iter(events()), CONNECTION, sent.append, lambda: len(sent) == 2) == 2
    assert len(producer.messages) == 2


def test_an_event_without_acknowledgement_is_an_error(producer: MemoryProducer) -> None:
    producer._refuse_after = 1
    sent: list[SegmentEvent] = []
    with pytest.raises(BrokerError, match=r"kafka\.example:9092 did not take an event"):
        announce(iter(events()), CONNECTION, sent.append, lambda: False)
    assert len(sent) == 1


def test_a_broker_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> Any:
        raise KafkaError("nobody there")

    monkeypatch.setattr("streams.kafka.clients.KafkaProducer", fail)
    with pytest.raises(BrokerError, match="no Kafka broker answers"):
        announce(iter(events()), CONNECTION, lambda _: None, lambda: False)
