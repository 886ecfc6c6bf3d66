"""Following a DASH source from load to load, from a real server, with a clock that the test turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from aiohttp import web

from streams.events import SegmentEvent
from streams.ingest import metrics
from streams.ingest.base import GIVE_UP_SECONDS, SavedPosition, Services, Stream
from streams.ingest.dash.source import Source, SourcePlan
from streams.ingest.live import Pauses, Supervisor
from streams.media.read import Reader
from tests.support.manifests import ANCHOR, TEMPLATE, manifest, period, timeline, video
from tests.support.origin import Origin, Scripted, patient
from tests.support.turned import BEGIN, Turned, final, follow, made, rows


async def test_a_timeline_is_followed_to_its_end(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    bodies = [rows(45, 5), rows(45, 5), rows(46, 5), rows(48, 5), final(48, 6)]
    origin.script("/live.mpd", *(clock.answer(body) for body in bodies))
    await made(origin, reader, clock, once=True).run()
    assert clock.files == [str(2000 * number) for number in (49, 50, 51, 52, 53)]
    assert [event.ended for event in clock.published] == [False, False, False, False, True]
    assert clock.at == [BEGIN, BEGIN + 4, BEGIN + 6, BEGIN + 6, BEGIN + 8]


async def test_a_template_comes_by_the_clock_and_its_manifest_is_loaded_once(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", clock.answer(manifest(update=None)))
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: len(clock.published) == 6)
    assert clock.files == ["50", "51", "52", "53", "54", "55"]
    assert origin.requests == ["/live.mpd"]
    assert all(0 <= at - (BEGIN + 2 * index) <= 0.1 for index, at in enumerate(clock.at))
    assert [status.state for status in source.statuses()] == ["live"]


async def test_an_outage_loses_nothing_that_is_still_there(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    caplog.set_level(logging.INFO, "streams")
    outage: list[Scripted] = [404, 503, "<html>", "", "#EXTM3U"]
    bodies = [clock.answer(rows(45, 5)), *outage, clock.answer(rows(48, 6)), 500, clock.answer(rows(60, 5))]
    origin.script("/live.mpd", *bodies)
    source = made(origin, reader, clock)
    states: list[str] = []
    await follow(source, clock, lambda: states.append(source.statuses()[0].state) or len(clock.published) == 10)  # type: ignore[func-returns-value]
    assert clock.files == [str(2000 * number) for number in (49, 50, 51, 52, 53, 60, 61, 62, 63, 64)]
    assert "failing" in states
    assert source.statuses()[0].counts["lost"] == 6
    assert "news/720p lost 6 segments before news/720p/" in caplog.text
    assert clock.published[5].sequence - clock.published[4].sequence == 7


async def test_a_template_waits_while_its_manifest_cannot_be_loaded_and_skips_nothing(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    body = manifest()
    origin.script("/live.mpd", clock.answer(body), 404, 404, 404, 404, clock.answer(body))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) >= 8)
    assert clock.files[:8] == [str(number) for number in range(50, 58)]
    assert clock.at[1] - clock.at[0] > 3


async def test_busy_servers_are_left_alone_as_long_as_they_ask(origin: Origin, reader: Reader) -> None:
    clock = Turned()

    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "17"})

    origin.script("/live.mpd", busy, clock.answer(rows(45, 5)))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 1)
    assert clock.at == [BEGIN + 17]


async def test_a_manifest_that_stands_still_is_stale_and_goes_on(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", *[clock.answer(rows(45, 5))] * 6, clock.answer(rows(46, 5)))
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: source.statuses()[0].state == "stale")
    assert source.statuses()[0].reason.startswith("no new segment for ")
    await follow(source, clock, lambda: len(clock.published) == 2)
    assert source.statuses()[0].state == "live"


@pytest.mark.parametrize(("update", "pause"), [("PT0S", 2.0), ("PT0.01S", 0.5), ("PT5S", 5.0), ("PT24H", 10.0)])
async def test_loads_keep_the_pause_that_the_manifest_asks_for(origin: Origin, reader: Reader, update: str, pause: float) -> None:
    clock = Turned()
    at: list[float] = []

    async def answer(_: web.Request) -> web.StreamResponse:
        at.append(clock.seconds)
        return web.Response(body=manifest(period(video(timeline("t=0 d=2000"))), update=update))

    origin.script("/live.mpd", answer)
    await follow(made(origin, reader, clock), clock, lambda: len(at) == 3)
    assert [round(later - sooner, 3) for sooner, later in pairwise(at)] == [pause, pause]


async def test_states_are_reported_with_their_kind_and_since_when(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", 404, clock.answer(rows(45, 5)), *[clock.answer(rows(44, 5))] * 3, 503)
    await follow(made(origin, reader, clock), clock, lambda: clock.seconds > BEGIN + 40)
    assert Stream("news") in clock.retired, "what was said before there were renditions"
    told = {(rendition, state.state, state.kind): state for rendition, state in clock.states}
    assert told[None, "failing", "not-found"].since == ANCHOR + timedelta(seconds=BEGIN)
    assert told["720p", "stale", ""].findings == ("backsteps",)
    assert told["720p", "failing", "unreachable"].since > told["720p", "stale", ""].since


async def test_with_once_a_source_that_is_away_is_given_up(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    await made(origin, reader, clock, once=True).run()
    assert GIVE_UP_SECONDS < clock.seconds - BEGIN < GIVE_UP_SECONDS + 15


async def test_what_is_encrypted_is_a_state_said_once(origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    clock = Turned()
    lock = '<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011"/>'
    origin.script("/live.mpd", clock.answer(manifest(period(video(lock + TEMPLATE)))))
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: clock.seconds > BEGIN + 20)
    assert (source.statuses()[0].state, clock.published) == ("encrypted", [])
    assert caplog.text.count("is encrypted: the segments are encrypted (ContentProtection)") == 1


async def test_what_is_encrypted_is_not_live_after_a_failure_either(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    locked = '<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011"/>' + timeline("t=0 d=2000 r=9")
    answer = clock.answer(manifest(period(video(locked))))
    origin.script("/live.mpd", answer, 503, answer)
    await follow(made(origin, reader, clock), clock, lambda: len(origin.requests) == 4)
    assert [state.state for _, state in clock.states] == ["encrypted", "failing", "encrypted"]


async def test_what_has_no_segments_is_said_once_with_the_reason(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    one_file = "<Representation id='a'><BaseURL>a.mp4</BaseURL><SegmentBase indexRange='0-9'/></Representation>"
    content = period(f"<AdaptationSet mimeType='video/mp4'>{one_file}</AdaptationSet>")
    single = manifest(content, kind="static", attributes='mediaPresentationDuration="PT60S"')
    origin.script("/live.mpd", single)
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: len(origin.requests) == 4)
    (status,) = source.statuses()
    assert status.state == "failing"
    assert "each Representation is one file (SegmentBase, or BaseURL alone)" in status.reason
    assert caplog.text.count("is failing") == 1


async def test_all_renditions_are_announced_from_one_load_each_with_its_position(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    both = video(TEMPLATE, 'id="a" bandwidth="1" height="360"', 'id="b" bandwidth="2" height="720"')
    origin.script("/live.mpd", clock.answer(manifest(period(both), update=None)))
    await follow(made(origin, reader, clock, renditions="all"), clock, lambda: len(clock.published) == 4)
    assert sorted((event.rendition, event.uri[-8:]) for event in clock.published) == [
        ("360p", "a/50.m4s"), ("360p", "a/51.m4s"), ("720p", "b/50.m4s"), ("720p", "b/51.m4s")
    ]  # fmt: skip
    assert sorted(clock.saved, key=str) == ["360p", "720p"]
    assert origin.requests == ["/live.mpd"]


async def test_a_restart_goes_on_where_it_was_also_after_the_source_has_ended(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", clock.answer(rows(45, 5)))
    await follow(made(origin, reader, clock), clock, lambda: bool(clock.published))
    origin.script("/live.mpd", clock.answer(final(46, 6)))
    await made(origin, reader, clock, once=True).run()
    assert clock.files == ["98000", "100000", "102000"]
    assert [event.sequence for event in clock.published] == [0, 1, 2]
    assert clock.published[-1].ended
    assert clock.published[1].start == ANCHOR + timedelta(seconds=100), "the last manifest has no anchor, the position does"


async def test_addresses_within_are_no_private_ones(origin: Origin) -> None:
    clock = Turned()
    inside = manifest("<BaseURL>http://169.254.169.254/</BaseURL>", period())
    origin.script("/live.mpd", clock.answer(inside))
    async with Reader(private=True) as reader:
        services = clock.services(reader)
        refusing = Services(services.read, services.publish, times=services.times, allowed=Reader().allows)
        source = Source(SourcePlan(Stream("news"), origin.url("/live.mpd")), refusing)
        await follow(source, clock, lambda: len(origin.requests) == 2)
    assert "may not be fetched" in source.statuses()[0].reason
    assert clock.published == []


async def test_a_server_that_does_not_answer_is_replaced_until_it_is_back(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", clock.answer(manifest("<BaseURL>/one/</BaseURL><BaseURL>/two/</BaseURL>", period())))
    origin.script("/one/init.mp4", "init", 404, 404, 404, 404, "init")
    origin.script("/two/init.mp4", "init")
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: clock.seconds > BEGIN + 80)
    servers = [event.uri.removeprefix(origin.url("/")).partition("/")[0] for event in clock.published]
    switches = [place for place in range(1, len(servers)) if servers[place] != servers[place - 1]]
    assert (servers[0], len(switches), servers[-1]) == ("one", 2, "one")
    assert clock.at[switches[0]] - BEGIN == pytest.approx(32, abs=3), "after the third failure, 10 s apart"
    assert clock.files == [str(number) for number in range(50, 50 + len(servers))]
    assert source.statuses()[0].state == "live"


async def test_where_no_server_answers_the_first_stays(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.mpd", clock.answer(manifest("<BaseURL>/one/</BaseURL><BaseURL>/two/</BaseURL>", period())))
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: clock.seconds > BEGIN + 100)
    assert source.statuses()[0].state == "live"
    assert clock.files == [str(number) for number in range(50, 50 + len(clock.files))]


async def test_what_cannot_be_read_is_counted_once_for_each_manifest(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    broken = rows(45, 5).replace(b'bandwidth="2000000"', b'bandwidth="fast"')
    origin.script("/live.mpd", clock.answer(broken))
    before = metrics.COUNTERS["dropped"].labels("news")._value.get()
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: len(origin.requests) == 4)
    assert metrics.COUNTERS["dropped"].labels("news")._value.get() == before + 1


async def test_a_failure_is_run_again_by_the_supervisor_and_nothing_is_skipped(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    services = clock.services(reader)
    failures = 2

    async def publish(stream: Stream, events: Sequence[SegmentEvent], position: SavedPosition) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0 and len(clock.published) == 1:
            raise RuntimeError("a fault of the program")
        await clock.publish(stream, events, position)

    origin.script("/live.mpd", *(clock.answer(body) for body in (rows(45, 5), rows(46, 5), rows(47, 5), final(47, 6))))
    supervisor = Supervisor(Services(services.read, publish, times=services.times), Pauses(0.1, 0.2), spread=0.0)
    await supervisor.follow([SourcePlan(Stream("news"), origin.url("/live.mpd"), once=True)])
    async with asyncio.timeout(20):
        await supervisor.ended()
    assert clock.files == [str(2000 * number) for number in range(49, 53)]


async def test_a_hanging_origin_delays_no_other(origin: Origin, reader: Reader) -> None:
    first: asyncio.Queue[str] = asyncio.Queue()

    async def publish(stream: Stream, _: Sequence[SegmentEvent], __: SavedPosition) -> None:
        first.put_nowait(stream.stream_id)

    since = datetime.now(UTC) - timedelta(seconds=60)
    body = manifest(update=None).replace(ANCHOR.isoformat().encode(), since.isoformat().encode())
    origin.script("/hangs.mpd", origin.hang)
    origin.script("/live.mpd", body)
    supervisor = Supervisor(Services(patient(reader), publish), spread=0.0)
    hanging = [SourcePlan(Stream(f"hangs-{number}"), origin.url("/hangs.mpd", "localhost")) for number in range(20)]
    await supervisor.follow([*hanging, SourcePlan(Stream("news"), origin.url("/live.mpd"))])
    async with asyncio.timeout(60):
        assert await first.get() == "news"
    await supervisor.stop()
