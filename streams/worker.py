"""Runs the score agent: `fvq worker`."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from pathlib import Path

import faust
import faust.streams
import mode.loop

from scorer.errors import ModelError
from scorer.sampling import SamplerPool
from scorer.spec import Scorer
from streams.alerts.agent import running_alerts
from streams.kafka.connection import BrokerError, check_broker, client_options
from streams.logs import configure_logging
from streams.media.fetch import Fetcher
from streams.queue.agent import running_harvest
from streams.queue.retention import running_sweep
from streams.scoring.app import build_app
from streams.scoring.pipeline import SegmentPipeline
from streams.settings import Settings, SettingsError
from streams.sinks import open_sink

__all__ = ["BrokerError", "check_broker", "free_port", "run_worker"]

log = logging.getLogger(__name__)
STOP_SECONDS = 20.0
"""A worker that was told to stop ends within this time. Faust waits for ever for a broker that is gone; whatever is
not acknowledged by then will be read again by the next worker, so nothing is lost by ending."""


class _BoundedWorker(faust.Worker):
    """A Faust worker that ends in bounded time, whatever the broker does."""

    def _on_sigterm(self) -> None:
        _end_after(STOP_SECONDS)
        super()._on_sigterm()

    def _on_sigint(self) -> None:
        _end_after(STOP_SECONDS)
        super()._on_sigint()


def run_worker(settings: Settings) -> int:
    """Score segments until told to stop; returns the exit code.

    Raises `SettingsError`, `ModelError` or `BrokerError` where it cannot start.
    """
    if not settings.broker:
        raise SettingsError(
            "FVQ_BROKER", "is not set: name the Kafka servers as host:port, or use `fvq up`, which starts a broker of its own"
        )
    if settings.scorer_url:
        raise SettingsError("FVQ_SCORER_URL", "this version has no remote scorer: leave it out to run the model in the worker")
    if faust.streams._CStreamIterator is None:
        raise SettingsError(
            "NO_CYTHON",
            "must not be set: without its C extension Faust acknowledges what it skips in a rebalance, which is lost then",
        )
    configure_logging(settings)
    # Faust goes through its event loop several times for each message: in C that is a third of its time less.
    mode.loop.use("uvloop")
    check_broker(settings.broker, client_options(settings))
    if settings.web_port == 0:
        settings = settings.model_copy(update={"web_port": free_port(settings.web_host)})
    try:
        from streams.models.follow import ReloadingScorer, follow, registry_of
    except ImportError as error:
        raise ModelError(f"{error.name} is not installed: pip install 'fvq-monitor[serve]'") from error
    scorer = ReloadingScorer(settings, registry_of(settings))
    log.info("model %s@%s", scorer.model.name, scorer.model.version)
    second = _second(settings, scorer) if settings.second_model else None
    try:
        (settings.data_dir / "faust").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("FVQ_DATA_DIR", f"{settings.data_dir} cannot be made: {error.strerror}") from error
    inbox = _own_inbox(settings.data_dir / "inbox")
    sink = open_sink(settings)

    async def make_pipeline() -> SegmentPipeline:
        # The app closes what is on this stack when it stops, after its agents.
        resources = app.async_exit_stack
        resources.push_async_callback(sink.close)
        fetcher = await resources.enter_async_context(Fetcher(settings, inbox))
        pool = SamplerPool(scorer.spec, settings.sampler_workers, settings.sample_timeout, settings.sample_memory_mb)
        resources.callback(pool.close)
        pipeline = SegmentPipeline(settings, fetcher, pool, scorer, second)
        resources.callback(pipeline.close)
        return pipeline

    app = build_app(settings, make_pipeline, sink)
    follow(scorer, settings)
    worker = _BoundedWorker(app, loglevel=settings.log_level.upper(), quiet=True, override_logging=False, redirect_stdouts=False)
    log.info("worker starts; pages at http://%s:%d", settings.web_host, settings.web_port)
    try:
        with running_alerts(settings), running_harvest(settings, inbox / "harvest"), running_sweep(settings):
            worker.execute_from_commandline()
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        shutil.rmtree(inbox, ignore_errors=True)
    return 0


def _second(settings: Settings, first: Scorer) -> Scorer:
    """The second model, which takes the same clips as the first."""
    from scorer.engine import load_engine
    from streams.models.follow import registry_of

    assert settings.second_model
    second = load_engine(settings.second_model, settings.device, registry_of(settings))
    if second.spec != first.spec:
        raise SettingsError("FVQ_SECOND_MODEL", f"{settings.second_model} was trained on another sampling than {settings.model}")
    log.info("second model %s@%s", second.model.name, second.model.version)
    return second


def free_port(host: str) -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _own_inbox(folder: Path) -> Path:
    """This process's folder for fetched media; folders of workers that were killed are removed."""
    for left in folder.glob("*"):
        if left.name == str(os.getpid()) or not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder / str(os.getpid())


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
