"""How far one can be sure that a stream is silent, and not merely waiting to be scored.

A stream of which no score comes may be dead, or the scorer may be slow, or the sink away. Only what was announced tells:
once all that stood on the segments topic at a moment has been answered, and all those answers have been read, a stream
without one was silent until that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.events import SEGMENTS_TOPIC
from streams.kafka.connection import client_options
from streams.settings import Settings

REQUEST_MS = 5000


class Watermark:
    """The moment until which everything announced has come through. Times are whatever clock the caller uses, seconds."""

    def __init__(self) -> None:
        self.until: float | None = None
        self._announced: tuple[float, dict[int, int]] | None = None
        self._answered: tuple[float, dict[int, int]] | None = None

    def advance(
        self,
        now: float,
        announced: Mapping[int, int],
        answered: Mapping[int, int],
        scored: Mapping[int, int],
        read: Mapping[int, int],
    ) -> float | None:
        """The moment as it is now; None: not known yet.

        All are offsets by partition, measured after `now` and in this order. announced: ends of the segments topic.
        answered: what the workers have committed of it. scored: ends of the caller's partitions of the scores topic.
        read: how far the caller has read those.
        """
        if self._announced is None and self._answered is None:
            self._announced = now, dict(announced)
        if self._announced is not None:
            moment, ends = self._announced
            if all(answered.get(partition, 0) >= end for partition, end in ends.items()):
                # A score is acknowledged before its segment is committed: all of them are before these ends.
                self._announced, self._answered = None, (moment, dict(scored))
        if self._answered is not None:
            moment, ends = self._answered
            if all(read[partition] >= end for partition, end in ends.items() if partition in read):
                self._answered, self.until = None, moment
        return self.until


class Progress:
    """Asks the brokers how far the workers are. Its method blocks; use it from one thread."""

    def __init__(self, settings: Settings) -> None:
        assert settings.broker
        # It joins no group: it only asks for the group's offsets.
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=settings.broker.split(","),
            group_id=settings.group,
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_MS,
            bootstrap_timeout_ms=REQUEST_MS,
            session_timeout_ms=REQUEST_MS - 1000,
            heartbeat_interval_ms=1000,
            **client_options(settings),
        )

    def read(self) -> tuple[dict[int, int], dict[int, int]]:
        """Ends of the segments topic's partitions, and how far the workers have committed. Raises `KafkaError`."""
        asked = [TopicPartition(SEGMENTS_TOPIC, number) for number in self._consumer.partitions_for_topic(SEGMENTS_TOPIC) or ()]
        last, first = self._consumer.end_offsets(asked), self._consumer.beginning_offsets(asked)
        done = {one.partition: self._consumer.committed(one) or first[one] for one in asked}
        return {one.partition: last[one] for one in asked}, done

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close(timeout_ms=1000)
