"""A topic that a process reads as a whole and writes to, as a context manager: what a compacted topic adds up to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from streams.errors import BrokerError
from streams.kafka.clients import open_producer, open_reader
from streams.kafka.connection import Connection
from streams.kafka.consumer import partitions_of, read_to_end


class WholeTopic:
    """Base of such topics. It and its methods raise `BrokerError` where Kafka does not answer, or the topic is missing."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._topic = topic
        self._reader: Any = open_reader(connection)
        try:
            self._partitions = partitions_of(self._reader, connection, topic)
        except BrokerError:
            self._reader.close()
            raise
        self._reader.assign(self._partitions)
        self._producer: Any = open_producer(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close(timeout_ms=1000)
        self._producer.close(timeout=1)

    def _new_records(self) -> Iterator[Any]:
        """What was not read yet, up to every message that was acknowledged before the call."""
        return read_to_end(self._reader, self._partitions)
