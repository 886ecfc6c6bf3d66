"""Announces segments to the workers: events of any source, sent to the topic of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from streams.errors import BrokerError
from streams.events import SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.clients import open_producer, send_all
from streams.kafka.connection import Connection


def announce(
    events: Iterator[SegmentEvent],
    connection: Connection,
    sent: Callable[[SegmentEvent], None],
    stopped: Callable[[], bool],
) -> int:
    """Send each event as soon as the source gives it; returns the number of events that all replicas have acknowledged.

    sent: called with each acknowledged event. stopped: asked before each event; True ends the work. Raises `BrokerError`.
    """
    topic = connection.named(SEGMENTS_TOPIC)
    producer = open_producer(connection)
    count = 0
    try:
        for event in events:
            if stopped():
                break
            send_all(producer, topic, [(event.stream_id.encode(), event.to_bytes())])
            sent(event)
            count += 1
    except BrokerError as error:
        raise BrokerError(f"Kafka at {connection.servers} did not take an event: {error}") from error
    finally:
        producer.close()
    return count
