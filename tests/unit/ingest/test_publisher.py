"""Batches of events and the positions after them, with a sender in memory."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from kafka.errors import KafkaTimeoutError

from streams.errors import BrokerError
from streams.events import INGEST_STATE_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.ingest import publisher as publisher_module
from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.positions import PositionRecord, from_bytes
from streams.ingest.publisher import GATHER_SECONDS, KafkaSender, Messages, Publisher
from streams.ingest.silence import KnownState
from streams.ingest.states import SourceState
from streams.kafka.connection import Connection

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class MemorySender:
    """Keeps what is sent. failures: how many sends to a topic fail, by topic. go: cleared to hold all sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Messages]] = []
        self.failures: dict[str, int] = {}
        self.go = threading.Event()
        self.go.set()

    def send(self, topic: str, messages: Messages) -> None:
        assert self.go.wait(20)
        if self.failures.get(topic, 0):
            self.failures[topic] -= 1
            raise BrokerError("no replica")
        self.sent.append((topic, messages))

    def close(self) -> None:
        pass


def event(number: int, stream: str = "news") -> SegmentEvent:
    return SegmentEvent(
        stream_id=stream, segment_id=f"{stream}/{number}", sequence=number, uri="http://o.example/x", start=NOW, duration=2.0
    )


def saved(number: int) -> SavedPosition:
    return SavedPosition(Position(number=number), "")


@pytest.fixture
def sender() -> MemorySender:
    return MemorySender()


@pytest.fixture
async def publisher(sender: MemorySender) -> AsyncIterator[Publisher]:
    running = Publisher(sender, Connection("none:1").named, first_pause=0.01)
    task = asyncio.create_task(running.run())
    yield running
    sender.go.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_events_go_first_and_the_position_after_them(publisher: Publisher, sender: MemorySender) -> None:
    await publisher.publish(Stream("news"), [event(1), event(2)], saved(2))
    (events_topic, events), (state_topic, states) = sender.sent
    assert (events_topic, state_topic) == (SEGMENTS_TOPIC, INGEST_STATE_TOPIC)
    assert events == [(b"news", event(1).to_bytes()), (b"news", event(2).to_bytes())]
    assert states[0][1] is not None
    assert from_bytes(states[0][1]) == (("news", None), saved(2))
    assert publisher.restore(Stream("news")) == saved(2)
    assert publisher.restore(Stream("news", "720p")) is None


async def test_what_comes_while_a_batch_is_on_its_way_is_the_next_batch(publisher: Publisher, sender: MemorySender) -> None:
    sender.go.clear()
    sends = [
        asyncio.create_task(publisher.publish(Stream(f"s{number}"), [event(number, f"s{number}")], saved(number)))
        for number in range(50)
    ]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in sends)
    sender.go.set()
    await asyncio.gather(*sends)
    batches = [messages for topic, messages in sender.sent if topic == SEGMENTS_TOPIC]
    assert len(batches) <= 2
    assert [key for batch in batches for key, _ in batch] == [f"s{number}".encode() for number in range(50)]


async def test_a_batch_that_is_not_taken_is_sent_again_and_no_position_before_its_events(
    publisher: Publisher, sender: MemorySender
) -> None:
    sender.failures = {SEGMENTS_TOPIC: 2, INGEST_STATE_TOPIC: 1}
    await publisher.publish(Stream("news"), [event(1)], saved(1))
    assert [topic for topic, _ in sender.sent] == [SEGMENTS_TOPIC, SEGMENTS_TOPIC, INGEST_STATE_TOPIC]


async def test_a_source_that_was_stopped_meanwhile_holds_up_nobody(publisher: Publisher, sender: MemorySender) -> None:
    sender.go.clear()
    stopped = asyncio.create_task(publisher.publish(Stream("a"), [event(1, "a")], saved(1)))
    await asyncio.sleep(0.02)
    stopped.cancel()
    sender.go.set()
    await publisher.publish(Stream("b"), [event(1, "b")], saved(1))


