"""The one loop of kafka-python's readers: waiting, rebalances, and reading to the end."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from streams.errors import BrokerError
from streams.kafka import consumer as consumer_module
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group, Member, Rebalance, poll_until, polled, read_to_end
from streams.kafka.records import Unreadable

AT = TopicPartition("scores", 0)


class Coordinator:
    """In place of the one who joins a group."""

    def request_rejoin(self) -> None:
        pass


class IdleConsumer:
    """In place of a `KafkaConsumer` without messages: a member of its group with a partition, or not yet a member."""

    def __init__(self, member: bool) -> None:
        self.member = member
        self._coordinator = Coordinator()
        self.asked: list[int] = []

    def assignment(self) -> set[TopicPartition]:
        return {AT} if self.member else set()

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        self.asked.append(timeout_ms)
        return {}


@pytest.mark.parametrize(
    ("member", "joining", "seconds", "asked"),
    [(True, False, 0.2, 10), (True, False, 0.0, 0), (False, False, 0.2, 200), (True, True, 0.2, 200)],
)
def test_a_member_waits_outside_of_the_client_and_joins_inside(member: bool, joining: bool, seconds: float, asked: int) -> None:
    """Inside the client, a member spins while a broker hangs; a consumer that is no member yet joins only inside."""
    consumer = IdleConsumer(member)
    rebalance = Rebalance(consumer)
    if joining:
        rebalance.on_partitions_revoked([])
    began = time.monotonic()
    assert polled(consumer, rebalance, seconds, 10) == {}
    assert asked > 10 or time.monotonic() - began >= seconds, "it waits all the same"
    assert consumer.asked == [asked]


def test_a_member_without_a_partition_waits_outside_of_the_client_too() -> None:
    """One of more members than partitions would spin like the others while a broker hangs: for good, not until it has joined."""
    consumer = IdleConsumer(member=False)
    rebalance = Rebalance(consumer)
    rebalance.on_partitions_revoked([])
    rebalance.on_partitions_assigned([])
    began = time.monotonic()
    assert polled(consumer, rebalance, 0.2, 10) == {}
    assert time.monotonic() - began >= 0.2
    assert consumer.asked == [10]


class RebalancingConsumer:
    """In place of a `KafkaConsumer` whose polls call its rebalance listener as told."""

    def __init__(self, script: list[str]) -> None:
        self.script = script
        self._coordinator = Coordinator()
        self.closed: dict[str, Any] = {}
        self.committed: dict[TopicPartition, Any] = {}

    def subscribe(self, topics: list[str], listener: Rebalance) -> None:
        self.topics, self.listener = topics, listener

    def assignment(self) -> set[TopicPartition]:
        return {AT}

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        step = self.script.pop(0)
        if step == "revoked":
            self.listener.on_partitions_revoked([AT])
        if step == "assigned":
            self.listener.on_partitions_assigned([AT])
        if step == "unreadable":
            value = Unreadable(b"broken", "the checksum is wrong", 3, 5)
            return {AT: [SimpleNamespace(topic="scores", partition=0, offset=5, key=None, value=value)]}
        return {AT: [SimpleNamespace(value=b"message")]} if step == "message" else {}

    def commit(self, offsets: dict[TopicPartition, Any]) -> None:
        self.committed |= offsets

    def close(self, **options: Any) -> None:
        self.closed = options


def test_batches_tell_of_rebalances_once_and_of_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ["assigned", "message", "revoked", "nothing", "assigned", "message"]
    consumer, stop = RebalancingConsumer(list(script)), threading.Event()
    monkeypatch.setattr(consumer_module, "open_member", lambda *_, **__: consumer)
    seen = []
    with Member(Connection("none:1"), Group("fvq", 10).of("alerts"), ["scores"]) as member:
        for batch in member.batches(stop, lambda: 0.0, 10):
            seen.append((batch.reassigned, batch.settled, len(batch.records)))
            if not consumer.script:
                stop.set()
        member.commit({AT: 7})
    assert seen == [
        (True, True, 0), (False, True, 1), (True, False, 0), (False, False, 0), (True, True, 0), (False, True, 1),
    ]  # fmt: skip
    assert consumer.committed[AT].offset == 7
    assert consumer.closed["autocommit"] is False, "what was not committed is read again by the next member"


def test_a_message_that_cannot_be_read_is_one_dead_letter_and_stays_in_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, stop, letters = RebalancingConsumer(["unreadable", "message", "unreadable"]), threading.Event(), []
    monkeypatch.setattr(consumer_module, "open_member", lambda *_, **__: consumer)
    monkeypatch.setattr(consumer_module, "send_letters", lambda _, sent: letters.extend(sent))
    with Member(Connection("none:1"), Group("fvq", 10).of("alerts"), ["scores"]) as member:
        for batch in member.batches(stop, lambda: 0.0, 10):
            assert len(batch.records[AT]) == 1, "so that the agent commits past it"
            if not consumer.script:
                stop.set()
    (letter,) = letters
    assert letter.value == b"broken"
    assert letter.headers.items() >= {
        "kind": "unreadable", "topic": "scores", "partition": "0", "offset": "3", "last_offset": "5", "reader": "fvq.alerts",
    }.items()  # fmt: skip


class GrowingTopic:
    """In place of a `KafkaConsumer` on one partition, into which somebody writes while it is read."""

    def __init__(self, count: int, silent: bool = False) -> None:
        self.messages, self.at, self.silent = list(range(count)), 0, silent

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.messages))

    def position(self, partition: TopicPartition) -> int:
        return self.at

    def seek_to_beginning(self, *_: TopicPartition) -> None:
        self.at = 0

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.silent:
            return {}
        if self.at > len(self.messages):
            self.at = len(self.messages)  # the fetch is refused, and the client goes back to where the epochs diverge
            return {}
        records = [SimpleNamespace(offset=self.at, value=message) for message in self.messages[self.at : self.at + 2]]
        self.at += len(records)
        self.messages.append(-1)
        return {AT: records}


def test_reading_ends_at_the_end_that_the_partition_had_at_first() -> None:
    values = [record.value for record in read_to_end(GrowingTopic(4), [AT])]
    assert values == [0, 1, 2, 3]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    """A reader that lives as long as its worker stands behind the new end, and would wait until the topic has grown past it."""
    topic = GrowingTopic(4)
    topic.at = 100
    assert [record.value for record in read_to_end(topic, [AT])] == [0, 1, 2, 3]


def test_a_broker_that_says_too_low_an_end_is_not_read_twice() -> None:
    """The embedded broker, whose end is one behind the beginning of the last batch."""
    topic = GrowingTopic(4, silent=True)
    topic.at = 7
    assert list(read_to_end(topic, [AT])) == []
    assert topic.at == 7


def test_a_broker_that_sends_nothing_is_an_error_that_names_the_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "ACK_SECONDS", 0.05)
    with pytest.raises(BrokerError, match="scores, partition 0: nothing comes before its end"):
        list(read_to_end(GrowingTopic(4, silent=True), [AT]))


class SlowConsumer:
    """In place of a `KafkaConsumer` of one partition, whose broker names `end`; each poll brings what comes next."""

    def __init__(self, end: int, polls: list[list[int]]) -> None:
        self.end, self.polls, self.at = end, polls, 0

    def assignment(self) -> set[TopicPartition]:
        return {AT}

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end)

    def position(self, _: TopicPartition) -> int:
        return self.at

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[int]]:
        records = self.polls.pop(0) if self.polls else []
        self.at += len(records)
        return {AT: records} if records else {}


@pytest.mark.parametrize(("end", "polls"), [(2, [[], [], [0], [], [1]]), (1, [[0], [1]]), (0, [])])
def test_a_reader_that_is_to_end_reads_what_is_there(end: int, polls: list[list[int]]) -> None:
    """Also where the brokers are slow to send it, and where the embedded one names the beginning of its last batch as the end."""
    done = threading.Event()
    done.set()
    there = [number for poll in polls for number in poll]
    assert list(poll_until(SlowConsumer(end, polls), done)) == there


def test_a_reader_that_is_to_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LAST_SECONDS", 0.05)
    done = threading.Event()
    done.set()
    assert list(poll_until(SlowConsumer(1, []), done)) == []
