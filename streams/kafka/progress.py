"""How far a consumer group is: asked of the brokers, by a connection of its own.

Faust knows a topic's end only from what it fetches, and a worker that holds back because its scorer is slow does not fetch:
Faust's own figure would stand still just when it matters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from streams import metrics
from streams.kafka.arrivals import Arrivals
from streams.kafka.clients import open_observer
from streams.kafka.connection import Connection
from streams.outages import KAFKA, Outage
from streams.refusals import is_refusal, words

LAG_SECONDS = 5.0
"""How often the consumer lag is measured."""

OTHERS_SECONDS = 1.0
"""How long a look waits for the ends of other workers' partitions: one that has no leader is waited for in vain."""

MOST_MARKS = 16
"""A packager that writes in transactions leaves a mark behind each, which takes an offset. Several of them leave a few."""

MARK_SECONDS = 2.0
"""How long a broker may take to send what is between two offsets; where it takes longer, that counts as messages."""


class Progress:
    """Offsets of one topic: where its partitions end, and what the group has committed. Use as a context manager.

    Methods block, and raise `KafkaError`; one thread at a time.
    """

    def __init__(self, connection: Connection, group: str, topic: str) -> None:
        self._topic = topic
        self._consumer: Any = open_observer(connection, group)
        self._before: dict[TopicPartition, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(timeout_ms=1000)

    def partitions(self) -> set[int]:
        """The topic's partitions."""
        return set(self._consumer.partitions_for_topic(self._topic) or ())

    def ends(self, partitions: Collection[int], seconds: float) -> dict[int, int]:
        """Of each partition, the offset after its last message. seconds: how long to wait for the answer."""
        asked = [TopicPartition(self._topic, number) for number in partitions]
        ends = self._consumer.end_offsets(asked, timeout_ms=round(seconds * 1000))
        return {at.partition: end for at, end in ends.items()}

    def ends_and_committed(self, partitions: Collection[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Of each partition, the offset after its last message, and the one at which the group goes on.

        Marks of transactions count as messages the first time.
        """
        asked = [TopicPartition(self._topic, number) for number in partitions]
        ends = self._consumer.end_offsets(asked)
        committed = {at: self._consumer.committed(at) for at in asked}
        # What retention has deleted nobody answers any more.
        begins = self._consumer.beginning_offsets(asked)
        following = {at: max(committed[at] or 0, begins[at]) for at in asked}
        # Where a group follows, a few messages wait at any moment. It is looked what they are where nothing has moved.
        spans = {at: (first, ends[at]) for at, first in following.items()}
        near = {
            at: first for at, (first, end) in spans.items() if 0 < end - first <= MOST_MARKS and self._before.get(at) == spans[at]
        }
        self._before = spans
        following |= {at: ends[at] for at in self._without_message(near, ends)}
        return {at.partition: ends[at] for at in asked}, {at.partition: following[at] for at in asked}

    def _without_message(self, firsts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """The partitions that have no message between these offsets, but marks of transactions: nobody commits behind them."""
        if not firsts:
            return set()
        self._consumer.assign(list(firsts))
        self._consumer.resume(*firsts)
        for at, first in firsts.items():
            self._consumer.seek(at, first)
        unknown, without = set(firsts), set[TopicPartition]()
        deadline = time.monotonic() + MARK_SECONDS
        while unknown and time.monotonic() < deadline:
            with_message = set(self._consumer.poll(timeout_ms=100, max_records=1))
            self._consumer.pause(*with_message)
            unknown -= with_message
            without |= {at for at in unknown if self._consumer.position(at) >= ends[at]}
            unknown -= without
        return without

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Of each partition, the offset at which the group goes on; the partition's end where it has committed none."""
        ends = self._consumer.end_offsets(list(partitions))
        offsets = {at: self._consumer.committed(at) for at in ends}
        return {at: ends[at] if offset is None else offset for at, offset in offsets.items()}

    def is_behind(self, ends: Mapping[int, int]) -> bool:
        """Whether the group has messages before these offsets, by partition, to answer yet."""
        return any((self._consumer.committed(TopicPartition(self._topic, number)) or 0) < end for number, end in ends.items())


def lag_of(ends: Mapping[int, int], committed: Mapping[int, int]) -> dict[int, int]:
    """Of each partition, the number of messages that the group has not committed yet, by `Progress.ends_and_committed`."""
    # The embedded broker names too low an end: its last batch's beginning.
    return {number: max(0, end - committed[number]) for number, end in ends.items()}


def wait_for_groups(connection: Connection, groups: Sequence[str], topic: str, ends: Mapping[int, int], seconds: float) -> None:
    """Return when each group has committed a topic's messages before these offsets, or the time is over. Raises `KafkaError`.

    ends: by partition, of messages that were read: the embedded broker itself names too low an end.
    """
    deadline = time.monotonic() + seconds
    for group in groups:
        with Progress(connection, group, topic) as progress:
            while time.monotonic() < deadline and progress.is_behind(ends):
                time.sleep(0.1)


class LagWatch:
    """Keeps the metric of the consumer lag up to date, and notices when Kafka goes away and comes back.

    assigned: the partitions of this worker. kafka: is told whether Kafka answers. arrivals: are told where the partitions end.
    """

    def __init__(
        self,
        open_progress: Callable[[], Progress],
        assigned: Callable[[], Collection[int]],
        kafka: Outage = KAFKA,
        arrivals: Arrivals | None = None,
    ) -> None:
        self._open_progress, self._assigned, self._kafka, self._arrivals = open_progress, assigned, kafka, arrivals
        self._shown: set[int] = set()

    def run(self, stop: threading.Event) -> None:
        """Measure until `stop` is set. Raises `KafkaError`; the metric then stays as it is."""
        try:
            with self._open_progress() as progress:
                while not stop.is_set():
                    self._measure(progress)
                    self._kafka.works()
                    stop.wait(LAG_SECONDS)
        except KafkaError as error:
            self._kafka.failed(words(error) if is_refusal(error) else error)  # its text begins with its type
            raise

    def _measure(self, progress: Progress) -> None:
        partitions = set(self._assigned())
        for partition in self._shown - partitions:
            metrics.CONSUMER_LAG.remove(str(partition))
        self._shown &= partitions
        asked_at = time.time()
        # A worker without partitions asks too: whether Kafka answers.
        ends, committed = progress.ends_and_committed(partitions or {0})
        for partition, count in lag_of(ends, committed).items():
            if partition not in partitions:
                continue
            metrics.CONSUMER_LAG.labels(str(partition)).set(count)
            self._shown.add(partition)
        if self._arrivals is not None:
            self._arrivals.note(ends, asked_at)
            with suppress(KafkaError):  # one of them may have no leader, which is no concern of this worker
                # Those of other workers may come to this one.
                asked_at = time.time()
                self._arrivals.note(progress.ends(progress.partitions() - ends.keys(), OTHERS_SECONDS), asked_at)