async def test_told_to_finish_it_sends_what_it_has_then_ends(sender: MemorySender) -> None:
    publisher = Publisher(sender, Connection("none:1").named, first_pause=0.01)
    running = asyncio.create_task(publisher.run())
    sender.go.clear()
    first = asyncio.create_task(publisher.publish(Stream("a"), [event(1, "a")], saved(1)))
    await asyncio.sleep(2 * GATHER_SECONDS)
    second = asyncio.create_task(publisher.publish(Stream("b"), [event(1, "b")], saved(1)))
    publisher.report(Stream("a"), SourceState("ended", NOW))
    await asyncio.sleep(0)
    publisher.finish()
    sender.go.set()
    async with asyncio.timeout(10):
        await asyncio.gather(running, first, second)
    *_, last = (PositionRecord.from_bytes(value) for value in values_sent(sender) if b'"a"' in value)
    assert (last.state, last.position.number) == (SourceState("ended", NOW), 1)


async def test_told_to_finish_while_it_waits_it_ends(sender: MemorySender) -> None:
    idle = Publisher(sender, Connection("none:1").named)
    running = asyncio.create_task(idle.run())
    await asyncio.sleep(0.01)
    idle.finish()
    async with asyncio.timeout(10):
        await running
    assert sender.sent == []


def values_sent(sender: MemorySender) -> list[bytes]:
    """The messages about renditions."""
    return [value for topic, sent in sender.sent if topic == INGEST_STATE_TOPIC for _, value in sent if value is not None]


async def states_sent(sender: MemorySender, count: int) -> list[KnownState]:
    """The first so many messages about renditions."""
    deadline = time.monotonic() + 10
    while len(values := values_sent(sender)) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    return [KnownState.from_bytes(value) for value in values]


async def test_a_state_is_sent_where_it_changes_and_keeps_the_position(publisher: Publisher, sender: MemorySender) -> None:
    failing = SourceState("failing", NOW, "timeout", "no answer within 6 s")
    publisher.report(Stream("news"), failing)
    assert [known.state for known in await states_sent(sender, 1)] == [failing]
    assert from_bytes(sender.sent[0][1][0][1] or b"") == (("news", None), SavedPosition())
    publisher.report(Stream("news"), SourceState("failing", NOW, "timeout", "no answer within 3 s"))  # the same in other words
    await publisher.publish(Stream("news"), [event(1)], saved(1))
    publisher.report(Stream("news"), SourceState("live", NOW))
    known = await states_sent(sender, 3)
    assert [state.state and state.state.state for state in known] == ["failing", "failing", "live"]
    assert from_bytes(sender.sent[-1][1][0][1] or b"") == (("news", None), saved(1))


async def test_what_is_kept_of_a_retired_rendition_is_deleted_once(sender: MemorySender) -> None:
    kept = {("news", None): SavedPosition(), ("before", None): saved(1)}
    publisher = Publisher(sender, Connection("none:1").named, kept, first_pause=0.01)
    running = asyncio.create_task(publisher.run())
    publisher.report(Stream("news"), SourceState("failing", NOW))
    await states_sent(sender, 1)
    for _ in range(2):
        for name in ("news", "before", "never"):
            publisher.retire(Stream(name))
        publisher.report(Stream("news", "720p"), SourceState("live", NOW))
        await asyncio.sleep(3 * GATHER_SECONDS)
    assert publisher.restore(Stream("before")) is None
    publisher.report(Stream("news"), SourceState("failing", NOW))
    publisher.finish()
    await running
    messages = [message for _, sent in sender.sent for message in sent]
    assert [(key, value is None) for key, value in messages] == [
        (b"4/news/", False), (b"4/news/", True), (b"6/before/", True), (b"4/news/720p", False), (b"4/news/", False)
    ]  # fmt: skip


async def test_the_renditions_of_which_something_is_kept_are_known(sender: MemorySender) -> None:
    kept = {("news", "360p"): saved(1), ("news/2", "720p"): saved(1), ("news", None): SavedPosition()}
    publisher = Publisher(sender, Connection("none:1").named, kept)
    publisher.report(Stream("news", "1080p"), SourceState("live", NOW))
    load = asyncio.create_task(publisher.publish(Stream("news", "720p"), [event(1)], saved(1)))
    await asyncio.sleep(0)
    assert publisher.renditions("news") == {"360p", "720p", "1080p", None}
    publisher.retire(Stream("news", "360p"))
    assert publisher.renditions("news") == {"720p", "1080p", None}
    load.cancel()


