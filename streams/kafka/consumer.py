"""Reading with kafka-python: the one loop of a group's members, and reading a partition to its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from streams import metrics
from streams.errors import BrokerError
from streams.events import DEAD_LETTER_TOPIC
from streams.kafka.clients import ACK_SECONDS, await_sends, broker_errors, no_broker_errors, open_member, writing
from streams.kafka.connection import Connection
from streams.kafka.records import Unreadable
from streams.kafka.topic_looks import no_topic
from streams.kafka.unreadable import as_message
from streams.letter import DeadLetter, dead_letter
from streams.refusals import who_uses

__all__ = ["Batch", "Group", "Member", "Rebalance", "TopicPartition", "polled", "read_to_end"]

log = logging.getLogger(__name__)
POLL_MS = 10
"""How long kafka-python itself may wait in a poll of a member that has joined its group."""

CLOSE_MS = 3000

LAST_SECONDS = 10.0
"""How long a reader that has been told to end waits for what is on the brokers already."""

REST_SECONDS = 1.0
"""How long it waits for what the brokers may have not told of."""


@dataclass(frozen=True)
class Batch:
    """What one poll brought.

    records: messages by partition. reassigned: a rebalance began or ended since the batch before. settled: the assignment
    is the present one; False in the middle of a rebalance, when kafka-python still names the old one.
    """

    records: dict[TopicPartition, list[Any]]
    reassigned: bool
    settled: bool


@dataclass(frozen=True)
class Group:
    """A consumer group. session_seconds: silence after which a member's partitions go to others."""

    name: str
    session_seconds: float

    def of(self, agent: str) -> Group:
        """The group of an agent beside the scorers' one, so that neither waits for the other's rebalance."""
        return replace(self, name=f"{self.name}.{agent}")


class Rebalance(ConsumerRebalanceListener):
    """Notes rebalances as flags. A member acts on them after the poll: kafka-python swallows what a listener raises.

    consumer: kafka-python's client. Where it joins again because partitions were added, it (3.0) forgets why as soon as it is
    the group's leader, and a join that ends after the poll that began it is never looked at: the member has no partition
    until it ends. So each join is asked for in words that last until it is done, as Java's client does (KAFKA-9815).
    """

    def __init__(self, consumer: Any) -> None:
        self.seen = threading.Event()
        self.under_way = threading.Event()
        self.joined = threading.Event()
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002
        self._consumer._coordinator.request_rejoin()
        self.under_way.set()
        self.seen.set()

    def on_partitions_lost(self, lost: Any) -> None:
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002
        self.under_way.clear()
        self.joined.set()
        self.seen.set()


