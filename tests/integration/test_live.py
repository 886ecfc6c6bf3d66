"""`fvq ingest hls` and `dash` with a real Kafka and a real origin: kill -9 in mid-stream, a restart, status and metrics."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from streams.events import SEGMENTS_TOPIC, SegmentEvent
from streams.ingest.run import END_SECONDS
from tests.support.origin import Origin
from tests.support.pages import read_page
from tests.support.processes import FVQ, Worker, fvq
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower
from tests.support.waiting import lost_time

pytestmark = pytest.mark.timeout(900)
SEGMENT, WINDOW = 0.5, 240
"""Seconds of a segment, and segments of the playlist: 120 s, longer than a killed ingester needs to be there again."""

MOST_REPEATS = 45
"""Segments that three kills may let an ingester announce again: some seconds of the source for each, not a whole playlist."""


def live(dates: bool) -> Callable[[web.Request], Any]:
    """A live playlist whose segments appear by the clock."""
    began = time.time()

    async def playlist(_: web.Request) -> web.StreamResponse:
        newest = 100 + int((time.time() - began) / SEGMENT)
        first = max(100, newest - WINDOW + 1)
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        if dates:
            date = datetime.fromtimestamp(began + SEGMENT * (first - 100), UTC)
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat(timespec='milliseconds')}")
        for number in range(first, newest + 1):
            lines += [f"#EXTINF:{SEGMENT},", f"{number}.ts?signature={time.time_ns()}"]
        return web.Response(text="\n".join(lines))

    return playlist


def live_manifest() -> Callable[[web.Request], Any]:
    """A live DASH manifest whose segments appear by the clock."""
    began = time.time()
    anchor = datetime.fromtimestamp(began - 100 * SEGMENT, UTC).isoformat(timespec="milliseconds")

    async def manifest(_: web.Request) -> web.StreamResponse:
        newest = 100 + int((time.time() - began) / SEGMENT)
        first = max(100, newest - WINDOW + 1)
        units = int(1000 * SEGMENT)
        return web.Response(
            text=f"""<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"
            availabilityStartTime="{anchor}" minimumUpdatePeriod="PT0.5S">
            <Period start="PT0S"><AdaptationSet mimeType="video/mp4"><SegmentTemplate timescale="1000" startNumber="{first}"
            media="$Number$.m4s?signature={time.time_ns()}" initialization="init.mp4"><SegmentTimeline>
            <S t="{first * units}" d="{units}" r="{newest - first}"/></SegmentTimeline></SegmentTemplate>
            <Representation id="v" bandwidth="1" height="720"/></AdaptationSet></Period></MPD>"""
        )

    return manifest


async def until(expected: str, reached: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait without holding up the origin, which runs in this loop."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(reached):
        assert time.monotonic() < deadline, f"{expected}: not within {seconds:.0f} s"
        await asyncio.sleep(0.1)


def states_at(port: int) -> dict[str, str]:
    """The state of each source of the ingester at this port; none while it does not answer."""
    status, page = read_page(port, "/status")
    return {source["stream"]: source["state"] for source in json.loads(page)["sources"]} if status == 200 else {}


def number_of(event: SegmentEvent) -> int:
    return int(event.uri.rpartition("/")[2].partition(".")[0])


@pytest.mark.parametrize("kind", ["hls with dates", "hls without dates", "dash"])
async def test_a_killed_ingester_skips_nothing_and_names_each_segment_once(kind: str, kafka: KafkaServer, tmp_path: Path) -> None:
    await asyncio.to_thread(fvq, "topics", "create", FVQ_BROKER=kafka.broker)
    port = free_ports(1)
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_FETCH_PRIVATE": "true", "FVQ_INGEST_PORT": str(port)}
    async with Origin() as origin:
        origin.script("/news.m3u8", live_manifest() if kind == "dash" else live(dates=kind == "hls with dates"))
        command = [
            FVQ,
            "ingest",
            kind.partition(" ")[0],
            f"news={origin.url('/news.m3u8')}?token=s3cret",
            f"away={origin.url('/away.m3u8')}",
        ]
        ingester = Worker("ingest", tmp_path, command=command, **settings).start()
        follower = await asyncio.to_thread(Follower, kafka.broker, SEGMENTS_TOPIC)

        def events() -> list[SegmentEvent]:
            return [SegmentEvent.from_bytes(value) for value in list(follower.read())]

        async def wait_for_more() -> None:
            wanted = len(await asyncio.to_thread(events)) + 5
            await until(f"{wanted} events\n{ingester.tail()}", lambda: len(events()) >= wanted)

        try:
            for _ in range(3):
                await wait_for_more()
                await asyncio.to_thread(ingester.kill)
                ingester.start()
            await wait_for_more()
            # After a start, sources are asked for the first time one after the other.
            await until(f"both are known\n{ingester.tail()}", lambda: states_at(port) == {"news": "live", "away": "failing"})
            status = await asyncio.to_thread(fvq, "ingest", "status", "--json", **settings)
            table = await asyncio.to_thread(fvq, "ingest", "status", **settings)
            metrics = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
            began = time.monotonic()
            code = await asyncio.to_thread(ingester.terminate)
            assert code == 0 or time.monotonic() - began > END_SECONDS, ingester.tail()
            announced = await asyncio.to_thread(events)
        finally:
            await asyncio.to_thread(ingester.kill)
            await asyncio.to_thread(follower.close)
    once = {event.segment_id: event for event in announced}
    numbers = [number_of(event) for event in once.values()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "each segment once, in order, and none is missing"
    assert [event.sequence for event in once.values()] == list(range(len(numbers)))
    assert len(announced) - len(once) <= MOST_REPEATS, "a kill repeats at most what was on its way"
    states = {source["stream"]: source for source in json.loads(status.stdout)["sources"]}
    assert (states["news"]["state"], states["away"]["state"]) == ("live", "failing")
    assert "not there (HTTP 404)" in states["away"]["reason"]
    assert "away" in table.stdout
    assert "failing" in table.stdout
    assert 'fvq_ingest_sources{state="live"} 1.0' in metrics
    assert "s3cret" not in ingester.log.read_text() + status.stdout + metrics
    assert "lost " not in ingester.log.read_text()


async def test_it_ends_when_it_is_told_to_while_kafka_is_away(kafka: KafkaServer, tmp_path: Path) -> None:
    await asyncio.to_thread(fvq, "topics", "create", FVQ_BROKER=kafka.broker)
    async with Origin() as origin:
        origin.script("/news.m3u8", live(dates=True))
        command = [FVQ, "ingest", "hls", f"news={origin.url('/news.m3u8')}"]
        settings = {"FVQ_BROKER": kafka.broker, "FVQ_FETCH_PRIVATE": "true"}
        ingester = Worker("ingest", tmp_path, command=command, **settings).start()
        try:
            await until(f"the source is live\n{ingester.tail()}", lambda: "news is live" in ingester.log.read_text())
            await asyncio.to_thread(kafka.stop)
            await asyncio.sleep(2 * SEGMENT)  # a batch is on its way that nobody takes
            with lost_time() as lost:
                began = time.monotonic()
                assert await asyncio.to_thread(ingester.terminate, 60) in (0, 1)
                assert time.monotonic() - began < 20 + lost()
        finally:
            await asyncio.to_thread(ingester.kill)
