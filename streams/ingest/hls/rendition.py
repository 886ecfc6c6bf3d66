"""Follows one rendition: loads its playlist again and again, and announces what is new in it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.ingest import metrics
from streams.ingest.base import GIVE_UP_SECONDS, Position, SavedPosition, Services, Status, Stream
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.schedule import LONGEST, PATIENCE, SEARCHES, SHORTEST, Outcome, longest_load, next_load, search, stay_of
from streams.ingest.hls.servers import is_abreast, is_behind, realign
from streams.ingest.hls.tracker import Notes, step
from streams.ingest.hls.values import MasterPlaylist, MediaPlaylist, PlaylistError
from streams.ingest.reporter import Reporter
from streams.ingest.states import STALE_TARGETS
from streams.media.read import Answer, ReadError
from streams.media.shown import without_secrets

log = logging.getLogger(__name__)

LARGE_PLAYLIST = 100_000
"""Bytes from which a playlist is read in a thread: 20,000 segments take a third of a second, and no other source must wait."""

SWITCH_FAILURES, SWITCH_TARGETS = 3, 3.0
"""Failures in a row, or target durations without a new segment, from which the next server is asked."""

RETURN_SECONDS, RETURN_LOOKS = 15.0, 3
"""Seconds between two looks at the first server while another is loaded, and how many in a row must show it abreast."""

LATE_TARGETS = 0.1
"""Target durations by which a load may begin late and count as begun in time."""


@dataclass
class _FirstServer:
    """The first server while another one is loaded. looked: monotonic time of the last look. good: good ones in a row."""

    looked: float = 0.0
    good: int = 0


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
        self._reporter = Reporter(stream, self.status, services, log)
        self._from: str | None = None
        self._met: tuple[str, int] | None = None
        self._is_complete = False
        if saved is not None:
            self.status.position = saved.position
            self._from = self._urls[0] if saved.source == self.status.source else saved.source
        self._server = 0
        self._first_server = _FirstServer()
        self._digest = b""
        self._newest: float | None = None
        self._window, self._stay = 0, LONGEST
        self._tries = SEARCHES
        self._due: float | None = None
        self._failures = 0
        self._failing_since: float | None = None
        self._waiting_since = services.times.monotonic()

    def use(self, urls: Sequence[str], variables: Mapping[str, str]) -> None:
        """From the next load on, take these addresses and variables."""
        if tuple(urls) != self._urls:
            self._urls, self._server, self._first_server = tuple(urls), 0, _FirstServer()
            self.status.source = without_secrets(self._urls[0])
        self.variables = dict(variables)

    async def follow(self, first: Answer | None = None) -> None:
        """Load until cancelled; with `once` until the stream has ended, or cannot be loaded for `GIVE_UP_SECONDS`.

        first: the first load's answer, where it is there.
        """
        while True:
            seconds = await self.load(first)
            first = None
            if self._once and (self.status.state == "ended" or self._failing_seconds() > GIVE_UP_SECONDS):
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
        self._due = begun + factor * next_load(outcome, self.status.target, self._newest, stay=self._stay)
        await self._look_at_first_server(self._due - monotonic())
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
            playlist = await self._parsed(answer)
            if isinstance(playlist, MasterPlaylist):
                self._trouble(True)
                raise PlaylistError("there is a master playlist where the list of segments was")
            # What another server does not have yet was announced, and would be again when it has.
            if not self._waits_for(playlist, url):
                notes = await self._announce(playlist, url)
                self._digest, self._from = digest, url
        after = status.position
        progress = (before.epoch, before.number, before.ended) != (after.epoch, after.number, after.ended)
        now = self._services.times.monotonic()
        if progress or status.changed is None:
            status.changed = self._waiting_since = now
        if after.ended:
            self._reporter.show("ended")
            if not self._once:
                self._trouble(False)  # the next stream may have playlists of other names
            # Numbers that go back after the end, or a list that is empty, are a stream that begins again: look soon.
            return "unchanged" if after.loads_back or not self._is_complete else "ended"
        if now - status.changed > STALE_TARGETS * status.target:
            reason = f"no new segment for {now - status.changed:.1f} s, and the target duration is {status.target:g} s"
            self._reporter.show("stale", reason, since=status.changed)
        else:
            reason = "the segments are encrypted, by a method other than AES-128 with a plain key"
            self._reporter.show_going(progress, notes.encrypted, reason)
        if now - self._waiting_since > SWITCH_TARGETS * status.target:
            self._trouble(False)  # an encoder that has restarted may have left this playlist as it was, and write another one
            self._switch()
        return "changed" if progress else "unchanged"

    def _waits_for(self, playlist: MediaPlaylist, url: str) -> bool:
        """Whether this is the playlist of another server than before, which is behind."""
        if self._from is None or self._from == url:
            self._met = None
            return False
        if self._met is None or self._met[0] != url:
            self._met = url, playlist.next_number
        return is_behind(self.status.position, playlist, self._services.times.now(), self._met[1])

    async def _parsed(self, answer: Answer) -> MediaPlaylist | MasterPlaylist:
        large = len(answer.body) > LARGE_PLAYLIST
        body = answer.body
        last = body[body.rfind(b"\n") + 1 :]
        if not answer.has_length and last and not last.startswith(b"#"):
            body = body[: -len(last)]  # it may be half an address; the whole one is there in the next load
        arguments = body, answer.url, self.variables
        return await asyncio.to_thread(parse, *arguments) if large else parse(*arguments)

    async def _announce(self, playlist: MediaPlaylist, url: str) -> Notes:
        """Announce what is new in a playlist, and keep the position after it."""
        status, now = self.status, self._services.times.now()
        before = status.position
        if self._from is not None and self._from != url:
            before = realign(before, playlist, now)
        playlist = self._without_refused(playlist, before.number)
        after, events, notes = step(self.stream, before, playlist, now)
        if events or (before.epoch, before.number, before.ended) != (after.epoch, after.number, after.ended):
            await self._services.publish(self.stream, events, SavedPosition(after, without_secrets(url)))
        status.move(after, events)
        self._is_complete = playlist.ended
        status.target = playlist.target
        self._reporter.found(notes.counts, announced=bool(events))
        durations = [segment.duration for segment in playlist.segments]
        self._newest, self._window, self._stay = durations[-1] if durations else None, len(durations), stay_of(durations)
        if notes.skew is not None:
            status.skew = notes.skew
        self._tell_of(notes, before, playlist)
        return notes

    def _without_refused(self, playlist: MediaPlaylist, number: int | None) -> MediaPlaylist:
        """The playlist without new segments that no worker may fetch. Raises `PlaylistError` where it has no others, or none at
        all that can be read."""
        if not playlist.segments and playlist.dropped.get("segment"):
            raise PlaylistError("none of its segments has an address by http(s), a duration and all else that can be read")
        new = [segment for segment in playlist.segments if number is None or segment.number > number]
        refused = {segment.number for segment in new if not all(self._services.allowed(uri) for uri in segment.uris)}
        if not refused:
            return playlist
        if len(refused) == len(new):
            uris = [uri for uri in new[-1].uris if not self._services.allowed(uri)]
            raise PlaylistError(f"its segments are where nothing may be fetched from, as {without_secrets(uris[0])}")
        segments = tuple(segment for segment in playlist.segments if segment.number not in refused)
        return replace(playlist, segments=segments, dropped=Counter(playlist.dropped) + Counter(segment=len(refused)))

    def _tell_of(self, notes: Notes, before: Position, playlist: MediaPlaylist) -> None:
        if notes.counts["lost"] and before.number is not None:
            first, last = before.number + 1, before.number + notes.counts["lost"]
            log.warning("%s lost %d segments, %d to %d: they left the playlist", self.status.name, last - first + 1, first, last)
        if notes.counts["restarts"]:
            log.warning("%s has restarted: its numbers begin anew at %d", self.status.name, playlist.first)

    def _fail(self, error: ReadError | PlaylistError) -> float:
        """Note a failure; returns the seconds until the next load."""
        times = self._services.times
        metrics.LOADS.labels(error.kind).inc()
        self._failures += 1
        self._tries, _ = search(self._tries, "failed", 0, self._window)
        if self._failing_since is None:
            self._failing_since = times.monotonic()
        failing = self._failing_seconds()
        self._reporter.show("failing", error.reason, error.kind, self._failing_since)
        if self._failures >= SWITCH_FAILURES or failing > PATIENCE:
            self._trouble(False)  # before a window has passed: the master playlist may have signed the addresses anew
        if self._failures >= SWITCH_FAILURES:
            self._switch()
        chance = self._services.chance()
        return next_load("failed", self.status.target, failing=failing, retry_after=error.retry_after, chance=chance)

    def _failing_seconds(self) -> float:
        """How long no load has succeeded, 0 where the last one did."""
        return self._services.times.monotonic() - self._failing_since if self._failing_since is not None else 0.0

    def _switch(self) -> None:
        """Ask the next server from now on, where there is one."""
        self._use_server((self._server + 1) % len(self._urls))

    def _use_server(self, number: int) -> None:
        self._failures, self._waiting_since = 0, self._services.times.monotonic()
        if number != self._server:
            self._server, self._first_server = number, _FirstServer(self._waiting_since)
            self.status.source = without_secrets(self._urls[number])
            log.info("%s is now loaded from %s", self.status.name, self.status.source)

    async def _look_at_first_server(self, seconds: float) -> None:
        """Go back to the first server when it is well again. seconds: until the next load, which must not wait for it."""
        first, now = self._first_server, self._services.times.monotonic()
        apart = max(RETURN_SECONDS, 2 * self.status.target)
        if self._server == 0 or now - first.looked < apart or seconds < SHORTEST / 2:
            return
        first.looked = now
        try:
            answer = await self._services.read(self._urls[0], seconds)
            playlist = await self._parsed(answer)
        except (ReadError, PlaylistError):
            first.good = 0
            return
        well = isinstance(playlist, MediaPlaylist) and is_abreast(self.status.position, playlist, self._services.times.now())
        first.good = first.good + 1 if well else 0
        if first.good >= RETURN_LOOKS:
            self._use_server(0)
