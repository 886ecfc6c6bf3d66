"""The supervised agent: a thread for each loop that runs as long as the worker does.

An agent's function `run(stop)` works until `stop` is set. When it raises, it is run again after a pause: what it knows is in
Kafka, in a store or on a disk, so it starts from there. The pause doubles with each failure, and is drawn at random from its
upper half, so that the agents of many workers do not all come back at the same moment.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from scorer.exposition import from_zero
from streams import metrics
from streams.outages import KAFKA, Outage
from streams.refusals import words

log = logging.getLogger(__name__)
STOP_SECONDS = 5.0
"""Time in which all agents of a worker have to stop. A thread that takes longer ends with the process."""

HEALTHY_SECONDS = 60.0
"""A run of this length was a good one: the next pause is the shortest again."""


@dataclass(frozen=True)
class Pauses:
    """Seconds before a failed agent is run again: the first time, and at most."""

    first: float = 1.0
    longest: float = 15.0


@dataclass(frozen=True)
class AgentState:
    """What `/healthz` says of an agent. error: the last failure, '' since the agent runs without one."""

    state: Literal["running", "pausing", "stopped"] = "stopped"
    restarts: int = 0
    error: str = ""


class Agent:
    """One thread, named in log, metrics and `/healthz`. run: works until the event is set; raises what made it fail."""

    def __init__(self, name: str, run: Callable[[threading.Event], None], pauses: Pauses = Pauses()) -> None:
        self.name = name
        self.state = AgentState()
        self._run_once, self._pauses = run, pauses
        self._outage = Outage(f"agent {name}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        for counter in (metrics.RETRIES, metrics.AGENT_RESTARTS):
            from_zero(counter, name)

    def start(self) -> None:
        """Start the thread."""
        self.state = AgentState("running")
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to stop after what it is doing; returns at once."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread has stopped, or the time is over."""
        self._thread.join(seconds)

    def _run(self) -> None:
        pause = self._pauses.first
        while not self._stop.is_set():
            started = time.monotonic()
            healthy = threading.Timer(HEALTHY_SECONDS, self._note_health)
            healthy.daemon = True
            if self._outage.lasts:
                healthy.start()
            try:
                self._run_once(self._stop)
            except Exception as error:
                if time.monotonic() - started > HEALTHY_SECONDS:
                    pause = self._pauses.first
                self._fail(error, pause)
                pause = min(self._pauses.longest, 2 * pause)
            finally:
                healthy.cancel()
        self.state = AgentState("stopped", self.state.restarts, self.state.error)

    def _fail(self, error: Exception, pause: float) -> None:
        """Say what went wrong, and wait."""
        seconds = pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, is no secret
        reason = words(error)
        self.state = AgentState("pausing", self.state.restarts + 1, reason)
        metrics.RETRIES.labels(self.name).inc()
        metrics.AGENT_RESTARTS.labels(self.name).inc()
        log.debug("agent %s failed and restarts in %.1f s: %s", self.name, seconds, reason)
        if not KAFKA.lasts:  # while Kafka is away all agents fail, and one line says so
            self._outage.failed(reason)
        if not self._stop.wait(seconds):
            self.state = AgentState("running", self.state.restarts, reason)

    def _note_health(self) -> None:
        """Called by a timer when a run has lasted for long enough: what made the run before fail is over."""
        self._outage.works(HEALTHY_SECONDS)


@contextmanager
def running(agents: Sequence[Agent], stop_seconds: float = STOP_SECONDS) -> Iterator[None]:
    """The agents run as long as the context lasts; then all are asked to stop, and waited for together.

    agents: may get more of them meanwhile, which run already.
    """
    for agent in list(agents):
        agent.start()
    try:
        yield
    finally:
        for agent in agents:  # also one that comes in by now
            agent.stop()
        deadline = time.monotonic() + stop_seconds
        for agent in agents:
            agent.join(max(0.0, deadline - time.monotonic()))
