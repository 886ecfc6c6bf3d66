"""A source: master playlists, and what happens when their renditions fail."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence

import pytest
from aiohttp import web

from streams.events import SegmentEvent
from streams.ingest.base import SavedPosition, Services, Stream, Times
from streams.ingest.hls.source import Source, SourcePlan
from streams.ingest.states import SourceState
from streams.media.read import Reader
from tests.support.origin import Origin
from tests.support.waiting import wait_for
from tests.unit.ingest.test_hls_rendition import playlist

MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360\n{}\n#EXT-X-STREAM-INF:BANDWIDTH=9,RESOLUTION=1280x720\n{}\n"
END = "#EXT-X-ENDLIST"


class Fast:
    """A clock that takes no time, and lets other tasks go on. published: the files that were announced, with their renditions.
    kept: the renditions that a process before had."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.events: list[SegmentEvent] = []
        self.reports: list[tuple[Stream, SourceState]] = []
        self.retired: list[Stream] = []
        self.kept: set[str | None] = set()

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0.001)

    async def publish(self, _: Stream, events: Sequence[SegmentEvent], __: SavedPosition) -> None:
        self.events += events

    def services(self, reader: Reader) -> Services:
        times = Times(monotonic=lambda: self.seconds, sleep=self.sleep)
        return Services(
            reader.read, self.publish, times=times, chance=lambda: 1.0,
            report=lambda *report: self.reports.append(report), retire=self.retired.append,
            renditions=lambda _: {stream.rendition for stream, _ in self.reports} | self.kept,
        )  # fmt: skip

    @property
    def published(self) -> list[tuple[str | None, str]]:
        return [(event.rendition, event.uri.rpartition("/")[2].partition(".")[0]) for event in self.events]


async def test_a_user_and_password_open_all_that_the_source_names_on_its_server(origin: Origin, reader: Reader) -> None:
    async def guarded(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {b64encode(b'kim:s3/cret@').decode()}":
            return web.Response(status=401)
        text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n" if request.path == "/master.m3u8" else playlist(1, 1, END)
        return web.Response(text=text)

    clock = Fast()
    for path in ("/master.m3u8", "/a.m3u8"):
        origin.script(path, guarded)
    address = origin.url("/master.m3u8").replace("://", "://kim:s3%2Fcret%40@")
    source = Source(SourcePlan(Stream("news"), address, once=True), clock.services(reader))
    await source.run()
    assert [event.uri for event in clock.events] == [origin.url("/1.ts").replace("://", "://kim:s3%2Fcret%40@")]
    assert "s3" not in source.statuses()[0].source


async def test_a_playlist_of_segments_is_loaded_once_at_the_start(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", playlist(1, 2, END))
    source = Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader))
    await source.run()
    assert origin.requests == ["/live.m3u8"]
    assert clock.published == [(None, "1"), (None, "2")]


async def test_a_playlist_none_of_whose_segments_can_be_read_is_failing(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", "#EXTM3U\n#EXTINF:2,\nfile:///1.ts\n", playlist(2, 3, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert [(state.state, state.kind) for _, state in clock.reports] == [("failing", "no-playlist"), ("ended", "")]
    assert clock.published == [(None, "2"), (None, "3"), (None, "4")]


async def test_all_renditions_are_followed_each_with_its_name(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"))
    origin.script("/low.m3u8", playlist(5, 1, END))
    origin.script("/high.m3u8", playlist(7, 1, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), "all", once=True), clock.services(reader)).run()
    assert sorted(clock.published, key=str) == [("360p", "5"), ("720p", "7")]


async def test_a_source_that_is_away_at_the_start_is_asked_until_it_is_there(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", 404, "<html>", playlist(1, 1, END))
    source = Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader))
    await source.run()
    assert clock.published == [(None, "1")]
    assert clock.retired == []
    assert [(stream.stream_id, state.state, state.kind) for stream, state in clock.reports] == [
        ("news", "failing", "not-found"), ("news", "failing", "no-playlist"), ("news", "ended", "")
    ]  # fmt: skip


