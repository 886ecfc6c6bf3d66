"""Whose clock a DASH source goes by: this machine's, that of a time server, or the answers' own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from streams.media.read import Reader
from tests.support.manifests import ANCHOR, manifest, period
from tests.support.origin import Origin
from tests.support.turned import BEGIN, Turned, follow, made


@pytest.mark.parametrize("wrong", [-300.0, 300.0])
async def test_a_wrong_clock_of_this_machine_asks_for_no_segment_before_it_is_there(
    origin: Origin, reader: Reader, wrong: float
) -> None:
    clock = Turned(wrong)
    origin.script("/live.mpd", clock.answer(manifest(update="PT10S")))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 4)
    assert clock.files == ["50", "51", "52", "53"]
    assert all(0 <= at - (BEGIN + 2 * index) <= 0.1 for index, at in enumerate(clock.at))


@pytest.mark.parametrize("scheme", ["direct:2014", "http-iso:2014", "http-xsdate:2014", "http-head:2014"])
async def test_the_time_is_learnt_as_the_manifest_says_and_not_from_its_date(origin: Origin, reader: Reader, scheme: str) -> None:
    clock = Turned(wrong=-1000.0)
    value = (ANCHOR + timedelta(seconds=BEGIN)).isoformat() if scheme.startswith("direct") else "broken /time"
    timing = f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:{scheme}" value="{value}"/>'
    ntp = '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:ntp:2014" value="pool.ntp.example"/>'
    origin.script("/live.mpd", clock.answer(manifest(ntp, timing, period(), update=None), ahead=5000.0))

    async def iso(_: web.Request) -> web.StreamResponse:
        return web.Response(text=(ANCHOR + timedelta(seconds=clock.seconds)).isoformat())

    origin.script("/time", clock.answer(b"") if scheme.startswith("http-head") else iso)
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 2)
    assert clock.files == ["50", "51"]


async def test_a_time_server_that_does_not_answer_is_not_asked_with_each_load(origin: Origin, reader: Reader) -> None:
    clock = Turned(wrong=500.0)
    timing = '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="/gone /lost"/>'
    origin.script("/live.mpd", clock.answer(manifest(timing, period())))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 290)
    assert (origin.requests.count("/gone"), origin.requests.count("/lost")) == (1, 1)
    assert clock.files[:3] == ["50", "51", "52"]


async def test_a_slow_time_server_is_asked_again_when_its_answer_is_old(origin: Origin, reader: Reader) -> None:
    clock, asked, is_enough = Turned(), [], asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.append(clock.seconds)
        clock.seconds += 6
        if len(asked) == 3:
            is_enough.set()
        return web.Response(text=(ANCHOR + timedelta(seconds=clock.seconds)).isoformat())

    timing = '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="/time"/>'
    origin.script("/live.mpd", clock.answer(manifest(timing, period(), update="PT5S")))
    origin.script("/time", slow)
    running = asyncio.create_task(made(origin, reader, clock).run())
    await is_enough.wait()
    running.cancel()
    assert asked == pytest.approx([BEGIN, BEGIN + 606, BEGIN + 1212], abs=12)


async def test_an_answer_that_a_cache_has_kept_is_as_old_as_it_says(origin: Origin, reader: Reader) -> None:
    clock = Turned(wrong=500.0)
    origin.script("/live.mpd", clock.answer(manifest(update=None), ahead=-40.0, headers={"Age": "40"}))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 1)
    assert clock.files == ["50"]


async def test_a_source_whose_time_server_is_wrong_says_so_where_nothing_comes(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    early = (ANCHOR - timedelta(seconds=500)).isoformat()
    timing = f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="{early}"/>'
    origin.script("/live.mpd", clock.answer(manifest(timing, period())))
    source = made(origin, reader, clock)
    await follow(source, clock, lambda: source.statuses()[0].state == "stale")
    assert source.statuses()[0].reason.endswith(f"(UTCTiming, or Date) is {BEGIN + 500:.0f} s behind this machine's")
