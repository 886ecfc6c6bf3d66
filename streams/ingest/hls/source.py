"""One source, as the operator names it: a playlist of segments, or a master playlist and the renditions chosen from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from streams.ingest import metrics
from streams.ingest.base import DEFAULT_TARGET, GIVE_UP_SECONDS, AddressPlan, Services, Status
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.rendition import Rendition
from streams.ingest.hls.renditions import choose
from streams.ingest.hls.schedule import longest_load, next_load
from streams.ingest.hls.values import MasterPlaylist, PlaylistError
from streams.ingest.reporter import Reporter
from streams.media.read import Answer, ReadError
from streams.media.shown import without_secrets

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks at a master playlist whose renditions cannot be loaded, at least."""


class SourcePlan(AddressPlan):
    """What the operator wants of a source."""

    def source(self, services: Services) -> Source:
        """The source, to be run."""
        return Source(self, services)


class Source:
    """Follows a source. Its positions outlive a failure of `run`, which may be called again."""

    def __init__(self, plan: SourcePlan, services: Services) -> None:
        self._plan, self._services = plan, services
        self._renditions: dict[str | None, Rendition] = {}
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        self._is_master = self._is_away = False
        self._trouble = asyncio.Event()
        self._looked = services.times.monotonic()
        self._status = Status(plan.stream.stream_id, None, without_secrets(plan.url))
        self._reporter = Reporter(plan.stream, self._status, services, log)

    def statuses(self) -> Sequence[Status]:
        """What is known of its renditions; before there are any, of the source itself."""
        return [rendition.status for rendition in self._renditions.values()] or [self._status]

    async def run(self) -> None:
        """Follow until cancelled; with `once`, until all its renditions have ended or it was away for `GIVE_UP_SECONDS`."""
        try:
            if await self._first_look():
                while not await self._wait():
                    await self._look_again()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()

    async def _first_look(self) -> bool:
        """Load the address until it answers; False where the source is given up."""
        times = self._services.times
        since = times.monotonic()
        while True:
            try:
                self._follow(*await self._look())
                return True
            except (ReadError, PlaylistError) as error:
                metrics.LOADS.labels(error.kind).inc()
                self._reporter.show("failing", error.reason, error.kind, since)
                failing = times.monotonic() - since
                if self._plan.once and failing > GIVE_UP_SECONDS:
                    return False
                chance = self._services.chance()
                await times.sleep(next_load("failed", DEFAULT_TARGET, None, failing, error.retry_after, chance))

    async def _wait(self) -> bool:
        """Wait for a reason to look at the source anew: False; or until all renditions have ended: True.

        Raises what a rendition raises.
        """
        trouble = asyncio.create_task(self._trouble.wait())
        try:
            while self._tasks:
                done, _ = await asyncio.wait({trouble, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
                for name in [name for name, task in self._tasks.items() if task in done]:
                    self._tasks.pop(name).result()
                if trouble in done:
                    self._trouble.clear()
                    return False
            return True
        finally:
            trouble.cancel()

    def _notice(self, met_master: bool) -> None:
        """A rendition is in trouble."""
        now = self._services.times.monotonic()
        if (self._is_master or met_master) and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._trouble.set()

    async def _look_again(self) -> None:
        """Look at the address anew. Where that fails, the renditions go on as they are."""
        try:
            self._follow(*await self._look())
            self._is_away = False
        except (ReadError, PlaylistError) as error:
            if not self._is_away:
                log.warning("%s: its master playlist cannot be loaded either: %s", self._plan.stream.stream_id, error.reason)
            self._is_away = True

    async def _look(self) -> tuple[dict[str | None, tuple[str, ...]], dict[str, str], Answer | None]:
        """What to follow: the addresses of each rendition, the variables for them, and the playlist if it is already loaded."""
        url = self._plan.url
        answer = await self._services.read(url, longest_load(DEFAULT_TARGET))
        playlist = parse(answer.body, answer.url)
        self._is_master = isinstance(playlist, MasterPlaylist)
        if isinstance(playlist, MasterPlaylist):
            chosen = choose(playlist, self._plan.renditions)
            return {name: urls for name, urls in chosen.items()}, dict(playlist.variables), None  # noqa: C416 - of another type
        return {None: (url,)}, {}, answer

    def _follow(self, chosen: dict[str | None, tuple[str, ...]], variables: dict[str, str], answer: Answer | None) -> None:
        """Follow these renditions, and no others."""
        for name in [name for name in self._renditions if name not in chosen]:
            del self._renditions[name]
            if name in self._tasks:
                self._tasks.pop(name).cancel()
        if None in chosen:
            # The address has no master playlist any more, and nobody would end what was said of its renditions, also by a process
            # before this one. A rendition that only left its master playlist may come back, and goes on from its position.
            for name in sorted(name for name in self._services.renditions(self._plan.stream.stream_id) if name is not None):
                self._services.retire(replace(self._plan.stream, rendition=name))
        else:
            # While the master playlist was away, the source was reported without a rendition, and would stay as it was then.
            self._services.retire(self._plan.stream)
        for name, urls in chosen.items():
            rendition = self._renditions.get(name)
            if rendition is None:
                stream = replace(self._plan.stream, rendition=name)
                rendition = Rendition(stream, urls, self._services, variables, self._notice, self._plan.once)
                self._renditions[name] = rendition
            rendition.use(urls, variables)
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(rendition.follow(answer))
