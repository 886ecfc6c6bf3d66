"""Runs the score agent and the agents beside it: `fvq worker`."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import faust
import faust.streams
import mode.loop

from scorer.remote.client import RemoteScorer
from scorer.sampling import SamplerPool
from streams import metrics, parts
from streams.alerts.acknowledge import Acknowledgements
from streams.alerts.acks_topic import follow_agent
from streams.alerts.agent import AlertAgent
from streams.alerts.cause import cause_of_silence
from streams.alerts.course import Courses
from streams.alerts.delivery import Courier
from streams.alerts.policy import load_policy
from streams.alerts.state import StreamState
from streams.alerts.state_topic import check_alert_topics
from streams.alerts.watch import Couriers, PolicyWatch, follow
from streams.data_folder import make_data_folder, own_folder
from streams.errors import SettingsError
from streams.events import PICTURES_TOPIC, SEGMENTS_TOPIC, AlertCause
from streams.ingest.silence import IngestStates
from streams.kafka.agent import Agent, Pauses, running
from streams.kafka.allowed import check_rights
from streams.kafka.arrivals import Arrivals
from streams.kafka.clients import check_broker
from streams.kafka.connection import Connection
from streams.kafka.progress import LagWatch, Progress
from streams.kafka.topics import has_topic
from streams.life import Life
from streams.media.fetch import Fetcher
from streams.privacy.sweep import sweep_agent as folder_sweep
from streams.queue.agent import harvest_agent
from streams.queue.retention import sweep_agent
from streams.scoring.app import FAUST_FOLDER, AppOptions, build_app
from streams.scoring.pages import add_pages
from streams.scoring.pictures import PictureLimits, Pictures, PictureSender
from streams.scoring.pipeline import SegmentPipeline
from streams.scoring.served import connected
from streams.scoring.worst import WorstStreams
from streams.settings import Settings
from streams.sinks.base import Sink
from streams.starting_pages import StartingPages
from streams.worker_models import Models, cascade_of, models_of, tiers_of

log = logging.getLogger(__name__)
LONGEST_CAUSE = 1000
"""Characters of a cause's text in an alert."""

NEW_OBJECTS = 10_000
"""After so many Python's collector looks for garbage; its default of 700 is ten segments."""

STOP_SECONDS = 20.0
"""A worker that gets SIGTERM or SIGINT exits within this time, because Faust waits for ever for a broker that is gone.
Nothing is lost: the next worker reads again what was not acknowledged."""


class _BoundedWorker(faust.Worker):
    """A Faust worker that exits within `STOP_SECONDS` of a signal, even where the broker does not answer.

    The time runs from the signal itself. Faust lets its event loop wait for signals, which came to one 6 s late on a machine
    whose cores were taken. So a thread of its own waits, and the kernel ends the process where no thread gets to run.
    """

    life: Life

    def install_signal_handlers(self) -> None:
        """Called by Faust in its event loop, in the main thread."""
        super().install_signal_handlers()
        signals, written = socket.socketpair()
        written.setblocking(False)
        signal.set_wakeup_fd(written.detach())  # Python's handler writes each signal's number there, whatever the loop is at
        threading.Thread(target=self._obey, args=(signals,), name="signals", daemon=True).start()

    def _obey(self, signals: socket.socket) -> None:
        handlers = {signal.SIGTERM: self._on_sigterm, signal.SIGINT: self._on_sigint, signal.SIGUSR1: self._on_sigusr1}
        ending = False
        while number := signals.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT) and not ending:
                ending = True
                _end_after(STOP_SECONDS)
                self.life.stops(number[0], STOP_SECONDS)
            if number[0] in handlers:
                with suppress(RuntimeError):  # the loop is closed: the process is ending
                    self.loop.call_soon_threadsafe(handlers[signal.Signals(number[0])])


