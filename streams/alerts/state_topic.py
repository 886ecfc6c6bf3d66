"""The alert agent's topics: it reads scores, sends alerts and states, and starts from the states that are stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from typing import Any, Self

from streams.alerts.state import StreamState, from_json
from streams.errors import BrokerError, EventError
from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, QualityAlert
from streams.kafka.clients import await_sends, open_admin, reading, writing
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group, Member, TopicPartition, read_to_end
from streams.kafka.progress import Progress
from streams.kafka.topic_looks import looked_up

log = logging.getLogger(__name__)

FIRST_READ_SECONDS = 600.0
"""A group that has never committed reads the scores of this time: enough for a baseline, and no alerts about last week."""

Messages = list[tuple[int, str, bytes | None]]
"""Partition, key and value of each."""

LAST_ALERTS = 1000
"""Alerts of a partition that are read to find repeats, and those that are open: many more than one batch of scores can raise."""


class AlertTopics:
    """The agent's connections. Use as a context manager. Methods raise `KafkaError` or `BrokerError`.

    group: the scorers' group, whose progress is watched. member: the consumer that reads the scores, in a group of its own.
    """

    def __init__(self, connection: Connection, group: Group) -> None:
        self._alerts_topic, self._states_topic = connection.named(ALERTS_TOPIC), connection.named(ALERT_STATE_TOPIC)
        self._scores_topic = connection.named(SCORES_TOPIC)
        with ExitStack() as stack:
            self.member = stack.enter_context(Member(connection, group.of("alerts"), [self._scores_topic], bulk=True))
            self._reader = stack.enter_context(reading(connection))
            self._producer = stack.enter_context(writing(connection))
            self._segments = stack.enter_context(Progress(connection, group.name, connection.named(SEGMENTS_TOPIC)))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def assignment(self) -> set[TopicPartition]:
        """The partitions of the scores topic that this worker is assigned."""
        return set(self.member.consumer.assignment())

    def seek_to_committed(self, at: TopicPartition) -> None:
        """Read a partition from its committed offset on; without one, from `FIRST_READ_SECONDS` ago on."""
        consumer = self.member.consumer
        offset: int | None = consumer.committed(at)
        if offset is None:
            since = int((time.time() - FIRST_READ_SECONDS) * 1000)
            first = consumer.offsets_for_times({at: since})[at]
            offset = first.offset if first is not None else consumer.end_offsets([at])[at]
        consumer.seek(at, offset)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit, for each partition, the offset of the next score to read."""
        self.member.commit(offsets)

    def scorers_progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of the segments topic, by partition: its end offset, and the offset that the scorers have committed."""
        return self._segments.ends_and_committed(self._segments.partitions())

    def own_progress(self, partitions: Collection[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Of these partitions of the scores topic: the end offset, and the offset up to which this agent has read."""
        own = [TopicPartition(self._scores_topic, number) for number in partitions]
        ends = {at.partition: end for at, end in self.member.consumer.end_offsets(own).items()}
        return ends, {at.partition: self.member.consumer.position(at) for at in own}

    def states(self, partition: int) -> Iterator[StreamState]:
        """The last state of each stream of a partition."""
        values: dict[bytes, bytes] = {}
        for record in self._read(self._states_topic, partition):
            if record.value:
                values[record.key] = record.value
            else:
                values.pop(record.key, None)
        for key, value in values.items():
            try:
                yield from_json(value)
            except ValueError as error:
                log.error("the state of stream %r cannot be read and is dropped: %s", key[:100], str(error)[:500])

    def last_alerts(self, partition: int) -> list[QualityAlert]:
        """The last `LAST_ALERTS` alerts of a partition, in their order."""
        alerts = []
        for record in self._read(self._alerts_topic, partition, LAST_ALERTS):
            with suppress(EventError):  # not written by this agent; the couriers log it
                alerts.append(QualityAlert.from_bytes(record.value))
        return alerts

    def send_alerts(self, alerts: Messages) -> None:
        """Send alerts, and wait for all acknowledgements."""
        self._send(self._alerts_topic, alerts)

    def send_states(self, states: Messages) -> None:
        """Send states, None to delete that of a stream, and wait for all acknowledgements."""
        self._send(self._states_topic, states)

    def _send(self, topic: str, messages: Messages) -> None:
        send = self._producer.send
        await_sends(topic, (send(topic, key=key.encode(), value=value, partition=number) for number, key, value in messages))

    def _read(self, topic: str, partition: int, last: int | None = None) -> Iterator[Any]:
        """The messages of a partition. last: read only this number of offsets before its end."""
        at = TopicPartition(topic, partition)
        self._reader.assign([at])
        begin, end = self._reader.beginning_offsets([at])[at], self._reader.end_offsets([at])[at]
        self._reader.seek(at, begin if last is None else max(begin, end - last))
        return read_to_end(self._reader, [at])


def check_alert_topics(connection: Connection) -> None:
    """Raise `BrokerError` where a topic is missing, or has another number of partitions than the scores topic."""
    scores = connection.named(SCORES_TOPIC)
    names = [scores, connection.named(ALERTS_TOPIC), connection.named(ALERT_STATE_TOPIC)]
    with closing(open_admin(connection)) as admin:
        topics = looked_up(admin, names)
    if missing := [name for name in names if name not in topics]:
        raise BrokerError(f"topic {missing[0]} is missing: run `fvq topics create`, or set FVQ_ALERTS=false")
    counts = {name: len(topic["partitions"]) for name, topic in topics.items()}
    for name in names[1:]:
        if counts[name] != counts[scores]:
            raise BrokerError(
                f"topic {name} has {counts[name]} partitions, {scores} has {counts[scores]}: they must have as many"
            )
