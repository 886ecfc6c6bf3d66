"""Runs the score agent and the agents beside it: `fvq worker`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import faust
import faust.streams
import mode.loop

from scorer.remote.client import RemoteScorer
from scorer.remote.url import sends_in_clear
from scorer.sampling import SamplerPool
from scorer.spec import ModelId, Scorer
from streams import metrics, parts
from streams.alerts.agent import AlertAgent
from streams.alerts.course import Courses
from streams.alerts.delivery import Courier
from streams.alerts.policy import load_policy
from streams.alerts.state_topic import check_alert_topics
from streams.errors import ModelError, SettingsError
from streams.events import SEGMENTS_TOPIC
from streams.kafka.agent import Agent, running
from streams.kafka.clients import check_broker
from streams.kafka.connection import Connection
from streams.kafka.progress import LagWatch, Progress
from streams.logs import configure_logging
from streams.media.fetch import Fetcher
from streams.ports import free_port
from streams.queue.agent import harvest_agent
from streams.queue.retention import sweep_agent
from streams.scoring.app import AppOptions, build_app
from streams.scoring.cascade import Cascade
from streams.scoring.deep import DeepScorer
from streams.scoring.pages import add_pages
from streams.scoring.pipeline import SegmentPipeline
from streams.scoring.served import FallbackScorer, ServedScorer, connected
from streams.scoring.tiers import TierPlan
from streams.settings import Settings
from streams.sinks.base import Sink

log = logging.getLogger(__name__)
STOP_SECONDS = 20.0
"""A worker that gets SIGTERM or SIGINT exits within this time, because Faust waits for ever for a broker that is gone.
Nothing is lost: the next worker reads again what was not acknowledged."""


class _BoundedWorker(faust.Worker):
    """A Faust worker that exits within `STOP_SECONDS` of a signal, even where the broker does not answer.

    The time runs from the signal itself. Faust lets its event loop wait for signals, which came to one 6 s late on a machine
    whose cores were taken. So a thread of its own waits, and the kernel ends the process where no thread gets to run.
    """

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
            if number[0] in handlers:
                with suppress(RuntimeError):  # the loop is closed: the process is ending
                    self.loop.call_soon_threadsafe(handlers[signal.Signals(number[0])])


def run_worker(settings: Settings) -> int:
    """Score segments until told to stop; returns the exit code.

    Raises `SettingsError`, `ModelError` or `BrokerError` where it cannot start.
    """
    _check(settings)
    configure_logging(settings.log_level, settings.log_format)
    # Faust runs several callbacks on the event loop for each message; uvloop takes a third less time for them.
    mode.loop.use("uvloop")
    connection = parts.connection(settings)
    check_broker(connection)
    port = settings.web_port or free_port(settings.web_host)
    served = _served_scorer(settings) if settings.scorer_url else None
    scorer, followers = (served, []) if served is not None else _own_scorer(settings, connection)
    second = _second(settings, scorer) if settings.second_model else None
    deep = _deep(settings) if settings.deep_model or settings.deep_url else None
    try:
        (settings.data_dir / "faust").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("FVQ_DATA_DIR", f"{settings.data_dir} cannot be created: {error.strerror}") from error
    inbox = _own_inbox(settings.data_dir / "inbox")
    sink = parts.sink(settings)
    pipelines: list[SegmentPipeline] = []

    async def open_pipeline() -> SegmentPipeline:
        if not pipelines:
            if served is not None:
                app.async_exit_stack.callback(served.close)
                await connected(served)
            pipelines.append(await _open_pipeline(app, settings, _Models(scorer, second, deep), sink, inbox))
        return pipelines[0]

    options = AppOptions(
        connection,
        parts.group(settings),
        settings.data_dir,
        settings.batch_size,
        settings.batch_wait,
        settings.web_host,
        port,
        parts.flood_limits(settings),
    )
    app = build_app(options, open_pipeline, sink)

    running_app = threading.Event()

    @app.task
    async def note_start() -> None:
        running_app.set()

    def assigned_partitions() -> set[int]:
        # The first use of `app.consumer` creates the consumer, which must not happen in an agent's thread.
        if not running_app.is_set():
            return set()
        return {assigned.partition for assigned in app.consumer.assignment() if assigned.topic == SEGMENTS_TOPIC}

    agents = [*followers, *_agents(settings, connection, assigned_partitions, inbox)]
    add_pages(
        app,
        sink,
        lambda: max((pipeline.scoring_seconds() for pipeline in pipelines), default=0.0),
        agents,
        lambda: served.problem if served is not None else "",
    )
    worker = _BoundedWorker(app, loglevel=settings.log_level.upper(), quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None  # Faust's progress bar writes escape sequences into the log, also where that is no terminal.
    log.info("worker starts; pages at http://%s:%d", settings.web_host, port)
    try:
        with running(agents):
            worker.execute_from_commandline()
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        shutil.rmtree(inbox, ignore_errors=True)
    return 0


def _check(settings: Settings) -> None:
    """Raise `SettingsError` where a worker cannot run with these settings."""
    if not settings.broker:
        raise SettingsError(
            "FVQ_BROKER", "is not set: name the Kafka servers as host:port, or use `fvq up`, which starts a broker of its own"
        )
    if faust.streams._CStreamIterator is None:
        raise SettingsError(
            "NO_CYTHON",
            "must not be set: without its C extension Faust acknowledges messages that it skips in a rebalance, so they are lost",
        )


def _agents(settings: Settings, connection: Connection, assigned: Callable[[], set[int]], inbox: Path) -> list[Agent]:
    """The agents beside the score agent that the settings enable. assigned: the partitions that this worker reads now."""
    group = parts.group(settings)
    lag = LagWatch(lambda: Progress(connection, group.name, SEGMENTS_TOPIC), assigned)
    agents = [Agent("lag", lag.run)]
    if settings.alerts:
        policy = load_policy(settings.alert_policy)
        check_alert_topics(connection)
        alerts = AlertAgent(connection, group, policy)
        couriers = [Courier(connection, group, receiver, alerts.open_alerts) for receiver in policy.receivers]
        agents += [alerts.agent(), *(courier.agent() for courier in couriers)]
    store = parts.clip_store(settings)
    if settings.harvest:
        limits, fetch = parts.harvest_limits(settings), parts.fetch_limits(settings)
        agents.append(harvest_agent(connection, group, limits, store, fetch, inbox / "harvest"))
    return [*agents, sweep_agent(connection, store, settings.clip_days)]


def _own_scorer(settings: Settings, connection: Connection) -> tuple[Scorer, list[Agent]]:
    """The model of `FVQ_MODEL` in this process, and the agent that replaces it when the registry has another version."""
    try:
        from streams.models.follow import ReloadingScorer, follow_agent
    except ImportError as error:
        raise _not_installed(error) from error
    scorer = ReloadingScorer(settings.model, settings.device, parts.registry(settings))
    log.info("model %s", scorer.model)
    return scorer, [follow_agent(scorer, connection)] if scorer.follows else []


def _served_scorer(settings: Settings) -> ServedScorer:
    """The scorer at `FVQ_SCORER_URL`, which is not asked yet."""
    assert settings.scorer_url
    remote = _remote(settings, settings.scorer_url, settings.scorer_timeout, _note_served_model)
    if settings.scorer_fallback is None:
        return remote
    try:
        from scorer.engine import load_engine
    except ImportError as error:
        raise _not_installed(error) from error
    own = load_engine(settings.scorer_fallback, settings.device, parts.registry(settings))
    log.info("model %s answers while no served scorer does", own.model)
    return FallbackScorer(remote, own)


def _remote(settings: Settings, addresses: str, seconds: float, notice: Callable[[ModelId], None]) -> RemoteScorer:
    """The scorer that is served at these addresses. seconds: that one request may take. notice: is told of its model."""
    urls = addresses.split(",")
    for url in urls:
        if sends_in_clear(url):
            token = " and the scorer's token" if settings.scorer_token or settings.scorer_token_file else ""
            log.warning("pictures%s can be read on their way to %s: use https or a private network", token, url)
    return parts.remote_scorer(settings, urls, notice, seconds)


def _note_served_model(model: ModelId) -> None:
    log.info("the served model is %s", model)
    metrics.show_model(model)


def _note_served_deep_model(model: ModelId) -> None:
    log.info("the served large model is %s", model)


def _not_installed(error: ImportError) -> ModelError:
    return ModelError(f"{error.name} is not installed: pip install 'fvq-monitor[serve]'")


def _second(settings: Settings, first: Scorer) -> Scorer:
    """The second model, which scores the same clips as the first.

    Raises `SettingsError` where it needs clips that are sampled in another way.
    """
    from scorer.engine import load_engine

    assert settings.second_model
    second = load_engine(settings.second_model, settings.device, parts.registry(settings))
    if second.spec != first.spec:
        reason = f"{settings.second_model} needs clips that are sampled in another way than for {settings.model}"
        raise SettingsError("FVQ_SECOND_MODEL", reason)
    log.info("second model %s@%s", second.model.name, second.model.version)
    return second


def _deep(settings: Settings) -> Scorer:
    """The large model of the cascade, in this process or at `FVQ_DEEP_URL`, which is not asked yet."""
    if settings.deep_url:
        return _remote(settings, settings.deep_url, settings.deep_timeout, _note_served_deep_model)
    try:
        from scorer.engine import load_engine
    except ImportError as error:
        raise _not_installed(error) from error
    assert settings.deep_model
    deep = load_engine(settings.deep_model, settings.device, parts.registry(settings))
    log.info("model %s looks at %.3g of the segments at most", deep.model, settings.deep_share)
    return deep


@dataclass(frozen=True)
class _Models:
    """The models of a worker: the one that scores every segment, and those that may be there beside it."""

    scorer: Scorer
    second: Scorer | None
    deep: Scorer | None


async def _open_pipeline(app: faust.App, settings: Settings, models: _Models, sink: Sink, inbox: Path) -> SegmentPipeline:
    # When the app stops, it first stops its agents, then closes everything on this stack.
    resources = app.async_exit_stack
    resources.push_async_callback(sink.close)
    fetcher = await resources.enter_async_context(Fetcher(parts.fetch_limits(settings), inbox))
    pool = SamplerPool(models.scorer.spec, settings.sampler_workers, settings.sample_timeout, settings.sample_memory_mb)
    resources.callback(pool.close)
    cascade = _cascade(settings, models.deep) if models.deep is not None else None
    if isinstance(models.deep, RemoteScorer):
        resources.callback(models.deep.close)
    pipeline = SegmentPipeline(fetcher, pool, models.scorer, models.second, settings.live_window, cascade)
    resources.callback(pipeline.close)
    return pipeline


def _cascade(settings: Settings, deep: Scorer) -> Cascade:
    """The looks by the large model. Its streams' alerts are found by the same policy as the alert agent's."""
    connect = deep.connect if isinstance(deep, RemoteScorer) else None
    looks = DeepScorer(deep, settings.deep_timeout, settings.batch_size, connect)
    return Cascade(
        looks, TierPlan(parts.tier_limits(settings)), Courses(load_policy(settings.alert_policy)), settings.live_window
    )


def _own_inbox(folder: Path) -> Path:
    """This process's folder for fetched media. Removes the folders of workers that no longer run."""
    for other in folder.glob("*"):
        if other.name == str(os.getpid()) or not Path(f"/proc/{other.name}").exists():
            shutil.rmtree(other, ignore_errors=True)
    return folder / str(os.getpid())


def _end_after(seconds: float) -> None:
    """End this process within that time: a second before by exit code 1, and by SIGALRM where that is not possible."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    timer = threading.Timer(seconds - 1, os._exit, (1,))
    timer.daemon = True
    timer.start()
