"""Sends events in batches, then keeps the positions after them. Many sources share one producer.

The order is the promise: a position is sent when all replicas have acknowledged its events, so a restart may announce a segment
twice, with the same id, but never skips one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from streams.errors import BrokerError
from streams.events import INGEST_STATE_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.ingest import metrics
from streams.ingest.base import SavedPosition, Stream
from streams.ingest.positions import RenditionKey, key_of, restored, to_bytes
from streams.ingest.states import SourceState
from streams.kafka.clients import open_producer, reading, send_all
from streams.kafka.connection import Connection
from streams.kafka.consumer import partitions_of, read_whole
from streams.outages import Outage
from streams.topic_names import Named

MOST_PARCELS = 5000
"""Loads whose events are sent in one batch."""

GATHER_SECONDS = 0.05
"""Between the beginnings of two batches, at least. A batch costs as much CPU time as ten loads in it: 0.7 ms for one load alone,
0.07 for each of twenty."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a batch is sent again that Kafka did not take."""

Messages = list[tuple[bytes, bytes | None]]


class Sender(Protocol):
    """Sends messages and waits for their acknowledgements. Raises `BrokerError`."""

    def send(self, topic: str, messages: Messages) -> None:
        """Send (key, value) messages to a topic."""

    def close(self) -> None:
        """Free the connections."""


class KafkaSender:
    """The sender to Kafka. Raises `BrokerError`, as its methods do.

    A producer that failed is not used again. Where a broker hangs for longer than messages are kept for it, two minutes,
    kafka-python's (3.0) takes new messages and sends none of them, also when the broker is back.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer: Any = open_producer(connection)

    def send(self, topic: str, messages: Messages) -> None:
        """Send messages, and wait for all acknowledgements."""
        if self._producer is None:
            self._producer = open_producer(self._connection)
        try:
            send_all(self._producer, topic, messages)
        except BrokerError:
            self.close()
            raise

    def close(self) -> None:
        """Close the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=1)


@dataclass
class _Parcel:
    """What one load has to send. saved: None where its rendition was retired meanwhile. done: set when it is acknowledged."""

    stream: Stream
    events: Sequence[SegmentEvent]
    saved: SavedPosition | None
    done: asyncio.Future[None]

    @property
    def key(self) -> RenditionKey:
        return self.stream.stream_id, self.stream.rendition


