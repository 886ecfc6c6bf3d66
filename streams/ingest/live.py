"""Follows many live sources in one asyncio process: each on its own, so that one that hangs or fails delays no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from streams.errors import FvqError
from streams.ingest import metrics
from streams.ingest.base import GIVE_UP_SECONDS, Plan, Services, Source, Status, Stream
from streams.ingest.names import Listed
from streams.ingest.states import STATES, SourceState
from streams.text import printable

log = logging.getLogger(__name__)

SPREAD_SECONDS = 2.0
"""Time over which the first loads are spread: a usual target duration. From then on, sources keep their distance."""

LOOKUP_THREADS = 64
"""Threads that look up names: a name server that hangs for some names must not hold up the others."""

HEALTHY_SECONDS = 120.0
"""A run of this length was a good one: the next pause is the shortest again."""

LIST_SECONDS = 2.0
"""Between two looks at the list of sources."""


class SourceAwayError(FvqError):
    """Sources that should have been followed to their end were away for too long."""


@dataclass(frozen=True)
class Pauses:
    """Seconds before a source that raised is run again: the first time, and at most."""

    first: float = 1.0
    longest: float = 30.0


class Supervisor:
    """Runs sources. services: for all of them. pauses: after failures. spread: see `SPREAD_SECONDS`."""

    def __init__(self, services: Services, pauses: Pauses = Pauses(), spread: float = SPREAD_SECONDS) -> None:
        self._services, self._pauses, self._spread = services, pauses, spread
        self._plans: dict[str, Plan] = {}
        self._sources: dict[str, Source] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._shown: set[tuple[str, str]] = set()

    def statuses(self) -> list[Status]:
        """What is known of every rendition."""
        return [status for source in self._sources.values() for status in source.statuses()]

    async def follow(self, plans: Sequence[Plan]) -> None:
        """Follow these sources and no others, from now on. One that is followed already goes on, unless its plan changed."""
        wanted = {plan.stream.stream_id: plan for plan in plans}
        gone = [name for name, plan in self._plans.items() if wanted.get(name) != plan]
        for name in gone:
            task = self._tasks.pop(name)
            task.cancel()
            self._ending.add(task)
            del self._plans[name], self._sources[name]
        # Wait, so that a source whose address changed does not publish beside its successor. `gather` would hand on a
        # cancellation of this call, and cut short what a source does to end; the next call waits for those that are left.
        if self._ending:
            done, _ = await asyncio.wait(self._ending)
            self._ending -= done
        for name in gone:
            if name not in wanted:
                metrics.forget(name)
        new = [name for name in wanted if name not in self._plans]
        for index, name in enumerate(new):
            self._plans[name] = wanted[name]
            self._sources[name] = wanted[name].source(self._services)
            self._tasks[name] = asyncio.create_task(self._run(name, self._spread * index / len(new)))

    async def ended(self) -> None:
        """Return when all sources have ended, which they do with `once` only. Raises `SourceAwayError` where one was given up."""
        while unfinished := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(unfinished)
        away = [status for status in self.statuses() if status.state == "failing"]
        if away:
            names = ", ".join(printable(f"{status.stream} ({status.reason})") for status in away[:5])
            more = f", and {len(away) - 5} more" if len(away) > 5 else ""
            raise SourceAwayError(f"given up, because nothing could be loaded for {GIVE_UP_SECONDS:g} s: {names}{more}")

    async def stop(self) -> None:
        """Stop all sources, and wait until they have stopped."""
        await self.follow([])

    def show_metrics(self) -> None:
        """Bring the gauges up to date; called when they are read."""
        statuses = self.statuses()
        states = Counter(status.state for status in statuses)
        for state in STATES:
            metrics.SOURCES.labels(state).set(states[state])
        now = self._services.times.monotonic()
        shown = set()
        for status in statuses:
            labels = (status.stream, status.rendition or "")
            shown.add(labels)
            if status.changed is not None:
                metrics.AGE.labels(*labels).set(now - status.changed)
            if status.skew is not None:
                metrics.SKEW.labels(*labels).set(status.skew)
        for labels in self._shown - shown:
            for gauge in (metrics.AGE, metrics.SKEW):
                with contextlib.suppress(KeyError):
                    gauge.remove(*labels)
        self._shown = shown

    async def _run(self, name: str, delay: float) -> None:
        """Run a source; again after a pause where it raises, unless it was told to end."""
        times, task = self._services.times, asyncio.current_task()
        await times.sleep(delay)
        source, pause = self._sources[name], self._pauses.first
        while True:
            began = times.monotonic()
            try:
                return await source.run()
            except Exception as error:
                words = _words_of(error)
                if task is not None and task.cancelling():
                    log.error("source %s failed while it ended: %s", name, words)
                    return None
                if times.monotonic() - began > HEALTHY_SECONDS:
                    pause = self._pauses.first
                metrics.RESTARTS_OF_SOURCES.labels(name).inc()
                for status in source.statuses():
                    status.state, status.reason = "failing", f"a fault of this program: {words}"
                    state = SourceState("failing", times.now(), "fault", status.reason)
                    self._services.report(Stream(status.stream, status.rendition), state)
                log.error("source %s failed and is run again in %.1f s: %s", name, pause, words)
                await times.sleep(pause)
                pause = min(2 * pause, self._pauses.longest)


def _words_of(error: Exception) -> str:
    """What went wrong and where, without the values that did: an address has its signature in it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = error.errors(include_input=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return printable(f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {text}"[:300])


def use_all_of_the_machine() -> None:
    """Let this process open as many connections as it may, and give the running loop threads for look-ups that hang.

    The usual limit of 1024 files is less than one connection for each of 2,000 origins.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup"))


async def follow_list(
    read_list: Callable[[], Listed | None],
    follow: Callable[[Listed], Awaitable[None]],
    seconds: float = LIST_SECONDS,
) -> None:
    """Look at a list of sources again and again, until cancelled.

    read_list: the sources where the list has changed, None where it has not; raises `SettingsError` or OSError. Of a list that
    cannot be read, or names a source twice, one line is logged, and the sources stay as they are.
    """
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            listed = await asyncio.to_thread(read_list)
        except Exception as error:
            if str(error) != said:
                log.error("the list of sources is not followed until it is right: %s", printable(str(error)))
            said = str(error)
            continue
        said = ""
        if listed is not None:
            await follow(listed)
