"""Redirects and `Location` of a DASH source: where the manifest is loaded from next, and whose addresses are announced."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from streams.ingest import metrics
from streams.media.read import Reader
from tests.support.manifests import ANCHOR, TEMPLATE, manifest, period, timeline, video
from tests.support.origin import Origin, Scripted
from tests.support.turned import BEGIN, Turned, follow, made, rows


async def test_a_redirect_moves_the_addresses_and_the_given_one_is_asked_again(origin: Origin, reader: Reader) -> None:
    clock = Turned()

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/edge/live.mpd")

    origin.script("/live.mpd", elsewhere)
    origin.script("/edge/live.mpd", clock.answer(rows(45, 5)), clock.answer(rows(45, 6)))
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 2)
    assert clock.published[0].uri == origin.url("/edge/98000.m4s")
    assert origin.requests == ["/live.mpd", "/edge/live.mpd"] * 2


async def test_a_location_is_loaded_from_next_and_the_given_address_when_it_fails(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    located = manifest("<Location>/moved.mpd?s=1</Location>", period(video(timeline("t=90000 d=2000 r=4"))))
    origin.script("/live.mpd", clock.answer(located), clock.answer(rows(45, 7)))
    origin.script("/moved.mpd", clock.answer(located.replace(b'r="4"', b'r="5"')), 404)
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 3)
    assert origin.requests == ["/live.mpd", "/moved.mpd?s=1", *["/moved.mpd?s=1"] * 3, "/live.mpd"]
    assert clock.files == ["98000", "100000", "102000"]


def session(number: int) -> Scripted:
    """A redirect to a session's own address."""

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"/session-{number}/live.mpd")

    return elsewhere


async def test_the_same_manifest_in_another_session_names_that_session_s_segments(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    direct = f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="{(ANCHOR + timedelta(seconds=BEGIN)).isoformat()}"/>'
    broken = '<Representation id="x" bandwidth="fast" height="360"/>'
    body = manifest(direct, period(video(TEMPLATE + broken)), update="PT4S")
    origin.script("/live.mpd", *(session(number) for number in (1, 2, 3)))
    for number in (1, 2, 3):
        origin.script(f"/session-{number}/live.mpd", clock.answer(body))
    before = metrics.COUNTERS["dropped"].labels("news")._value.get()
    await follow(made(origin, reader, clock), clock, lambda: len(clock.published) == 6)
    assert [event.uri.removeprefix(origin.url("/")) for event in clock.published] == [
        "session-1/v/50.m4s", "session-1/v/51.m4s", "session-2/v/52.m4s",
        "session-2/v/53.m4s", "session-3/v/54.m4s", "session-3/v/55.m4s",
    ]  # fmt: skip
    assert metrics.COUNTERS["dropped"].labels("news")._value.get() == before + 1, "the manifest is the same"
    assert clock.at[-1] - BEGIN < 11, "the time in the same manifest is not learnt again"
