"""The messages of a topic that were written in a time, read once and in no group: no offset of the workers moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Self

from streams.errors import BrokerError
from streams.kafka.clients import ACK_SECONDS, broker_errors, reading
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, partitions_of


class TimeSpan:
    """The messages from `start` on, up to the topic's present end, or before `until`. Use as a context manager.

    start, until: when Kafka got the messages, by the clocks of those who wrote them. Each partition is read to its present end,
    because a clock that is ahead puts a late time before messages of an early one; `until` leaves out single messages. total:
    messages to be read, at most. cut_off: the partitions of which Kafka has deleted messages, and perhaps some of this time. It
    and its methods raise `BrokerError`.
    """

    def __init__(self, connection: Connection, topic: str, start: datetime, until: datetime | None = None) -> None:
        self._topic, self._until = topic, until
        with ExitStack() as stack:
            self._reader = stack.enter_context(reading(connection))
            partitions = partitions_of(self._reader, connection, topic)
            with broker_errors(f"{topic} cannot be read"):
                self._ends = dict(self._reader.end_offsets(partitions))
                firsts = self._offsets_at(partitions, start)
                begins = self._reader.beginning_offsets(partitions)
            self._stack = stack.pop_all()
        self._firsts = {at: min(first, self._ends[at]) for at, first in firsts.items()}
        self.total = sum(self._ends[at] - self._firsts[at] for at in partitions)
        self.cut_off = sorted(at.partition for at in partitions if 0 < begins[at] == firsts[at])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def batches(self) -> Iterator[list[Any]]:
        """The records, some at a time; also those that cannot be read, whose value is an `Unreadable`."""
        partitions = [at for at in self._ends if self._firsts[at] < self._ends[at]]
        with broker_errors(f"{self._topic} cannot be read"):
            self._reader.assign(partitions)
            for at in partitions:
                self._reader.seek(at, self._firsts[at])
            deadline = time.monotonic() + ACK_SECONDS
            while unread := [at for at in partitions if self._reader.position(at) < self._ends[at]]:
                # A partition that was read to its end goes on with what is written now, and would keep the others waiting.
                self._reader.pause(*(set(partitions) - set(unread)))
                for at, records in self._reader.poll(timeout_ms=500).items():
                    yield [record for record in records if self._is_meant(at, record)]
                    deadline = time.monotonic() + ACK_SECONDS
                if time.monotonic() > deadline:
                    raise BrokerError(f"{self._topic}, partition {unread[0].partition}: nothing comes before its end")

    def _is_meant(self, at: TopicPartition, record: Any) -> bool:
        if record.offset >= self._ends[at]:
            return False
        return self._until is None or record.timestamp / 1000 < self._until.timestamp()

    def _offsets_at(self, partitions: list[TopicPartition], moment: datetime) -> dict[TopicPartition, int]:
        """Of each partition, the first offset of a message from this time on; its end where there is none."""
        milliseconds = max(0, int(moment.timestamp() * 1000))
        offsets = self._reader.offsets_for_times(dict.fromkeys(partitions, milliseconds))
        return {at: self._ends[at] if offsets.get(at) is None else min(offsets[at].offset, self._ends[at]) for at in partitions}
