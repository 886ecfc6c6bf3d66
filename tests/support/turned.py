"""A clock that a test turns, and a DASH source that is followed by it."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import web

from streams.events import SegmentEvent
from streams.ingest.base import SavedPosition, Services, Stream, Times
from streams.ingest.dash.source import Source, SourcePlan
from streams.ingest.positions import from_bytes, to_bytes
from streams.ingest.states import SourceState
from streams.media.read import Reader
from tests.support.manifests import ANCHOR, manifest, period, timeline, video
from tests.support.origin import Origin, Scripted

BEGIN = 100.0
"""Seconds after the anchor at which the tests begin."""


@dataclass
class Turned:
    """A clock that moves when it is slept on. wrong: seconds by which this machine's clock is ahead of the server's."""

    wrong: float = 0.0
    seconds: float = BEGIN
    published: list[SegmentEvent] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    saved: dict[str | None, SavedPosition] = field(default_factory=dict)
    states: list[tuple[str | None, SourceState]] = field(default_factory=list)
    retired: list[Stream] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)

    async def publish(self, stream: Stream, events: Sequence[SegmentEvent], position: SavedPosition) -> None:
        self.published += events
        self.at += [self.seconds] * len(events)
        _, self.saved[stream.rendition] = from_bytes(to_bytes(stream, position))

    def services(self, reader: Reader) -> Services:
        now = lambda: ANCHOR + timedelta(seconds=self.seconds + self.wrong)  # noqa: E731
        times = Times(now, lambda: self.seconds, self.sleep)
        restore = lambda stream: self.saved.get(stream.rendition)  # noqa: E731
        report = lambda stream, state: self.states.append((stream.rendition, state))  # noqa: E731
        return Services(reader.read, self.publish, restore, times, lambda: 1.0, report, reader.allows, self.retired.append)

    @property
    def files(self) -> list[str]:
        return [event.uri.rpartition("/")[2].partition(".")[0] for event in self.published]

    def answer(self, body: bytes, *, ahead: float = 0.0, headers: dict[str, str] | None = None) -> Scripted:
        """The body, with the server's time."""

        async def answer(_: web.Request) -> web.StreamResponse:
            date = ANCHOR + timedelta(seconds=self.seconds + ahead)
            return web.Response(body=body, headers={"Date": email.utils.format_datetime(date, usegmt=True), **(headers or {})})

        return answer


def rows(first: int, count: int) -> bytes:
    """A live manifest with a timeline: segments of 2 s by their number since the anchor."""
    return manifest(period(video(timeline(f"t={first * 2000} d=2000 r={count - 1}"))))


def final(first: int, count: int) -> bytes:
    return manifest(
        period(video(timeline(f"t={first * 2000} d=2000 r={count - 1}"))),
        kind="static",
        attributes='mediaPresentationDuration="PT1H"',
    )


async def follow(source: Source, clock: Turned, until: Callable[[], bool]) -> None:
    """Run the source until a condition holds, at most for ten minutes of its time."""
    task = asyncio.create_task(source.run())
    try:
        while not until():
            assert clock.seconds < BEGIN + 600
            assert not task.done() or task.exception() is None
            await asyncio.sleep(0)
            if task.done():
                return
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def made(origin: Origin, reader: Reader, clock: Turned, **options: str | bool) -> Source:
    path = str(options.pop("path", "/live.mpd"))
    from_start = bool(options.pop("from_start", False))
    return Source(SourcePlan(Stream("news", from_start=from_start), origin.url(path), **options), clock.services(reader))  # type: ignore[arg-type]
