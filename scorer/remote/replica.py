"""One replica of the served scorer without its HTTP: a model that follows the registry, and the batches in front of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from scorer.errors import FvqError
from scorer.remote.batching import Batcher, CheckedScorer
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.wire import largest_body
from scorer.spec import ModelId, SamplerSpec

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
"""How often the registry is checked, and a model that has failed."""

HUNG_SECONDS = 120.0
"""A batch that takes longer will not end: a driver hangs. A thread cannot be stopped, so the process manager that watches
`/healthz` has to start a new process."""

LOADING_RETRY = 5
"""Seconds after which a client is asked to come again while the model is loaded."""


@dataclass(frozen=True)
class Limits:
    """batch: the most clips that are scored together, and the most of one body. queue: the most clips in the server.

    wait_seconds: the most time that a request waits for room in the queue. body_seconds: the most time in which a body must come.
    """

    batch: int = 16
    queue: int = 256
    wait_seconds: float = 5.0
    body_seconds: float = 30.0


class ServedEngine(CheckedScorer, Protocol):
    """A version of the model: an `Engine`."""

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification."""

    @property
    def model(self) -> ModelId:
        """Name and version."""

    @property
    def statistics(self) -> int:
        """How many statistics of a clip it takes."""


class FollowedModel(Protocol):
    """A model whose versions change: a `ReloadingEngine`."""

    @property
    def engine(self) -> ServedEngine:
        """The version that scores now."""

    @property
    def follows(self) -> bool:
        """Whether later versions take over."""

    def refresh(self) -> bool:
        """Load the current version if another one scores. Never raises."""


class NotReadyError(FvqError):
    """The replica cannot score yet. retry_after: seconds."""

    retry_after = LOADING_RETRY


class Replica:
    """A model, its batches and its limits. Its methods belong to one event loop, in which `running` is entered.

    load: loads the model; called in a thread; raises `ModelError`. on_failure: called once where that fails.
    """

    def __init__(
        self,
        load: Callable[[], FollowedModel],
        limits: Limits,
        metrics: ReplicaMetrics,
        on_failure: Callable[[Exception], None] = lambda _: None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self.limits, self.metrics = limits, metrics
        self.batcher = Batcher(limits.batch, limits.queue, limits.wait_seconds, metrics.add_batch)
        self._load, self._on_failure, self._check_seconds = load, on_failure, check_seconds
        self._model: FollowedModel | None = None
        self._failure = ""
        self._tasks: list[asyncio.Task[None]] = []
        metrics.queue_clips.set_function(lambda: float(self.batcher.held))
        metrics.waiting.set_function(lambda: float(self.batcher.waiting))
        metrics.queue_limit.set(limits.queue)
        metrics.ready.set_function(lambda: float(not self.problem()))

    @property
    def engine(self) -> ServedEngine:
        """The version that scores what comes now. Raises `NotReadyError`."""
        if self._model is None:
            raise NotReadyError(self._failure or "the model is being loaded")
        return self._model.engine

    def largest_body(self) -> int:
        """Bytes of the largest body that the present version takes. Raises `NotReadyError`."""
        engine = self.engine
        return largest_body(engine.spec, engine.statistics, self.limits.batch)

    def problem(self) -> str:
        """Why the replica is not ready; empty where it is."""
        if self._model is None:
            return self._failure or "the model is being loaded"
        if (seconds := self.batcher.scoring_seconds()) > HUNG_SECONDS:
            return f"the model has been at work on one batch for {seconds:.0f} s: restart the process"
        if any(task.done() for task in self._tasks):
            return "a task of the replica has ended, the log says why: restart the process"
        return self.batcher.broken

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the model and score as long as the context lasts."""
        self._tasks = [asyncio.create_task(self.batcher.run()), asyncio.create_task(self._follow())]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.batcher.close()

    async def _follow(self) -> None:
        """Load the model, then regularly check the registry, and the model where it has failed."""
        try:
            model = await asyncio.to_thread(self._load)
        except Exception as error:
            self._failure = f"the model cannot be loaded: {error}"
            self._on_failure(error)
            return
        self._model = model
        self.metrics.show_model(model.engine.model)
        log.info("model %s scores", model.engine.model)
        while True:
            await asyncio.sleep(self._check_seconds)
            if model.follows:
                await asyncio.to_thread(model.refresh)
            await self.batcher.check(model.engine)
