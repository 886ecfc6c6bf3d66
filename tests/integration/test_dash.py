"""A live ffmpeg that packages DASH, served over HTTP and followed: each segment is announced once, and is there when it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import aiohttp
import imageio_ffmpeg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.events import SegmentEvent
from streams.ingest.base import SavedPosition, Services, Stream
from streams.ingest.dash.source import SourcePlan
from streams.media.read import Reader

SECONDS = 8
"""Of the live stream; its segments have one each."""

PATIENCE = 40.0
"""Seconds that a segment may be late: ffmpeg encodes it first, and where it names no timeline, the clock tells when."""


def package(folder: Path, timeline: int) -> Sequence[str]:
    """The command of a live stream with two renditions."""
    source = ["-re", "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={SECONDS}"]
    encode = [
        "-map",
        "0",
        "-map",
        "0",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "25",
        "-sc_threshold",
        "0",
        "-s:v:1",
        "160x90",
    ]
    dash = ["-f", "dash", "-seg_duration", "1", "-window_size", "20", "-extra_window_size", "20", "-use_timeline", str(timeline)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *encode, "-bf", "0", *dash]
    return [*command, str(folder / "live.mpd")]


def number_of(event: SegmentEvent) -> int:
    return int(event.uri.removesuffix(".m4s").rpartition("-")[2])


class Announced:
    """Takes events as Kafka would, and asks for each segment at once. late: seconds until it was there."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.events: list[SegmentEvent] = []
        self.late: list[float] = []

    async def publish(self, _: Stream, events: Sequence[SegmentEvent], __: SavedPosition) -> None:
        self.events += events
        # Where there is no timeline, the clock goes on until the manifest that says the end is loaded.
        await asyncio.gather(*(self._ask(event) for event in events if number_of(event) <= SECONDS))

    async def _ask(self, event: SegmentEvent) -> None:
        began = time.monotonic()
        for uri in (event.init_uri or "", event.uri):
            while not await self._is_there(uri):
                assert time.monotonic() - began < PATIENCE, f"{uri} is announced, and not there"
                await asyncio.sleep(0.05)
        self.late.append(time.monotonic() - began)

    async def _is_there(self, uri: str) -> bool:
        async with self.session.get(uri) as answer:
            return answer.status == 200 and len(await answer.read()) > 0


@pytest.mark.parametrize("timeline", [1, 0], ids=["timeline", "template"])
async def test_a_live_ffmpeg_is_followed_to_its_end(timeline: int, tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_static("/", tmp_path)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session, Reader(private=True) as reader:
        ffmpeg = await asyncio.create_subprocess_exec(*package(tmp_path, timeline), stderr=asyncio.subprocess.PIPE)
        announced = Announced(session)
        try:
            plan = SourcePlan(Stream("cam", from_start=True), str(server.make_url("/live.mpd")), "all", once=True)
            async with asyncio.timeout(SECONDS + 60):
                await plan.source(Services(reader.read, announced.publish, allowed=reader.allows)).run()
            _, errors = await ffmpeg.communicate()
        finally:
            if ffmpeg.returncode is None:
                ffmpeg.kill()
                await ffmpeg.wait()
    assert ffmpeg.returncode == 0, errors.decode()
    for rendition in ("180p", "90p"):
        events = [event for event in announced.events if event.rendition == rendition]
        assert [event.sequence for event in events if not event.ended] == list(range(len(events) - 1))
        once = {event.segment_id: event for event in events}
        starts = [event.start.timestamp() for event in once.values()]
        assert len(starts) >= SECONDS
        assert timeline == 0 or len(starts) == SECONDS
        assert all(later - sooner == pytest.approx(1.0, abs=0.05) for sooner, later in pairwise(starts))
        assert [event.ended for event in events][-1]
