"""The Faust app: reads segments, answers them, and acknowledges an input only when its answer is safe.

Stock Faust commits past messages that are still being worked on when an agent runs concurrently. Here one agent takes
batches without acknowledging them, and batches are finished and acknowledged strictly in order.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import faust
import faust.transport.drivers.aiokafka as faust_driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from streams import metrics
from streams.addresses import bracketed
from streams.events import SEGMENTS_TOPIC
from streams.kafka.arrivals import Arrivals
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from streams.kafka.new_topics import keep_faust_from_making_topics
from streams.kafka.unreadable import as_message, keep_faust_reading
from streams.letter import Message
from streams.scoring.answer import Answered, Result
from streams.scoring.batcher import Batcher
from streams.scoring.checkpoint import checkpoint
from streams.scoring.flood import FloodGate, FloodLimits
from streams.scoring.pipeline import SegmentPipeline
from streams.scoring.worst import WorstStreams
from streams.sinks.base import Sink
from streams.text import ranges

log = logging.getLogger(__name__)
FETCH_WAIT_MS = 100
"""Milliseconds that a broker waits for messages before it answers a fetch without any."""

SEGMENTS_FOR_A_CHILD = 2
"""Segments that may wait for each sampling child: a group goes on when its last segment is sampled; meanwhile no child idles."""

METADATA_MS = 10_000
"""Milliseconds after which a worker asks again which partitions there are. A broker that has just started may not know its topics
yet: who asks in that moment reads no partition, and would for the five minutes of aiokafka's default."""

FAUST_FOLDER = "faust"
"""Faust's own folder in the data folder, without the prefix that keeps it apart from another environment's."""

LONGEST_OUTAGE = 1_000_000.0
"""Seconds that sink or scorer may be away; a broker takes 2^31 ms at most. Dead workers are known by their session."""


@dataclass(frozen=True)
class AppOptions:
    """What the app takes. group: the workers' consumer group. batch_size: segments of a batch at most.

    children: sampling children. batch_wait: seconds that a batch waits for more segments. host, port: where its pages listen.
    flood: from which share of dead letters on the worker waits; None never.
    """

    connection: Connection
    group: Group
    data_dir: Path
    batch_size: int = 8
    children: int = 1
    batch_wait: float = 0.25
    host: str = "127.0.0.1"
    port: int = 8080
    flood: FloodLimits | None = None


