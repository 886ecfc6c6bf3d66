"""A topic that a process reads as a whole and writes to, as a context manager: what a compacted topic adds up to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

from streams.kafka.clients import reading, writing
from streams.kafka.connection import Connection
from streams.kafka.consumer import partitions_of, read_to_end


class WholeTopic:
    """Base of such topics. It and its methods raise `BrokerError` where Kafka does not answer, or the topic is missing."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._topic = topic
        with ExitStack() as stack:
            self._reader = stack.enter_context(reading(connection))
            self._partitions = partitions_of(self._reader, connection, topic)
            self._reader.assign(self._partitions)
            self._producer = stack.enter_context(writing(connection))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _new_records(self) -> Iterator[Any]:
        """What was not read yet, up to every message that was acknowledged before the call."""
        return read_to_end(self._reader, self._partitions)
