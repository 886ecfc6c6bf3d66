"""Follows one rendition: loads its playlist again and again, and announces what is new in it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence

from streams.ingest import metrics
from streams.ingest.base import Position, SavedPosition, Services, State, Status, Stream
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.schedule import PATIENCE, SEARCHES, Outcome, longest_load, next_load, search
from streams.ingest.hls.tracker import Notes, realign, step
from streams.ingest.hls.values import MasterPlaylist, MediaPlaylist, PlaylistError
from streams.media.read import Answer, ReadError
from streams.media.uri import without_secrets

log = logging.getLogger(__name__)

LARGE_PLAYLIST = 100_000
"""Bytes from which a playlist is read in a thread: 20,000 segments take a third of a second, and no other source must wait."""

STALE_TARGETS = 1.5
"""Target durations without a new segment, from which a playlist is stale (RFC 8216bis, 6.2.2)."""

SWITCH_FAILURES, SWITCH_TARGETS = 3, 3.0
"""Failures in a row, or target durations without a new segment, from which the next server is asked."""

LATE_TARGETS = 0.1
"""Target durations by which a load may begin late and count as begun in time."""


class Rendition:
    """One rendition of a source.

    urls: of its playlist; more than one where servers stand in for each other. variables: of the master playlist. trouble: is
    called after a load where the source should be looked at anew; True where a master playlist stands at the address. once: the
    following ends when the stream does.
    """

    def __init__(
        self,
        stream: Stream,
        urls: Sequence[str],
        services: Services,
        variables: Mapping[str, str] | None = None,
        trouble: Callable[[bool], None] = lambda _: None,
        once: bool = False,
    ) -> None:
        self.stream, self.variables = stream, dict(variables or {})
        self._urls, self._services, self._trouble, self._once = tuple(urls), services, trouble, once
        saved = services.restore(stream)
        self.status = Status(stream.stream_id, stream.rendition, without_secrets(self._urls[0]))
        self._from: str | None = None
        if saved is not None:
            self.status.position = saved.position
            self._from = self._urls[0] if saved.source == self.status.source else saved.source
        self._server = 0
        self._digest = b""
        self._newest: float | None = None
        self._window = 0
        self._tries = SEARCHES
        self._due: float | None = None
        self._failures = 0
        self._failing_since: float | None = None
        self._waiting_since = services.times.monotonic()

    def use(self, urls: Sequence[str], variables: Mapping[str, str]) -> None:
        """From the next load on, take these addresses and variables."""
        if tuple(urls) != self._urls:
            self._urls, self._server = tuple(urls), 0
        self.variables = dict(variables)

    async def follow(self, first: Answer | None = None) -> None:
        """Load until cancelled; with `once` until the stream has ended. first: the first load's answer, where it is there."""
        while True:
            seconds = await self.load(first)
            first = None
            if self._once and self.status.state == "ended":
                return
            await self._services.times.sleep(seconds)

    async def load(self, answer: Answer | None = None) -> float:
        """Load once and announce what is new; returns the seconds until the next load should begin."""
        monotonic = self._services.times.monotonic
        begun, url = self._begin(), self._urls[self._server]
        number = self.status.position.number
        try:
            if answer is None:
                with metrics.LOAD_SECONDS.time():
                    answer = await self._services.read(url, longest_load(self.status.target))
            outcome = await self._take(answer, url)
        except (ReadError, PlaylistError) as error:
            return self._fail(error)
        metrics.LOADS.labels(outcome).inc()
        self._failures, self._failing_since = 0, None
        new = (self.status.position.number or 0) - (number or 0)
        self._tries, factor = search(self._tries, outcome, new, self._window)
        self._due = begun + factor * next_load(outcome, self.status.target, self._newest)
        return max(0.0, self._due - monotonic())

    def _begin(self) -> float:
        """When the load begins that begins now: when it was due. Else each late wake-up would put off all loads after it."""
        now = self._services.times.monotonic()
        due, self._due = self._due, None
        return due if due is not None and 0 <= now - due < LATE_TARGETS * self.status.target else now

    async def _take(self, answer: Answer, url: str) -> Outcome:
        status, before = self.status, self.status.position
        digest = hashlib.blake2b(answer.body, digest_size=16).digest()
        notes = Notes()
        # A playlist that went back has to be looked at each time: it is a restart if it stays.
        if digest != self._digest or before.loads_back or self._from != url:
            large = len(answer.body) > LARGE_PLAYLIST
            arguments = answer.body, answer.url, self.variables
            playlist = await asyncio.to_thread(parse, *arguments) if large else parse(*arguments)
            if isinstance(playlist, MasterPlaylist):
                self._trouble(True)
                raise PlaylistError("there is a master playlist where the list of segments was")
            notes = await self._announce(playlist, url)
            self._digest, self._from = digest, url
        after = status.position
        progress = (before.epoch, before.number, before.ended) != (after.epoch, after.number, after.ended)
        now = self._services.times.monotonic()
        if progress or status.changed is None:
            status.changed = self._waiting_since = now
        if after.ended:
            self._show("ended")
            return "ended"
        if now - status.changed > STALE_TARGETS * status.target:
            self._show(
                "stale", f"no new segment for {now - status.changed:.1f} s, and the target duration is {status.target:g} s"
            )
        elif notes.encrypted:
            self._show("encrypted", "the segments are encrypted, by a method other than AES-128 with a plain key")
        elif status.state != "encrypted" or progress:
            self._show("live")
        if now - self._waiting_since > SWITCH_TARGETS * status.target:
            self._switch()
        return "changed" if progress else "unchanged"

    async def _announce(self, playlist: MediaPlaylist, url: str) -> Notes:
        """Announce what is new in a playlist, and keep the position after it."""
        status, now = self.status, self._services.times.now()
        before = status.position
        if self._from is not None and self._from != url:
            before = realign(before, playlist, now)
        after, events, notes = step(self.stream, before, playlist, now)
        if events or (before.epoch, before.number, before.ended) != (after.epoch, after.number, after.ended):
            await self._services.publish(self.stream, events, SavedPosition(after, without_secrets(url)))
        status.position, status.target = after, playlist.target
        status.announced += len(events)
        self._newest, self._window = playlist.segments[-1].duration if playlist.segments else None, len(playlist.segments)
        if notes.skew is not None:
            status.skew = notes.skew
        self._count(notes, before, playlist)
        return notes

    def _count(self, notes: Notes, before: Position, playlist: MediaPlaylist) -> None:
        self.status.count(notes.counts)
        if notes.counts["lost"] and before.number is not None:
            first, last = before.number + 1, before.number + notes.counts["lost"]
            log.warning("%s lost %d segments, %d to %d: they left the playlist", self._name(), last - first + 1, first, last)
        if notes.counts["restarts"]:
            log.warning("%s has restarted: its numbers begin anew at %d", self._name(), playlist.first)

    def _fail(self, error: ReadError | PlaylistError) -> float:
        """Note a failure; returns the seconds until the next load."""
        times = self._services.times
        metrics.LOADS.labels(error.kind if isinstance(error, ReadError) else "no-playlist").inc()
        self._failures += 1
        self._tries, _ = search(self._tries, "failed", 0, self._window)
        if self._failing_since is None:
            self._failing_since = times.monotonic()
        failing = times.monotonic() - self._failing_since
        self._show("failing", error.reason)
        if self._failures >= SWITCH_FAILURES:
            self._switch()
        if failing > PATIENCE:
            self._trouble(False)
        retry_after = error.retry_after if isinstance(error, ReadError) else 0.0
        return next_load("failed", self.status.target, failing=failing, retry_after=retry_after, chance=self._services.chance())

    def _switch(self) -> None:
        """Ask the next server from now on, where there is one."""
        self._failures, self._waiting_since = 0, self._services.times.monotonic()
        if len(self._urls) > 1:
            self._server = (self._server + 1) % len(self._urls)
            self.status.source = without_secrets(self._urls[self._server])
            log.info("%s is now loaded from %s", self._name(), self.status.source)

    def _show(self, state: State, reason: str = "") -> None:
        """Set the state, and log it where it is another."""
        self.status.show(state, reason, log)

    def _name(self) -> str:
        return self.status.name