async def test_a_position_that_waits_for_kafka_is_not_kept_of_a_retired_rendition(
    publisher: Publisher, sender: MemorySender
) -> None:
    news = Stream("news", "720p")
    sender.go.clear()
    publisher.report(news, SourceState("live", NOW))
    first = asyncio.create_task(publisher.publish(news, [event(1)], saved(1)))
    await asyncio.sleep(3 * GATHER_SECONDS)
    second = asyncio.create_task(publisher.publish(news, [event(2)], saved(2)))
    await asyncio.sleep(0)
    publisher.retire(news)
    sender.go.set()
    await asyncio.gather(first, second)
    last = [message for topic, sent in sender.sent for message in sent if topic == INGEST_STATE_TOPIC][-1]
    assert last == (b"4/news/720p", None)
    assert [key for topic, sent in sender.sent for key, _ in sent if topic == SEGMENTS_TOPIC] == [b"news", b"news"]


@pytest.mark.parametrize("is_reported", [False, True])
@pytest.mark.parametrize("is_on_its_way", [False, True])
async def test_nothing_is_kept_of_a_rendition_that_is_retired_before_kafka_has_its_first_position(
    publisher: Publisher, sender: MemorySender, is_on_its_way: bool, is_reported: bool
) -> None:
    news = Stream("news", "720p")
    sender.go.clear()
    loads = []
    if not is_on_its_way:
        loads.append(asyncio.create_task(publisher.publish(Stream("other"), [event(1, "other")], saved(1))))
        await asyncio.sleep(3 * GATHER_SECONDS)
    if is_reported:
        publisher.report(news, SourceState("live", NOW))
    loads.append(asyncio.create_task(publisher.publish(news, [event(1)], saved(1))))
    await asyncio.sleep(3 * GATHER_SECONDS if is_on_its_way else 0)
    publisher.retire(news)
    sender.go.set()
    await asyncio.gather(*loads)
    await asyncio.sleep(3 * GATHER_SECONDS)
    records = [record for topic, sent in sender.sent if topic == INGEST_STATE_TOPIC for record in sent]
    assert records[-1] == (b"4/news/720p", None)
    assert publisher.restore(news) is None


async def test_a_state_is_sent_with_a_batch_that_is_not_taken_at_once(publisher: Publisher, sender: MemorySender) -> None:
    sender.failures = {INGEST_STATE_TOPIC: 2}
    publisher.report(Stream("news", "720p"), SourceState("stale", NOW))
    (known,) = await states_sent(sender, 1)
    assert (known.stream_id, known.rendition, known.state) == ("news", "720p", SourceState("stale", NOW))
    assert [topic for topic, _ in sender.sent] == [INGEST_STATE_TOPIC]


async def test_loads_that_come_one_by_one_are_gathered_into_batches(publisher: Publisher, sender: MemorySender) -> None:
    began = time.monotonic()
    sends = []
    for number in range(30):
        sends.append(asyncio.create_task(publisher.publish(Stream(f"s{number}"), [event(1, f"s{number}")], saved(1))))
        await asyncio.sleep(0.001)
    await asyncio.gather(*sends)
    batches = [messages for topic, messages in sender.sent if topic == SEGMENTS_TOPIC]
    assert len(batches) - 1 <= (time.monotonic() - began) / GATHER_SECONDS
    assert sum(map(len, batches)) == 30


class StuckProducer:
    """In place of kafka-python's producer after a broker has hung for minutes: it takes messages and sends none of them."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    def send(self, topic: str, key: bytes, value: bytes | None) -> StuckProducer:
        self.sent += 1
        return self

    def get(self, timeout: float) -> None:
        raise KafkaTimeoutError

    def close(self, timeout: float) -> None:
        self.closed = True


def test_a_producer_that_failed_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[StuckProducer] = []

    def open_producer(_: Connection) -> StuckProducer:
        opened.append(StuckProducer())
        return opened[-1]

    monkeypatch.setattr(publisher_module, "open_producer", open_producer)
    sender = KafkaSender(Connection("none:1"))
    for _ in range(2):
        with pytest.raises(BrokerError):
            sender.send(SEGMENTS_TOPIC, [(b"stream", b"event")])
    sender.close()
    assert [(producer.sent, producer.closed) for producer in opened] == [(1, True), (1, True)]