async def test_a_failure_of_before_the_renditions_were_known_does_not_stay(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", 404, MASTER.format("low.m3u8", "high.m3u8"))
    origin.script("/high.m3u8", playlist(1, 1, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert [(stream.rendition, state.state) for stream, state in clock.reports] == [(None, "failing"), ("720p", "ended")]
    assert clock.retired == [Stream("news")]


async def test_once_gives_up_a_source_that_stays_away(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/gone.m3u8", playlist(1, 2), 404)
    for path in ("/never.m3u8", "/gone.m3u8"):
        source = Source(SourcePlan(Stream("news"), origin.url(path), once=True), clock.services(reader))
        clock.seconds = 0
        await source.run()
        assert source.statuses()[0].state == "failing"
        assert 300 < clock.seconds < 330
    patient = Source(SourcePlan(Stream("news"), origin.url("/never.m3u8")), clock.services(reader))
    clock.seconds = 0
    asking = asyncio.create_task(patient.run())
    await asyncio.to_thread(wait_for, "400 seconds of the fast clock", lambda: clock.seconds > 400 or asking.done(), 60)
    assert not asking.done(), "without `once` it is asked for ever"
    asking.cancel()


async def test_variables_of_the_master_playlist_reach_its_renditions(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8") + '#EXT-X-DEFINE:NAME="cdn",VALUE="edge-7"\n')
    origin.script("/high.m3u8", '#EXTM3U\n#EXT-X-DEFINE:IMPORT="cdn"\n#EXTINF:2\n/{$cdn}/1.ts\n' + END)
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert [event.uri for event in clock.events] == [origin.url("/edge-7/1.ts")]


async def test_renditions_that_fail_for_long_make_the_master_be_loaded_again(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"), MASTER.format("low.m3u8", "new.m3u8"))
    origin.script("/high.m3u8", playlist(1, 2), 404)
    origin.script("/new.m3u8", playlist(2, 2, END))
    source = Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader))
    await source.run()
    assert clock.published == [("720p", "2"), ("720p", "3")]
    assert [status.source for status in source.statuses()] == [origin.url("/new.m3u8")]


async def test_a_playlist_that_stands_still_makes_the_master_be_loaded_again(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"), MASTER.format("low.m3u8", "new.m3u8"))
    origin.script("/high.m3u8", playlist(1, 2))
    origin.script("/new.m3u8", playlist(2, 2, END))
    running = asyncio.create_task(Source(SourcePlan(Stream("news"), origin.url("/live.m3u8")), clock.services(reader)).run())
    await asyncio.to_thread(wait_for, "its segment or two minutes", lambda: len(clock.events) > 1 or clock.seconds > 120, 60)
    running.cancel()
    assert clock.published[:2] == [("720p", "2"), ("720p", "3")]


async def test_the_next_stream_may_have_other_playlists_than_the_one_that_has_ended(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    master = MASTER.format("low.m3u8", "high.m3u8")
    origin.script("/live.m3u8", master, master, MASTER.format("low.m3u8", "new.m3u8"))
    origin.script("/high.m3u8", playlist(7, 1, END))
    origin.script("/new.m3u8", playlist(0, 1))
    running = asyncio.create_task(Source(SourcePlan(Stream("news"), origin.url("/live.m3u8")), clock.services(reader)).run())
    await asyncio.to_thread(wait_for, "its segment or two minutes", lambda: len(clock.events) > 1 or clock.seconds > 120, 60)
    running.cancel()
    assert clock.published[:2] == [("720p", "7"), ("720p", "0")]


async def test_a_master_that_is_away_with_its_renditions_is_said_once(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"), 404)
    origin.script("/high.m3u8", playlist(1, 2), 404)
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert origin.requests.count("/live.m3u8") > 10
    assert caplog.text.count("its master playlist cannot be loaded either") == 1


async def test_addresses_that_have_expired_are_signed_anew_before_a_window_has_passed(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"), MASTER.format("low.m3u8", "new.m3u8"))
    origin.script("/high.m3u8", *[playlist(number, 2) for number in range(1, 8)], 403)
    origin.script("/new.m3u8", playlist(8, 2, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    # Seven loads, and three that are refused; one more where the machine is slow.
    assert origin.requests.count("/high.m3u8") in (10, 11)


async def test_a_playlist_that_becomes_a_master_is_followed_as_one(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", playlist(1, 2), MASTER.format("low.m3u8", "high.m3u8"))
    origin.script("/high.m3u8", playlist(7, 1, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert clock.published == [(None, "2"), ("720p", "7")]
    assert clock.retired == [Stream("news")]


async def test_a_master_that_becomes_a_playlist_of_segments_leaves_no_record_of_its_renditions(
    origin: Origin, reader: Reader
) -> None:
    clock = Fast()
    origin.script("/live.m3u8", MASTER.format("low.m3u8", "high.m3u8"), playlist(7, 1, END))
    origin.script("/low.m3u8", playlist(1, 2))
    origin.script("/high.m3u8", playlist(1, 2), 404)
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), "all", once=True), clock.services(reader)).run()
    assert clock.published[-1] == (None, "7")
    assert clock.retired[-2:] == [Stream("news", "360p"), Stream("news", "720p")]


async def test_a_master_that_became_a_playlist_of_segments_in_a_pause_leaves_no_record_of_its_renditions(
    origin: Origin, reader: Reader
) -> None:
    clock = Fast()
    clock.kept = {"720p", None, "360p"}
    origin.script("/live.m3u8", playlist(7, 1, END))
    await Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), clock.services(reader)).run()
    assert clock.retired == [Stream("news", "360p"), Stream("news", "720p")]


async def test_a_failure_leaves_no_task_and_the_next_run_goes_on(origin: Origin, reader: Reader) -> None:
    clock = Fast()
    origin.script("/live.m3u8", playlist(1, 2), playlist(1, 3), playlist(1, 4, END))
    services = clock.services(reader)
    calls = 0

    async def publish(stream: Stream, events: Sequence[SegmentEvent], position: SavedPosition) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the second is refused")
        await clock.publish(stream, events, position)

    broken = Services(services.read, publish, times=services.times)
    source = Source(SourcePlan(Stream("news"), origin.url("/live.m3u8"), once=True), broken)
    with pytest.raises(RuntimeError):
        await source.run()
    assert not [task for task in asyncio.all_tasks() if "Rendition" in repr(task.get_coro())]
    await source.run()
    assert clock.published == [(None, "2"), (None, "3"), (None, "4")]
