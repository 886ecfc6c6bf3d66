"""Send events to a topic of a real broker, and read a topic from outside the product."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.events import SegmentEvent
from streams.kafka.connection import RECONNECT_MS
from tests.support.waiting import wait_for


def produce(broker: str, topic: str, events: Iterable[SegmentEvent]) -> None:
    """Send events, keyed by their stream, and wait until the broker has acknowledged all of them."""
    producer = KafkaProducer(bootstrap_servers=broker)
    futures = [producer.send(topic, key=event.stream_id.encode(), value=event.to_bytes()) for event in events]
    for future in futures:
        future.get(timeout=60)
    producer.close()


class Follower:
    """Reads a topic from its beginning while it grows. A message counts as delivered when this independent reader has it.

    records: the messages so far, each partition's in their order; values: what is in them.
    """

    def __init__(self, broker: str, topic: str, **security: Any) -> None:
        options = {"bootstrap_servers": broker, "reconnect_backoff_max_ms": RECONNECT_MS} | security
        self.consumer = KafkaConsumer(auto_offset_reset="earliest", enable_auto_commit=False, **options)
        # The controller answers who creates a topic; the broker that is asked here learns of it some moments later.
        wait_for(f"topic {topic}", lambda: bool(self.consumer.partitions_for_topic(topic)), 60)
        self.partitions = [TopicPartition(topic, number) for number in self.consumer.partitions_for_topic(topic)]
        self.consumer.assign(self.partitions)
        self.records: list[Any] = []
        self.values: list[bytes] = []

    def read(self) -> list[bytes]:
        """All values so far, up to the topic's end at the time of the call."""
        ends = self.consumer.end_offsets(self.partitions)
        while any(self.consumer.position(partition) < ends[partition] for partition in self.partitions):
            for records in self.consumer.poll(timeout_ms=500).values():
                self.records += records
                self.values += [record.value for record in records]
        return self.values

    def close(self) -> None:
        self.consumer.close()
