"""One source, as the operator names it: a manifest, which is loaded for all of its renditions together."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from streams.ingest import metrics
from streams.ingest.base import GIVE_UP_SECONDS, AddressPlan, Services, Status
from streams.ingest.dash.clock import ServerClock
from streams.ingest.dash.mpd import parse
from streams.ingest.dash.notation import date_of
from streams.ingest.dash.rendition import LONGEST_UPDATE, Loaded, Rendition
from streams.ingest.dash.renditions import tracks
from streams.ingest.dash.servers import Servers
from streams.ingest.dash.values import SECOND, Presentation, Timing, micros_of
from streams.ingest.dash.window import Track
from streams.ingest.hls.addresses import urljoin_safe
from streams.ingest.hls.schedule import LONGEST, LONGEST_PAUSE, SHORTEST, longest_load, next_load
from streams.ingest.hls.values import PlaylistError
from streams.ingest.reporter import Reporter
from streams.media.read import Answer, ReadError
from streams.media.shown import without_secrets

log = logging.getLogger(__name__)

LARGE_MANIFEST = 50_000
"""Bytes from which a manifest is read in a thread: it takes a tenth of a second, and no other source must wait."""

SWITCH_FAILURES = 3
"""Failures in a row, from which the manifest is loaded from the next address."""

EVERY_SEGMENT = 1.0
"""Seconds between two loads, at least, where `minimumUpdatePeriod` is 0: at each segment."""

TIME_SECONDS, TIME_EVERY, TIME_ADDRESSES = 3.0, 600.0, 3
"""Of the servers that `UTCTiming` names: how long one may take, after how long they are asked again, and how many."""

SHORTEST_SLEEP = 0.02
"""Seconds. A segment that is due is not waited for in a circle."""


class SourcePlan(AddressPlan):
    """What the operator wants of a source."""

    def source(self, services: Services) -> Source:
        """The source, to be run."""
        return Source(self, services)


class Source:
    """Follows a source. Its positions outlive a failure of `run`, which may be called again."""

    def __init__(self, plan: SourcePlan, services: Services) -> None:
        self._plan, self._services = plan, services
        self._status = Status(plan.stream.stream_id, None, without_secrets(plan.url))
        self._reporter = Reporter(plan.stream, self._status, services, log)
        self._renditions: dict[str, Rendition] = {}
        self._tracks: dict[str, Track] = {}
        self._loaded: Loaded | None = None
        self._digest = b""
        self._urls: tuple[str, ...] = (plan.url,)
        self._server = 0
        self._clock = ServerClock()
        self._servers = Servers(plan.stream.stream_id, services)
        self._timed: float | None = None
        self._asked: float | None = None
        self._due: float | None = None
        self._failures = 0
        self._failing_since: float | None = None

    def statuses(self) -> Sequence[Status]:
        """What is known of its renditions; before there are any, of the source itself."""
        return [rendition.status for rendition in self._renditions.values()] or [self._status]

    async def run(self) -> None:
        """Follow until cancelled; with `once`, until all its renditions have ended or it was away for `GIVE_UP_SECONDS`."""
        times = self._services.times
        self._due = times.monotonic()
        while True:
            begun = times.monotonic()
            is_due = self._due is not None and begun >= self._due
            if is_due and await self._load():
                await self._announce(list(self._renditions))
                await self._look_at_servers()
                self._due = self._next_load(begun)
            elif self._failing_since is None:
                await self._announce([name for name in self._renditions if self._is_due(name)])
            if self._plan.once and (self._has_ended() or self._is_given_up()):
                return
            await times.sleep(max(self._pause(), SHORTEST_SLEEP))

    async def _load(self) -> bool:
        """Load the manifest once; False where that fails, with the next load put off."""
        times, url = self._services.times, self._urls[self._server]
        sent = times.monotonic()
        try:
            with metrics.LOAD_SECONDS.time():
                answer = await self._services.read(url, longest_load(self._target()))
            received = times.monotonic()
            is_new = await self._take(answer)
        except (ReadError, PlaylistError) as error:
            self._fail(error)
            return False
        if answer.date is not None and self._timed is None:
            self._clock.learn(answer.date, sent, received)
        await self._ask_time(answer.url, is_new, sent, received)
        self._follow(url)
        self._failures, self._failing_since = 0, None
        return True

    async def _take(self, answer: Answer) -> bool:
        """Read a manifest where it is another one than before; whether it is."""
        digest = hashlib.blake2b(answer.body, digest_size=16).digest()
        before = self._loaded if digest == self._digest else None
        # After a redirect to another place, relative addresses in the same bytes are others.
        if before is not None and answer.url == before.url:
            self._loaded = replace(before, dropped={})
            metrics.LOADS.labels("unchanged").inc()
            return False
        try:
            presentation = await self._parse(answer)
        except PlaylistError:
            if not self._servers.forget():
                raise
            presentation = await self._parse(answer)
        chosen = tracks(presentation, self._plan.renditions, list(self._renditions), self._passed(presentation))
        dropped = presentation.dropped if before is None else {}
        self._loaded = Loaded(presentation, answer.url, presentation.anchor, dropped)
        self._tracks, self._digest = chosen, digest
        urls = tuple(dict.fromkeys((*presentation.locations, self._plan.url)))
        if urls != self._urls:
            self._urls, self._server = urls, 0
        outcome = "unchanged" if before is not None else "changed" if presentation.dynamic else "ended"
        metrics.LOADS.labels(outcome).inc()
        return before is None

    async def _parse(self, answer: Answer) -> Presentation:
        arguments = answer.body, answer.url, self._servers.allows
        return await asyncio.to_thread(parse, *arguments) if len(answer.body) > LARGE_MANIFEST else parse(*arguments)

    async def _look_at_servers(self) -> None:
        """Where several servers have the same media, see to it that the events name one that answers."""
        assert self._loaded is not None
        if not self._loaded.presentation.redundant:
            return
        used = [track[-1][1].addressing for track in self._tracks.values()]
        if await self._servers.look(used):
            self._digest = b""  # so that the next load reads the manifest anew, even the same one

    def _passed(self, presentation: Presentation) -> int | None:
        """Microseconds that have passed of a live presentation."""
        if not presentation.dynamic or presentation.anchor is None:
            return None
        return micros_of(self._server_now()) - micros_of(presentation.anchor)

    async def _ask_time(self, base: str, is_new: bool, sent: float, received: float) -> None:
        """Learn the server's time as the manifest says; where that fails, the `Date` of its answers counts."""
        loaded, monotonic = self._loaded, self._services.times.monotonic
        assert loaded is not None
        recently = self._timed is not None and monotonic() - self._timed < TIME_EVERY
        # Segments wait for the answer: servers that a firewall hides would hold up each load.
        is_due = not recently and (self._asked is None or monotonic() - self._asked >= TIME_EVERY)
        for timing in loaded.presentation.timings:
            if timing.scheme == "direct":
                if is_new and (said := _time_in(timing.value)) is not None:
                    self._clock.learn(said, sent, received)
                    self._timed = monotonic()
                return
            if timing.scheme not in ("http-head", "http-iso", "http-xsdate"):
                continue
            if is_due:
                self._asked = monotonic()
            if recently or (is_due and await self._ask_one(timing, base)):
                return
        if not recently:
            self._timed = None

    async def _ask_one(self, timing: Timing, base: str) -> bool:
        monotonic = self._services.times.monotonic
        for address in timing.value.split()[:TIME_ADDRESSES]:
            uri = urljoin_safe(base, address)
            if uri is None:
                continue
            sent = monotonic()
            try:
                answer = await self._services.read(uri, TIME_SECONDS)
            except ReadError as error:
                log.info("%s: its clock (UTCTiming) does not answer: %s", self._plan.stream.stream_id, error.reason)
                continue
            # What `http-head` asks for is the `Date` of any answer.
            said = answer.date if timing.scheme == "http-head" else _time_in(answer.body[:100].decode(errors="replace"))
            if said is not None:
                self._clock.learn(said, sent, monotonic())
                self._timed = monotonic()
                return True
        return False

    def _follow(self, url: str) -> None:
        """Follow the renditions that the manifest has now, and no others."""
        loaded = self._loaded
        assert loaded is not None
        for name in [name for name in self._renditions if name not in self._tracks]:
            del self._renditions[name]
        for name in self._tracks:
            if name not in self._renditions:
                stream = replace(self._plan.stream, rendition=name)
                self._renditions[name] = Rendition(stream, url, self._services)
        # While there were no renditions, the source was reported without one, and would stay as it was then.
        self._services.retire(self._plan.stream)
        if loaded.anchor is None:
            # A live source's last manifest often has no anchor any more, and its times still count from it.
            anchors = [rendition.status.position.anchor for rendition in self._renditions.values()]
            self._loaded = replace(loaded, anchor=next((anchor for anchor in anchors if anchor is not None), None))

    async def _announce(self, names: Sequence[str]) -> None:
        """Announce what there is of these renditions, all at once: each waits for the broker. Raises what one of them raised."""
        loaded, server_now = self._loaded, self._server_now()
        if loaded is None:
            return
        takings = []
        for index, name in enumerate(names):
            # Once for the stream, and not for each rendition.
            brought = loaded if index == 0 else replace(loaded, dropped={})
            takings.append(self._renditions[name].take(brought, self._tracks[name], server_now))
        self._loaded = replace(loaded, dropped={})
        # All are waited for, so that none is still announcing when the source is run again.
        for result in await asyncio.gather(*takings, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _is_due(self, name: str) -> bool:
        next_at = self._renditions[name].next_at
        return next_at is not None and micros_of(self._server_now()) >= next_at

    def _next_load(self, begun: float) -> float | None:
        """When the manifest is loaded again, after a load that began then; None for never."""
        assert self._loaded is not None
        update = self._loaded.presentation.update
        if self._has_ended():
            return begun + LONGEST_PAUSE
        if update is None:
            return None
        wanted = update if update > 0 else max(self._target(), EVERY_SEGMENT)
        return begun + min(max(wanted, SHORTEST), LONGEST_UPDATE)

    def _pause(self) -> float:
        """Seconds until something is to be done."""
        now = self._services.times.monotonic()
        pauses = [self._due - now] if self._due is not None else []
        if self._failing_since is None:
            server_now = micros_of(self._server_now())
            due = [rendition.next_at for rendition in self._renditions.values() if rendition.next_at is not None]
            pauses += [(next_at - server_now) / SECOND for next_at in due]
        return min(min(pauses, default=LONGEST), LONGEST)

    def _has_ended(self) -> bool:
        return bool(self._renditions) and all(rendition.status.state == "ended" for rendition in self._renditions.values())

    def _is_given_up(self) -> bool:
        since = self._failing_since
        return since is not None and self._services.times.monotonic() - since > GIVE_UP_SECONDS

    def _target(self) -> float:
        return max(status.target for status in self.statuses())

    def _server_now(self) -> datetime:
        times = self._services.times
        return self._clock.now(times.monotonic(), times.now())

    def _fail(self, error: ReadError | PlaylistError) -> None:
        """Note a failure, and put off the next load."""
        times = self._services.times
        metrics.LOADS.labels(error.kind).inc()
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = times.monotonic()
        failing = times.monotonic() - self._failing_since
        for rendition in self._renditions.values():
            rendition.reporter.show("failing", error.reason, error.kind, self._failing_since)
        if not self._renditions:
            self._reporter.show("failing", error.reason, error.kind, self._failing_since)
        if self._failures >= SWITCH_FAILURES and len(self._urls) > 1:
            self._failures, self._server = 0, (self._server + 1) % len(self._urls)
            log.info("%s is now loaded from %s", self._plan.stream.stream_id, without_secrets(self._urls[self._server]))
        chance = self._services.chance()
        pause = next_load("failed", self._target(), failing=failing, retry_after=error.retry_after, chance=chance)
        self._due = times.monotonic() + pause


def _time_in(text: str) -> datetime | None:
    try:
        return date_of(text)
    except (ValueError, OverflowError):
        return None