class Publisher:
    """Collects what sources have to send while a batch is on its way, and sends that as the next one.

    named: what topics are called on the sender's brokers. positions: what is kept already, as `read_positions` gives it.
    """

    def __init__(
        self,
        sender: Sender,
        named: Named,
        positions: Mapping[RenditionKey, SavedPosition] | None = None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._sender, self._first_pause = sender, first_pause
        self._segments_topic, self._states_topic = named(SEGMENTS_TOPIC), named(INGEST_STATE_TOPIC)
        self._outage = Outage("Kafka")
        self._positions = dict(positions or {})
        self._waiting: list[_Parcel] = []
        self._on_their_way: list[_Parcel] = []
        self._states: dict[RenditionKey, SourceState] = {}
        self._reported: dict[RenditionKey, Stream] = {}
        self._wake = asyncio.Event()
        self._finishing = False
        # A thread of its own: slow look-ups of names fill the loop's own threads.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")

    async def publish(self, stream: Stream, events: Sequence[SegmentEvent], saved: SavedPosition) -> None:
        """Send events of a rendition in their order, then its position; returns when both are acknowledged."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Parcel(stream, events, saved, done))
        self._wake.set()
        await done

    def report(self, stream: Stream, state: SourceState) -> None:
        """Keep the state of a rendition beside its position; where it is another than before, it is sent with the next batch."""
        key = stream.stream_id, stream.rendition
        if not state.is_as(self._states.get(key)):
            self._states[key], self._reported[key] = state, stream
            self._wake.set()

    def retire(self, stream: Stream) -> None:
        """Delete with the next batch what is kept of a rendition; nothing where nothing is. A later state or position is kept."""
        key = stream.stream_id, stream.rendition
        parcels = [parcel for parcel in (*self._on_their_way, *self._waiting) if parcel.key == key and parcel.saved is not None]
        if parcels or key in self._states or key in self._positions:
            for parcel in parcels:
                parcel.saved = None
            self._states.pop(key, None)
            self._positions.pop(key, None)
            self._reported[key] = stream
            self._wake.set()

    def renditions(self, stream_id: str) -> set[str | None]:
        """The renditions of a stream of which a position or a state is kept, here or by the process before."""
        keys = {*self._positions, *self._states, *(parcel.key for parcel in (*self._on_their_way, *self._waiting))}
        return {rendition for stream, rendition in keys if stream == stream_id}

    def restore(self, stream: Stream) -> SavedPosition | None:
        """The position of a rendition that was kept last."""
        return self._positions.get((stream.stream_id, stream.rendition))

    async def run(self) -> None:
        """Send what comes, until `finish` or cancelled. A batch that Kafka does not take is sent again until it does."""
        clock = asyncio.get_running_loop().time
        due = clock()
        try:
            while not self._finishing or self._waiting or self._reported:
                await self._wake.wait()
                await asyncio.sleep(max(0.0, due - clock()))
                due = clock() + GATHER_SECONDS
                self._on_their_way, self._waiting = self._waiting[:MOST_PARCELS], self._waiting[MOST_PARCELS:]
                reported, self._reported = self._reported, {}
                if not self._waiting:
                    self._wake.clear()
                await self._deliver(self._on_their_way, list(reported.values()))
                self._on_their_way = []
        finally:
            self._thread.shutdown(wait=False)

    def finish(self) -> None:
        """Let `run` end when it has sent what is there: with `once`, the state of a stream that has ended is reported last."""
        self._finishing = True
        self._wake.set()

    async def _deliver(self, parcels: Sequence[_Parcel], reported: Sequence[Stream]) -> None:
        events: Messages = [(event.stream_id.encode(), event.to_bytes()) for parcel in parcels for event in parcel.events]
        states = self._records(parcels, reported)
        pause = self._first_pause
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._send, events, states)
                break
            except BrokerError as error:
                metrics.PUBLISH_RETRIES.inc()
                self._outage.failed(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self._outage.works()
        metrics.ANNOUNCED.inc(len(events))
        for parcel in parcels:
            if parcel.saved is not None:
                self._positions[parcel.key] = parcel.saved
            if not parcel.done.done():  # its source may have been stopped meanwhile
                parcel.done.set_result(None)

    def _records(self, parcels: Sequence[_Parcel], reported: Sequence[Stream]) -> Messages:
        """One message for each rendition that moved, changed its state or is retired."""
        positions: dict[RenditionKey, tuple[Stream, SavedPosition | None]] = {}
        for stream in reported:
            key = stream.stream_id, stream.rendition
            kept = self._positions.get(key, SavedPosition()) if key in self._states else None
            positions[key] = stream, kept
        for parcel in parcels:
            if parcel.saved is not None:
                positions[parcel.key] = parcel.stream, parcel.saved
        return [
            (key_of(stream), to_bytes(stream, saved, state=self._states.get(key)) if saved is not None else None)
            for key, (stream, saved) in positions.items()
        ]

    def _send(self, events: Messages, states: Messages) -> None:
        if events:
            self._sender.send(self._segments_topic, events)
        if states:
            self._sender.send(self._states_topic, states)


def read_positions(connection: Connection) -> dict[RenditionKey, SavedPosition]:
    """The position of each rendition that was ever followed. Raises `BrokerError`, also where a topic is missing."""
    with reading(connection) as reader:
        partitions_of(reader, connection, connection.named(SEGMENTS_TOPIC))
        states = read_whole(reader, connection, connection.named(INGEST_STATE_TOPIC))
        return restored((record.key, record.value) for record in states)