def run_worker(settings: Settings, pages: StartingPages, life: Life) -> int:
    """Score segments until told to stop; returns the exit code.

    pages: that listen already; they hand their socket over when Faust's server starts. life: is told what stops it. Raises
    `SettingsError`, `ModelError` or `BrokerError` where it cannot start.
    """
    _check_libraries()
    # Faust runs several callbacks on the event loop for each message; uvloop takes a third less time for them.
    mode.loop.use("uvloop")
    connection = parts.connection(settings)
    pages.say("it connects to Kafka")
    check_broker(connection)
    check_rights(connection, "fvq worker", parts.worker_rights(settings))
    pages.say("it loads its model")
    models, followers = models_of(settings, connection)
    served = models.served
    make_data_folder(settings.data_dir, connection.named(FAUST_FOLDER))
    inbox = own_folder(settings.data_dir, "inbox")
    sink = parts.sink(settings)
    pictures = _picture_limits(settings, connection)
    pipelines: list[SegmentPipeline] = []

    async def open_pipeline() -> SegmentPipeline:
        if not pipelines:
            if served is not None:
                app.async_exit_stack.callback(served.close)
                await connected(served)
            sender = PictureSender(app.producer, connection.named(PICTURES_TOPIC))
            shown = Pictures(pictures, sender.send) if pictures is not None else None
            pipelines.append(await _open_pipeline(app, settings, models, sink, inbox.path, shown))
            _spare_the_collector()
        return pipelines[0]

    options = AppOptions(
        connection,
        parts.group(settings),
        settings.data_dir,
        batch_size=settings.batch_size,
        children=settings.sampler_workers,
        batch_wait=settings.batch_wait,
        host=settings.web_host,
        port=pages.port,
        flood=parts.flood_limits(settings),
    )
    worst = WorstStreams(settings.worst_streams) if settings.worst_streams else None
    arrivals = Arrivals() if settings.live_window is not None else None
    app = build_app(options, open_pipeline, sink, worst, arrivals)

    agents: list[Agent] = [*followers]
    assigned = _assigned_partitions(app, connection.named(SEGMENTS_TOPIC))
    lag = LagWatch(
        lambda: Progress(connection, options.group.name, connection.named(SEGMENTS_TOPIC)), assigned, arrivals=arrivals
    )
    agents.append(Agent("lag", lag.run, Pauses(longest=5.0)))
    _add_agents(agents, settings, connection, inbox.path, models.courses())
    add_pages(
        app,
        sink,
        scoring_seconds=lambda: max((pipeline.scoring_seconds() for pipeline in pipelines), default=0.0),
        agents=agents,
        scorer_problem=lambda: served.problem if served is not None else "",
        listener=pages.hand_over,
        worst=worst,
    )
    worker = _BoundedWorker(app, loglevel=settings.log_level.upper(), quiet=True, override_logging=False, redirect_stdouts=False)
    worker.life = life
    worker.spinner = None  # Faust's progress bar writes escape sequences into the log, also where that is no terminal.
    pages.say("it joins its group")
    try:
        with running(agents):
            worker.execute_from_commandline()
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        inbox.delete()
    return 0


def _check_libraries() -> None:
    """Raise `SettingsError` where a worker cannot run with the libraries as they are loaded."""
    if faust.streams._CStreamIterator is None:
        raise SettingsError(
            "NO_CYTHON",
            "must not be set: without its C extension Faust acknowledges messages that it skips in a rebalance, so they are lost",
        )


def _add_agents(agents: list[Agent], settings: Settings, connection: Connection, inbox: Path, courses: Sequence[Courses]) -> None:
    """Add the agents beside the score agent that the settings enable.

    courses: of the score agent, which follow the alert policy too.
    """
    group = parts.group(settings)
    judges = [followed.use for followed in courses]
    if settings.alerts:
        policy = load_policy(settings.alert_policy)
        check_alert_topics(connection)
        sources, seen = IngestStates(), Acknowledgements()
        alerts = AlertAgent(connection, group, policy, settings.web_url or "", partial(_cause_of_silence, sources))
        agents += [sources.agent(connection), alerts.agent()]
        agents.append(follow_agent(connection, seen, alerts.open_alerts, alerts.knows))
        couriers = Couriers(agents, lambda receiver: Courier(connection, group, receiver, alerts.open_alerts, seen).agent())
        couriers.use(policy.receivers, start=False)
        if settings.alert_policy is not None:
            agents.append(PolicyWatch(settings.alert_policy, policy, follow([*judges, alerts.use], couriers)).agent())
    elif settings.alert_policy is not None and judges:
        # It tells no receiver, so their secrets may not be on this machine.
        policy = load_policy(settings.alert_policy)
        agents.append(PolicyWatch(settings.alert_policy, policy, follow(judges, None), load_policy).agent())
    store = parts.clip_store(settings)
    if settings.harvest:
        limits, fetch = parts.harvest_limits(settings), parts.fetch_limits(settings)
        agents.append(harvest_agent(connection, group, limits, store, fetch, inbox / "harvest"))
    agents.append(sweep_agent(connection, store, settings.clip_days))
    agents.append(folder_sweep(parts.folder_limits(settings, scores=True)))