def build_app(
    options: AppOptions,
    open_pipeline: Callable[[], Awaitable[SegmentPipeline]],
    sink: Sink,
    worst: WorstStreams | None = None,
    arrivals: Arrivals | None = None,
) -> faust.App:
    """The worker's app.

    open_pipeline: gives the pipeline, in the app's event loop and before the first message. worst: is told of all scores.
    arrivals: tell when messages came to the topic; without them their own time counts.
    """
    app = _faust_app(options)
    named = options.connection.named
    _tell_of_rebalances(app, named(SEGMENTS_TOPIC))
    segments = app.topic(named(SEGMENTS_TOPIC), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(segments, concurrency=1)
    async def score(stream: Any) -> None:
        """Sample segments while those before are scored; finish them in the order in which they came."""
        with _or_the_worker_ends("the worker cannot start"):
            pipeline = await open_pipeline()

        sample_messages = FloodGate(options.flood, pipeline.sample).sample if options.flood is not None else pipeline.sample

        async def sample(events: Sequence[Any]) -> list[Result]:
            with _or_the_worker_ends("segments cannot be sampled; the worker ends so that nothing is committed past them"):
                return await sample_messages([_as_sent(event.message, arrivals) for event in events])

        async def score_batch(sampled: list[Result]) -> list[Answered]:
            with _or_the_worker_ends("a batch cannot be scored; the worker ends so that nothing is committed past it"):
                return await pipeline.score(sampled)

        async def finish(events: list[Any], answers: list[Answered]) -> None:
            async def acknowledge() -> None:
                for event in events:
                    await stream.ack(event)

            with _or_the_worker_ends("a batch cannot be finished; the worker ends so that nothing is committed past it"):
                finished = await pipeline.finish(answers)
                await checkpoint(finished, app.producer, named, sink, acknowledge)
            metrics.IN_FLIGHT.dec(len(events))
            if worst is not None:
                worst.add(answered.answer for answered in finished)

        room = SEGMENTS_FOR_A_CHILD * options.children
        batcher = Batcher(options.batch_size, room, sample, pipeline.count_clips, score_batch, finish, pipeline.batches_ahead)
        try:
            async for events in stream.noack_take(options.batch_size, within=options.batch_wait):
                metrics.IN_FLIGHT.inc(len(events))
                await batcher.add(list(events))
        finally:
            batcher.close()

    return app


def _as_sent(message: Any, arrivals: Arrivals | None) -> Message:
    """A message of Faust, with the time from which on it waits."""
    sent = message.timestamp
    return as_message(message, arrivals.earliest(message.partition, message.offset, sent) if arrivals is not None else sent)


def _tell_of_rebalances(app: faust.App, topic: str) -> None:
    """Write one line for each rebalance: which partitions of the topic this worker reads from then on."""

    async def tell(_app: faust.App, assigned: Any, **_: Any) -> None:
        partitions = sorted(at.partition for at in assigned if at.topic == topic)
        shown = ranges(partitions)
        log.info(
            "rebalance: this worker reads %s of %s", f"partitions {shown}" if partitions else "no partition", topic,
            extra={"partitions": shown, "count": len(partitions)},
        )  # fmt: skip

    app.on_partitions_assigned.connect(tell)


class ScoreConsumer(faust_driver.Consumer):
    """Faust's consumer, which does not count up offsets that have no message, and takes each message.

    Faust (0.15) makes a number of every offset between two messages, 60 bytes each. Where retention has deleted what a worker
    has not answered, there are as many as segments of some days: millions, and a worker with too little memory for them would end
    at each start.

    And it drops a message before one that it has given already. Such a message comes where the partition lost its end, or its
    topic was made anew, and the client began again: it is another message, and nobody else would answer it.

    And it stops the flow where partitions are taken away, but not where a consumer that had none gets its first ones: on a busy
    machine it read on while it looked for the place to begin at, lost what it had read by then, or ended without a word.
    """

    # Faust would log this class's start and stop in the name of this module.
    logger = logging.getLogger("faust.consumer")

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called in a rebalance; at its end Faust lets messages flow, from the place to begin at."""
        self.stop_flow()
        await super().on_partitions_assigned(assigned, generation_id)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's loop that takes messages from the client; it would go down alone, and its worker keep the partitions."""
        with _or_the_worker_ends("messages cannot be taken from Kafka; the worker ends so that another one takes them"):
            await super()._drain_messages(fetcher)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's look whether a partition stands still, which only logs.

        The client's thread may be looking for the place to begin at in that moment, or have given the partition away: aiokafka
        then has no place or no partition, and what it raises would end the worker.
        """
        with suppress(AssertionError, AttributeError):
            super().verify_event_path(now, tp)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - as Faust calls it
        """Messages of all partitions, as Faust takes them from the client."""
        async for tp, message in super().getmany(timeout):
            read = self._read_offset[tp]
            if read is not None and message.offset < read:
                log.warning("%s, partition %d, begins again at offset %d, after %d", tp.topic, tp.partition, message.offset, read)
                self._forget_offsets(tp)
            yield tp, message

    def _forget_offsets(self, tp: TP) -> None:
        """Take a partition as one that is new: what is noted of it is of offsets that other messages have now."""
        for notes in (self._gap, self._acked, self._acked_index, self._read_offset, self._committed_offset):
            notes.pop(tp, None)

    def _new_offset(self, tp: TP) -> int | None:
        """The offset behind what is acknowledged without a gap, to be committed; None where there is nothing to commit."""
        acked, gaps = self._acked[tp], self._gap[tp]
        if not acked:
            return None
        without_message = gaps.overlap(0, max(acked)) if gaps else ()
        spans = sorted([(at, at + 1) for at in acked] + [(gap.begin, gap.end) for gap in without_message])
        committed = self._committed_offset[tp]
        if committed and spans[0][0] - committed > 1:
            return None
        end: int = spans[0][1]
        for begin, behind in spans:
            if begin > end:
                break
            end = max(end, behind)
        gaps.chop(0, end)
        self._acked_index[tp].difference_update([at for at in acked if at < end])
        acked[:] = [at for at in acked if at >= end]
        return end


class _PromptConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer, with a short wait of its fetches, and a member of its group however long it fetches nothing.

    A fetch asks for those partitions whose messages are all taken. A message of another partition waits until the fetch is
    answered, which takes the whole time where nothing comes: Faust lets the broker wait 1.5 s.

    Faust fetches only what is assigned to it. A member that has not fetched for `broker_max_poll_interval` leaves its group, and
    aiokafka (0.14) never lets it back: it would take nothing over, as one of more workers than partitions is there to do.

    aiokafka goes to what is committed, and nowhere where nothing is: what was read there before would be lost.
    """

    # Faust would log this class's start and stop in the name of this module.
    logger = logging.getLogger("faust.consumer")

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        # A fetch that is never over: the time without one stays 0.
        self._fetch = consumer._subscription.fetch_context()
        self._fetch.__enter__()
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offset of each partition, and to the beginning where none is."""

        async def seek(consumer: Any) -> Mapping[TP, int]:
            committed = await consumer.seek_to_committed()
            if new := [at for at, offset in committed.items() if not offset or offset < 0]:
                await consumer.seek_to_beginning(*new)
            return committed

        return await self.call_thread(seek, self._ensure_consumer())


def _faust_app(options: AppOptions) -> faust.App:
    """Faust with the limits that a worker needs, and without an agent yet."""
    keep_faust_reading()
    keep_faust_from_making_topics()
    # Faust looks these classes up there, and has no option for them.
    faust_driver.AIOKafkaConsumerThread = _PromptConsumerThread
    faust_driver.Transport.Consumer = ScoreConsumer
    session_seconds = options.group.session_seconds
    return faust.App(
        options.group.name,
        broker=[f"kafka://{server}" for server in options.connection.servers.split(",")],
        broker_credentials=options.connection.faust_credentials(),
        store="memory://",
        datadir=options.data_dir / options.connection.named(FAUST_FOLDER),
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MS,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=session_seconds / 6,
        # Faust asks for 90 s, and refuses a session that is longer than a request.
        broker_request_timeout=max(90.0, session_seconds),
        # A rebalance waits this long for a worker that is alive, and still busy with what it has: with a sink that is away.
        broker_max_poll_interval=LONGEST_OUTAGE,
        broker_commit_interval=1.0,
        # As large as a broker takes by default: Faust's own limit is less than a dead letter may need.
        producer_max_request_size=2**20,
        # Faust's default of 20 minutes would keep a worker from ending while the broker is away.
        producer_request_timeout=20.0,
        producer_linger_ms=5,
        # Buffered messages must be finished before a rebalance can be: a large buffer makes takeovers slow.
        stream_buffer_maxsize=options.batch_size,
        stream_wait_empty=True,
        web_enabled=True,
        web_bind=options.host,
        # Faust makes an address of it.
        web_host=bracketed(options.host),
        web_port=options.port,
    )


@contextmanager
def _or_the_worker_ends(why: str) -> Iterator[None]:
    """End the process where an exception leaves the block: Faust would restart its agent, and commit past what is at hand.

    The next worker reads it again. why: the log's line.
    """
    try:
        yield
    except Exception:
        _end_now(why)


def _end_now(why: str) -> NoReturn:
    """End the process from within its event loop, with the exception at hand in the log."""
    log.critical("%s", why, exc_info=True)
    logging.shutdown()
    os._exit(1)