class Member:
    """A member of a consumer group. Use as a context manager; one thread at a time.

    consumer: kafka-python's client, for positions, seeking, pausing and committing.
    """

    def __init__(self, connection: Connection, group: Group, topics: Sequence[str], *, bulk: bool = False) -> None:
        self.consumer: Any = open_member(connection, group.name, group.session_seconds, bulk=bulk)
        self._connection, self._group = connection, group.name
        self._reported: dict[tuple[str, int], int] = {}
        self._rebalance = Rebalance(self.consumer)
        self.consumer.subscribe(list(topics), listener=self._rebalance)

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close(autocommit=False, timeout_ms=CLOSE_MS)

    def batches(self, stop: threading.Event, wait: Callable[[], float], most: int) -> Iterator[Batch]:
        """One batch for each poll, also an empty one, until `stop` is set.

        wait: seconds that a poll waits for messages, asked before each one. most: messages of a poll. In place of a message
        that cannot be read there is one whose value is `Unreadable`, which is no event of any topic; it has a dead letter
        already. Raises `BrokerError` where Kafka does not take that letter.
        """
        while not stop.is_set():
            records = polled(self.consumer, self._rebalance, wait(), most)
            reassigned = self._rebalance.seen.is_set()
            self._rebalance.seen.clear()
            self._report(records)
            yield Batch(records, reassigned, not self._rebalance.under_way.is_set())

    def _report(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Send a dead letter for each message that cannot be read, once in the life of this member."""
        unreadable = [record for batch in records.values() for record in batch if isinstance(record.value, Unreadable)]
        places = {(record.topic, record.partition, record.offset): record for record in unreadable}
        letters = []
        for record in places.values():
            if record.offset <= self._reported.get((record.topic, record.partition), -1):
                continue  # polled again after a rebalance
            message = as_message(record)
            letters.append(dead_letter(message, kind="unreadable", reason=message.unreadable, reader=self._group))
            log.error(
                "a message cannot be read and is stepped over: %s, partition %d, offset %d: %s",
                record.topic, record.partition, message.offset, message.unreadable,
            )  # fmt: skip
        if letters:
            send_letters(self._connection, letters)
            metrics.DEAD_LETTERS.labels("unreadable").inc(len(letters))
        for topic, partition, offset in places:
            self._reported[topic, partition] = max(offset, self._reported.get((topic, partition), -1))

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets at which reading goes on. Raises `KafkaError`."""
        self.consumer.commit({partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()})


def send_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Send dead letters and wait for all acknowledgements. Raises `BrokerError`."""
    topic = connection.named(DEAD_LETTER_TOPIC)
    with writing(connection) as producer:
        await_sends(
            topic,
            (producer.send(topic, key=letter.key, value=letter.value, headers=letter.header_bytes()) for letter in letters),
        )


def polled(consumer: Any, rebalance: Rebalance, seconds: float, most: int) -> dict[TopicPartition, list[Any]]:
    """Messages of a member by partition; waits for the first one for about `seconds`.

    While kafka-python (3.0) waits in a poll and a heartbeat is overdue, it spins: a broker that hangs costs a whole core and
    12 MiB a second. So a member waits outside of the client, also one of more members than partitions, which has none.
    """
    wait_ms = int(seconds * 1000)
    if rebalance.under_way.is_set() or not (consumer.assignment() or rebalance.joined.is_set()):
        # A consumer joins its group only inside a long poll; polls of 10 ms never finish the join at the embedded broker.
        return dict(consumer.poll(timeout_ms=wait_ms, max_records=most))
    records = dict(consumer.poll(timeout_ms=min(POLL_MS, wait_ms), max_records=most))
    if not records:
        time.sleep(seconds)
    return records


def partitions_of(reader: Any, connection: Connection, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, in order. Raises `BrokerError`, also where the topic is missing."""
    with no_broker_errors(connection):
        numbers = reader.partitions_for_topic(topic)
    if not numbers:
        raise no_topic(connection, topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def read_whole(reader: Any, connection: Connection, topic: str) -> Iterator[Any]:
    """The records of a topic from its beginning to its end, which the reader is assigned to. Raises `BrokerError`."""
    partitions = partitions_of(reader, connection, topic)
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    return read_to_end(reader, partitions)


def assign_at_end(consumer: Any, partitions: Sequence[TopicPartition]) -> None:
    """Assign partitions to a reader in no group: it reads what comes after this call. Raises `KafkaError`."""
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    for partition in partitions:
        consumer.position(partition)  # seek_to_end() is lazy: this call asks the broker


def poll_until(consumer: Any, done: threading.Event) -> Iterator[Any]:
    """New records until `done` is set, and then those that are there already, for which it waits `LAST_SECONDS` at most."""

    def poll(seconds: float) -> list[Any]:
        return [record for records in consumer.poll(timeout_ms=int(seconds * 1000)).values() for record in records]

    while not done.is_set():
        yield from poll(0.2)
    try:
        ends = consumer.end_offsets(list(consumer.assignment()))
    except KafkaError:  # the brokers are gone
        return
    deadline = time.monotonic() + LAST_SECONDS
    while any(consumer.position(partition) < end for partition, end in ends.items()) and time.monotonic() < deadline:
        yield from poll(0.2)
    # The embedded broker names too low an end, the beginning of its last batch.
    deadline = time.monotonic() + REST_SECONDS
    while (left := deadline - time.monotonic()) > 0 and (records := poll(left)):
        yield from records


def read_to_end(consumer: Any, partitions: Sequence[TopicPartition]) -> Iterator[Any]:
    """The messages from the consumer's positions to the partitions' present ends, without those that cannot be read.

    consumer: is assigned these partitions. Raises `BrokerError` where Kafka does not answer, or sends nothing for 30 s.
    """
    with broker_errors(f"{partitions[0].topic} cannot be read", "Read", partitions[0].topic, who_uses(consumer)):
        ends = consumer.end_offsets(list(partitions))
        if behind := [partition for partition in partitions if consumer.position(partition) > ends[partition]]:
            yield from _read_behind(consumer, behind)
        yield from filter(_is_readable, records_before(consumer, ends))


def records_before(consumer: Any, ends: Mapping[TopicPartition, int]) -> Iterator[Any]:
    """Records from the consumer's positions on until these offsets are reached, also those that cannot be read.

    Raises `KafkaError`, and `BrokerError` where nothing comes for 30 s.
    """
    deadline = time.monotonic() + ACK_SECONDS
    while unread := [partition for partition, end in ends.items() if consumer.position(partition) < end]:
        for records in consumer.poll(timeout_ms=500).values():
            yield from records
            deadline = time.monotonic() + ACK_SECONDS
        if time.monotonic() > deadline:
            raise BrokerError(f"{unread[0].topic}, partition {unread[0].partition}: nothing comes before its end")


def _read_behind(consumer: Any, behind: Sequence[TopicPartition]) -> Iterator[Any]:
    """Find out why a consumer is behind the ends of these partitions; it then is where it has to read on.

    Where a topic was made anew, or a broker has lost its end, a fetch is refused, and the client goes back, by epochs only to the
    new end: all of it is new. The embedded broker names too low an end, the beginning of its last batch, and refuses nothing.
    """
    before = {partition: consumer.position(partition) for partition in behind}
    fetched = consumer.poll(timeout_ms=500)
    begun_again = [partition for partition in behind if consumer.position(partition) < before[partition]]
    for partition, records in fetched.items():
        if partition not in begun_again:
            yield from filter(_is_readable, records)
    if begun_again:
        consumer.seek_to_beginning(*begun_again)


def _is_readable(record: Any) -> bool:
    """False for a message that cannot be read. It is logged, without a letter: a topic of states is read again and again."""
    if not isinstance(record.value, Unreadable):
        return True
    message = as_message(record)
    log.error(
        "a message cannot be read and is left out: %s, partition %d, offset %d: %s",
        message.topic, message.partition, message.offset, message.unreadable,
    )  # fmt: skip
    return False
