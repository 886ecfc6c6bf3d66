"""How many messages wait: consumer lag, asked of the brokers by a connection of its own.

Faust knows a topic's end only from what it fetches, and a worker that holds back because its scorer is slow does not fetch:
its own figure would stand still just when it matters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams import metrics
from streams.events import SEGMENTS_TOPIC
from streams.kafka.connection import client_options
from streams.settings import Settings

log = logging.getLogger(__name__)
EVERY_SECONDS = 5.0
REQUEST_MS = 5000


class LagMeter:
    """Measures the lag of partitions of the segments topic. Its methods block; one thread at a time may call them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: Any = None

    def read(self, partitions: Collection[int]) -> dict[int, int]:
        """Messages after the last one that the group has committed, by partition. Raises `KafkaError`."""
        assert self._settings.broker
        if self._consumer is None:
            # It joins no group: it only asks for the group's offsets.
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._settings.broker.split(","),
                group_id=self._settings.group,
                enable_auto_commit=False,
                request_timeout_ms=REQUEST_MS,
                bootstrap_timeout_ms=REQUEST_MS,
                session_timeout_ms=REQUEST_MS - 1000,
                heartbeat_interval_ms=1000,
                **client_options(self._settings),
            )
        asked = [TopicPartition(SEGMENTS_TOPIC, number) for number in partitions]
        first, last = self._consumer.beginning_offsets(asked), self._consumer.end_offsets(asked)
        return {one.partition: last[one] - (self._consumer.committed(one) or first[one]) for one in asked}

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close(timeout_ms=1000)
            self._consumer = None


async def watch_lag(meter: LagMeter, assigned: Callable[[], Collection[int]], stopped: Callable[[], bool]) -> None:
    """Keep the metric up to date until told to stop; a broker that does not answer leaves it as it was."""
    shown: set[int] = set()
    while not stopped():
        partitions = set(assigned())
        for gone in shown - partitions:
            metrics.CONSUMER_LAG.remove(str(gone))
        shown &= partitions
        try:
            for partition, count in (await asyncio.to_thread(meter.read, partitions) if partitions else {}).items():
                metrics.CONSUMER_LAG.labels(str(partition)).set(count)
                shown.add(partition)
        except Exception as error:
            # Whatever it is: a figure for the operator must not end the worker.
            log.warning("consumer lag is not known: %s: %s", type(error).__name__, error)
        await asyncio.sleep(EVERY_SECONDS)
