"""The Faust app: reads segments, answers them, and acknowledges an input only when its answer is safe.

Stock Faust commits past messages that are still being worked on when an agent runs concurrently. Here one agent takes
batches without acknowledging them, and batches are finished and acknowledged strictly in order.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import faust
from faust.web import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams import metrics
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC
from streams.kafka.connection import faust_credentials
from streams.kafka.lag import LagMeter, watch_lag
from streams.scoring.batcher import Line
from streams.scoring.pipeline import Answer, DeadLetter, Message, SegmentPipeline, dead_letter, retried
from streams.settings import Settings
from streams.sinks import Rejected, Sink, SinkError

log = logging.getLogger(__name__)
LONGEST_OUTAGE = 1_000_000.0
"""Seconds that sink or scorer may be away; a broker takes 2^31 ms at most. Dead workers are known by their session."""

STUCK_SECONDS = 300.0
"""A scorer that takes so long for a batch will not end: a driver hangs. It cannot be stopped, so a new process has to be
started by who asks for `/healthz`."""


def build_app(settings: Settings, make_pipeline: Callable[[], Awaitable[SegmentPipeline]], sink: Sink) -> faust.App:
    """The worker's app. make_pipeline: called once in the app's event loop, before the first message."""
    assert settings.broker
    app = faust.App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.broker.split(",")],
        broker_credentials=faust_credentials(settings),
        store="memory://",
        datadir=settings.data_dir / "faust",
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.session_timeout / 6,
        # Faust asks for 90 s, and refuses a session that is longer than a request.
        broker_request_timeout=max(90.0, settings.session_timeout),
        # A worker that waits for its sink fetches nothing. After the default of 1,000 s it would leave its group, and Faust,
        # which fetches only what is assigned to it, would never come back.
        broker_max_poll_interval=LONGEST_OUTAGE,
        broker_commit_interval=1.0,
        # As large as a broker takes by default: Faust's own limit is under what a dead letter may need.
        producer_max_request_size=2**20,
        # Its default of 20 minutes would keep a worker from ever ending while the broker is away.
        producer_request_timeout=20.0,
        producer_linger_ms=5,
        # What is buffered must be finished before a rebalance can: little, or takeovers are slow.
        stream_buffer_maxsize=settings.batch_size,
        stream_wait_empty=True,
        web_enabled=True,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        web_port=settings.web_port,
    )
    segments = app.topic(SEGMENTS_TOPIC, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def checkpoint(stream: Any, events: list[Any], answers: list[Answer]) -> None:
        """Make the answers of a batch safe, then acknowledge its inputs: 'nothing is lost' is true or false here."""
        for answer in answers:
            if not isinstance(answer, DeadLetter):
                sink.add(answer)
        await retried("kafka", lambda: deliver(answers))
        rejected = await retried("sink", flush)
        if rejected:
            # The score is on its topic, so readers have it; the letter says that the sink has not, and why.
            inputs = {id(answer): event for event, answer in zip(events, answers, strict=True)}
            letters = [_refused(_message(inputs[id(one.score)]), one) for one in rejected]
            metrics.SINK_REJECTED.inc(len(letters))
            await retried("kafka", lambda: deliver(letters))
        for event in events:
            await stream.ack(event)
        metrics.IN_FLIGHT.dec(len(events))

    async def deliver(answers: Sequence[Answer]) -> None:
        """Send to the topics and wait for the brokers' acknowledgements."""
        sent = []
        for answer in answers:
            if isinstance(answer, DeadLetter):
                topic, key, value = DEAD_LETTER_TOPIC, answer.key, answer.value
                headers = {name: text.encode(errors="replace") for name, text in answer.headers.items()}
            else:
                topic, key, value, headers = SCORES_TOPIC, answer.stream_id.encode(), answer.to_bytes(), {}
            # Past Faust's topics, which wrap each message in a promise and two sensors' calls before they do this.
            sent.append(await app.producer.send(topic, key, value, partition=None, timestamp=None, headers=headers))
        # A send gives a promise; this waits for the acknowledgement.
        await asyncio.gather(*sent)

    async def flush() -> list[Rejected]:
        with metrics.STAGE_SECONDS.labels("flush").time():
            return await sink.flush()

    pipelines: list[SegmentPipeline] = []

    async def pipeline() -> SegmentPipeline:
        if not pipelines:
            pipelines.append(await make_pipeline())
        return pipelines[0]

    @app.agent(segments, concurrency=1)
    async def score(stream: Any) -> None:
        """Sample segments while those before are scored; finish them in the order in which they came."""
        try:
            work = await pipeline()
        except Exception:
            _end_now("the worker cannot start")

        async def sample(events: Sequence[Any]) -> list[Any]:
            try:
                return await work.sample([_message(event) for event in events])
            except Exception:
                _end_now("segments cannot be sampled; the worker ends so that nothing is committed past them")

        async def finish(events: list[Any], sampled: list[Any]) -> None:
            try:
                await checkpoint(stream, events, await work.score(sampled))
            except Exception:
                # Faust would start the agent anew and commit past this batch; the next worker reads it again.
                _end_now("a batch cannot be finished; the worker ends so that nothing is committed past it")

        line = Line(settings.batch_size, sample, work.count_clips, finish)
        try:
            async for events in stream.noack_take(settings.batch_size, within=settings.batch_wait):
                metrics.IN_FLIGHT.inc(len(events))
                await line.add(list(events))
        finally:
            line.close()

    @app.task
    async def measure_lag() -> None:
        meter = LagMeter(settings)
        app.async_exit_stack.callback(meter.close)
        await watch_lag(
            meter,
            lambda: {one.partition for one in app.consumer.assignment() if one.topic == SEGMENTS_TOPIC},
            lambda: app.should_stop,
        )

    _add_pages(app, sink, lambda: max((one.scoring_seconds() for one in pipelines), default=0.0))
    return app


def _end_now(why: str) -> NoReturn:
    """End the process from within its event loop, with the exception at hand in the log."""
    log.critical("%s", why, exc_info=True)
    logging.shutdown()
    os._exit(1)


def _message(event: Any) -> Message:
    message = event.message
    return Message(message.key, message.value or b"", message.topic, message.partition, message.offset)


def _refused(message: Message, rejected: Rejected) -> DeadLetter:
    log.error("the sink refused a score: %s", rejected.reason, extra={"segment_id": rejected.score.segment_id})
    metrics.DEAD_LETTERS.labels("sink").inc()
    return dead_letter(message, kind="sink", reason=rejected.reason, segment_id=rejected.score.segment_id)


def _add_pages(app: faust.App, sink: Sink, scoring_seconds: Callable[[], float]) -> None:
    @app.page("/metrics")
    async def show_metrics(page: Any, _request: Any) -> Response:
        return page.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])

    @app.page("/healthz")
    async def healthz(page: Any, _request: Any) -> Response:
        if (seconds := scoring_seconds()) > STUCK_SECONDS:
            return page.json({"status": f"the scorer has been at work on one batch for {seconds:.0f} s"}, status=503)
        return page.json({"status": "alive"})

    @app.page("/readyz")
    async def readyz(page: Any, _request: Any) -> Response:
        problems = []
        if not app.consumer.assignment():
            problems.append("no partition is assigned yet")
        try:
            await sink.check()
        except SinkError as error:
            problems.append(str(error))
        return page.json({"ready": not problems, "problems": problems}, status=503 if problems else 200)