def _cause_of_silence(sources: IngestStates, state: StreamState) -> AlertCause:
    """Why a stream is silent, as its ingester says; else what the stream itself shows."""
    explained = sources.explain(state.stream_id)
    return AlertCause(where=explained[0], text=explained[1][:LONGEST_CAUSE]) if explained is not None else cause_of_silence(state)


def _spare_the_collector() -> None:
    """Keep what is loaded by now out of sight of Python's collector: it would look at all of it, 0.1 s, every 1,000 segments."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def _assigned_partitions(app: faust.App, topic: str) -> Callable[[], set[int]]:
    """What tells, in any thread, which partitions of the segments this worker reads now. topic: of the segments."""
    running_app = threading.Event()

    @app.task
    async def note_start() -> None:
        running_app.set()

    def assigned_partitions() -> set[int]:
        # The first use of `app.consumer` creates the consumer, which must not happen in an agent's thread.
        if not running_app.is_set():
            return set()
        return {assigned.partition for assigned in app.consumer.assignment() if assigned.topic == topic}

    return assigned_partitions


def _picture_limits(settings: Settings, connection: Connection) -> PictureLimits | None:
    """How often a stream gets a picture; None where that is off, or the topic is missing.

    A message to a missing topic could create it with the broker's defaults, which keep pictures for ever.
    """
    limits = parts.picture_limits(settings)
    topic = connection.named(PICTURES_TOPIC)
    if limits is not None and not has_topic(connection, topic):
        log.warning("no pictures of streams: topic %s is missing: run `fvq topics create`, or set FVQ_PICTURES=off", topic)
        return None
    return limits


async def _open_pipeline(
    app: faust.App, settings: Settings, models: Models, sink: Sink, inbox: Path, pictures: Pictures | None
) -> SegmentPipeline:
    # When the app stops, it first stops its agents, then closes everything on this stack.
    resources = app.async_exit_stack
    resources.push_async_callback(sink.close)
    fetcher = await resources.enter_async_context(Fetcher(parts.fetch_limits(settings), inbox))
    pool = SamplerPool(
        models.scorer.spec,
        settings.sampler_workers,
        settings.sample_timeout,
        settings.sample_memory_mb,
        metrics.SAMPLER_BUSY.inc,
    )
    resources.callback(pool.close)
    metrics.SAMPLER_CHILDREN.set(pool.workers)
    metrics.SAMPLER_WAITING.set_function(pool.waiting)
    cascade = cascade_of(settings, models.deep, models.looks) if models.deep is not None and models.looks is not None else None
    if isinstance(models.deep, RemoteScorer):
        resources.callback(models.deep.close)
    tiers = tiers_of(pool, models.scorer, models.glances) if models.glances is not None else None
    pipeline = SegmentPipeline(
        fetcher,
        pool,
        models.scorer,
        second=models.second,
        live_window=settings.live_window,
        cascade=cascade,
        pictures=pictures,
        tiers=tiers,
        batch_size=settings.batch_size,
    )
    resources.callback(pipeline.close)
    return pipeline


def _end_after(seconds: float) -> None:
    """End this process within that time: a second before by exit code 1, and by SIGALRM where that is not possible."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    timer = threading.Timer(seconds - 1, _end_now, (seconds,))
    timer.daemon = True
    timer.start()


def _end_now(seconds: float) -> None:
    log.critical("worker did not stop within %g s and ends now: the next worker reads again what was not acknowledged", seconds)
    logging.shutdown()
    os._exit(1)
