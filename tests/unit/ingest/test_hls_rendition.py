"""Following a rendition from load to load, from a real server, with a clock that the test turns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from aiohttp import web

from streams.events import SegmentEvent
from streams.ingest.base import Position, SavedPosition, Services, Stream, Times
from streams.ingest.hls.rendition import Rendition
from streams.ingest.positions import from_bytes, to_bytes
from streams.ingest.states import SourceState
from streams.media.read import Answer, Reader
from tests.support.origin import Origin

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def playlist(first: int, count: int, *extra: str, suffix: str = "", target: float = 2, date: datetime | None = None) -> str:
    lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{target:g}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    if date is not None:
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat()}")
    for number in range(first, first + count):
        lines += [f"#EXTINF:{target:g},", f"{number}.ts{suffix}"]
    return "\n".join([*lines, *extra, ""])


@dataclass
class Turned:
    """A clock that moves when it is slept on. published: what was announced, with the positions after it. reports: states that
    differ from the one before."""

    seconds: float = 0.0
    published: list[SegmentEvent] = field(default_factory=list)
    positions: list[SavedPosition] = field(default_factory=list)
    kept: SavedPosition | None = None
    reports: list[SourceState] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    async def publish(self, _: Stream, events: Sequence[SegmentEvent], position: SavedPosition) -> None:
        self.published += events
        self.positions.append(position)

    def report(self, _: Stream, state: SourceState) -> None:
        if not state.is_as(self.reports[-1] if self.reports else None):
            self.reports.append(state)

    def services(self, reader: Reader) -> Services:
        times = Times(lambda: START + timedelta(seconds=self.seconds), lambda: self.seconds, self.sleep)
        return Services(reader.read, self.publish, lambda _: self.kept, times, lambda: 1.0, self.report)

    @property
    def files(self) -> list[str]:
        return [event.uri.rpartition("/")[2].partition(".")[0] for event in self.published]


async def follow(rendition: Rendition, clock: Turned, loads: int) -> list[float]:
    """Load so many times; returns the pauses after the loads."""
    pauses = []
    for _ in range(loads):
        pauses.append(await rendition.load())
        await clock.sleep(pauses[-1])
    return pauses


async def test_each_new_segment_is_announced_once_and_loads_follow_the_target(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), playlist(1, 3), playlist(2, 3), playlist(4, 3))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 4) == [2.0, 1.0, 2.0, 2.0]
    assert clock.files == ["3", "4", "5", "6"]
    assert rendition.status.state == "live"


async def test_no_segment_comes_and_goes_between_two_loads(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", *[playlist(1, 3).replace("DURATION:2", "DURATION:10")] * 2)
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 2) == [2.0, 3.0]


async def test_a_playlist_that_stands_still_is_stale_is_asked_for_ever_and_goes_on(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    caplog.set_level(logging.INFO, "streams")
    origin.script("/a.m3u8", *[playlist(1, 3)] * 8, playlist(2, 3))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8?token=s3cret")], clock.services(reader))
    assert await follow(rendition, clock, 8) == [2.0] + [1.0] * 7
    assert rendition.status.state == "stale"
    await follow(rendition, clock, 1)
    assert rendition.status.state == "live"
    assert [record.getMessage().partition(":")[0] for record in caplog.records if record.name.endswith("rendition")] == [
        "news is live", "news is stale", "news is live"
    ]  # fmt: skip
    assert "s3cret" not in caplog.text


async def test_addresses_that_are_signed_anew_announce_nothing_twice_and_are_no_news(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", *(playlist(1, 3, suffix=f"?sig={number}") for number in range(9)))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 9) == [2.0] + [1.0] * 8
    assert [event.uri.rpartition("/")[2] for event in clock.published] == ["3.ts?sig=0"]
    assert rendition.status.state == "stale"


async def test_an_outage_loses_nothing_that_is_still_in_the_window(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), 404, 503, "<html>", "", playlist(4, 3), 500, playlist(9, 3))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 5) == [2.0, 1.0, 1.0, 1.0, 1.0]
    assert rendition.status.state == "failing"
    await follow(rendition, clock, 1)
    assert clock.files == ["3", "4", "5", "6"]
    await follow(rendition, clock, 2)
    assert clock.files == ["3", "4", "5", "6", "9", "10", "11"]
    assert rendition.status.counts["lost"] == 2
    assert "news lost 2 segments, 7 to 8" in caplog.text
    sequences = [event.sequence for event in clock.published]
    assert sequences[4] - sequences[3] == 3


async def test_an_end_is_looked_at_now_and_then_and_the_last_segment_says_so(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), playlist(1, 3, "#EXT-X-ENDLIST"), playlist(1, 3, "#EXT-X-ENDLIST"))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 3) == [2.0, 10.0, 10.0]
    assert [(event.uri[-4:], event.ended) for event in clock.published] == [("3.ts"[-4:], False), ("3.ts", True)]
    assert len({event.segment_id for event in clock.published}) == 1
    assert (rendition.status.state, rendition.status.announced) == ("ended", 1)


async def test_a_stream_that_begins_again_with_an_empty_list_has_all_its_segments(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.m3u8", playlist(5, 4, "#EXT-X-ENDLIST"), playlist(0, 0), playlist(0, 0), playlist(0, 1), playlist(0, 2))
    rendition = Rendition(Stream("news"), [origin.url("/live.m3u8")], clock.services(reader))
    assert await follow(rendition, clock, 5) == [10.0, 1.0, 1.0, 1.0, 2.0]
    assert clock.files == ["5", "6", "7", "8", "0", "1"]
    for saved in clock.positions:
        assert from_bytes(to_bytes(Stream("news"), saved))[1] == saved


async def test_numbers_that_go_back_after_the_end_are_looked_at_soon(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/live.m3u8", playlist(5, 4, "#EXT-X-ENDLIST"), playlist(5, 2), playlist(5, 2), playlist(5, 3))
    rendition = Rendition(Stream("news"), [origin.url("/live.m3u8")], clock.services(reader))

    assert (await follow(rendition, clock, 3))[1:] == [1.0, 1.0]


async def test_segments_at_addresses_that_may_not_be_fetched_are_left_out_and_counted(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    good, bad = playlist(1, 2), playlist(3, 1).replace("3.ts", "http://10.0.0.1/3.ts?token=secret")
    mixed = good + "#EXTINF:2,\nhttp://10.0.0.1/3.ts?token=secret\n#EXTINF:2,\n4.ts\n"
    origin.script("/live.m3u8", good, mixed, bad.replace(":3", ":5"), bad.replace(":3", ":6"), playlist(6, 2))
    services = replace(clock.services(reader), allowed=lambda uri: "10.0.0.1" not in uri)
    rendition = Rendition(Stream("news"), [origin.url("/live.m3u8")], services)

    await follow(rendition, clock, 3)
    assert (clock.files, [event.sequence for event in clock.published]) == (["2", "4"], [0, 2])
    assert rendition.status.counts["dropped"] == 1
    assert rendition.status.state == "failing"
    await follow(rendition, clock, 2)
    assert (clock.files, rendition.status.state) == (["2", "4", "6", "7"], "live")
    assert "secret" not in caplog.text
    assert caplog.text.count("10.0.0.1") == 1


async def test_half_an_address_at_the_end_of_an_answer_without_a_length_is_not_announced() -> None:
    clock, bodies = Turned(), [playlist(10, 2)[:-5], playlist(10, 2)]

    async def read(url: str, _: float) -> Answer:
        return Answer(bodies.pop(0).encode(), url, has_length=False)

    services = Services(read, clock.publish, times=Times(lambda: START, lambda: clock.seconds, clock.sleep))
    rendition = Rendition(Stream("news"), ["https://o.example/live.m3u8"], services)

    await follow(rendition, clock, 2)
    assert clock.files == ["10", "11"]


async def test_once_ends_with_the_stream(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), playlist(2, 3, "#EXT-X-ENDLIST"))
    await Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader), once=True).follow()
    assert clock.files == ["3", "4"]


async def test_what_cannot_be_decrypted_is_a_state_and_no_event(
    origin: Origin, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Turned()
    locked = playlist(1, 3).replace("#EXTINF", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://k"\n#EXTINF', 1)
    origin.script("/a.m3u8", locked, locked.replace("SEQUENCE:1", "SEQUENCE:2"), locked.replace("SEQUENCE:1", "SEQUENCE:3"))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    await follow(rendition, clock, 3)
    assert (clock.published, rendition.status.state) == ([], "encrypted")
    assert caplog.text.count("news is encrypted") == 1


async def test_what_cannot_be_decrypted_is_not_live_after_a_failure_either(origin: Origin, reader: Reader) -> None:
    clock, locked = Turned(), playlist(1, 3).replace("#EXTINF", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://k"\n#EXTINF', 1)
    origin.script("/a.m3u8", locked, 500, locked)
    await follow(Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader)), clock, 3)
    assert [report.state for report in clock.reports] == ["encrypted", "failing", "encrypted"]


async def test_after_three_failures_the_next_server_goes_on_where_the_first_was(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3, date=START), 500)
    origin.script("/b.m3u8", playlist(701, 4, date=START))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    await follow(rendition, clock, 5)
    assert origin.requests == ["/a.m3u8"] * 4 + ["/b.m3u8"]
    assert clock.files == ["3", "704"]
    assert rendition.status.counts["restarts"] == 0


async def test_a_server_that_stands_still_is_left_for_the_next_one(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3))
    origin.script("/b.m3u8", playlist(2, 3))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    await follow(rendition, clock, 9)
    assert "/b.m3u8" in origin.requests
    assert clock.files == ["3", "4"]


async def test_a_restart_of_the_ingester_goes_on_from_the_position_that_was_kept(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), playlist(3, 3))
    url = origin.url("/a.m3u8")
    await follow(Rendition(Stream("news"), [url], clock.services(reader)), clock, 1)
    clock.kept = clock.positions[-1]
    await follow(Rendition(Stream("news"), [url], clock.services(reader)), clock, 1)
    assert clock.files == ["3", "4", "5"]


async def test_a_position_is_only_moved_when_its_events_are_acknowledged(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3))
    services = clock.services(reader)

    async def refuse(*_: object) -> None:
        raise RuntimeError("no broker")

    broken = Services(services.read, refuse, times=services.times)
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], broken)
    with pytest.raises(RuntimeError):
        await rendition.load()
    assert rendition.status.position == Position()
    rendition._services = services
    await rendition.load()
    assert clock.files == ["3"]


async def test_an_old_copy_that_stays_is_a_restart_even_where_it_never_changes(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(10, 5), playlist(9, 4))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader))
    await follow(rendition, clock, 4)
    assert rendition.status.counts["restarts"] == 1
    assert clock.files == ["14", "9", "10", "11", "12"]


async def test_a_failure_is_reported_with_its_kind_and_when_it_began(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3), 404, 404, "<html>", playlist(2, 3))
    await follow(Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader)), clock, 5)
    first_failure = START + timedelta(seconds=2)
    assert [(state.state, state.kind, state.since) for state in clock.reports] == [
        ("live", "", START), ("failing", "not-found", first_failure), ("failing", "no-playlist", first_failure),
        ("live", "", START + timedelta(seconds=5)),
    ]  # fmt: skip
    assert "not there (HTTP 404); is the address right" in clock.reports[1].reason, "a playlist does not expire as a segment does"


async def test_what_a_silent_playlist_showed_is_reported_and_forgotten_with_the_next_segment(
    origin: Origin, reader: Reader
) -> None:
    clock = Turned()
    shorter = playlist(10, 4, date=START)
    older = playlist(9, 5, date=START - timedelta(seconds=2))
    origin.script("/a.m3u8", playlist(10, 5, date=START), shorter, older, *[older] * 4, playlist(11, 5))
    await follow(Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader)), clock, 8)
    assert [(state.state, state.findings) for state in clock.reports] == [
        ("live", ()), ("stale", ("backsteps", "size-changed")), ("live", ())
    ]  # fmt: skip
    assert clock.reports[1].since == START, "a stale one since its newest segment"


async def test_a_source_of_gaps_alone_is_live_and_says_so(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    gaps = [playlist(number, 3).replace("#EXTINF", "#EXT-X-GAP\n#EXTINF") for number in range(2, 6)]
    origin.script("/a.m3u8", playlist(1, 3), *gaps)
    await follow(Rendition(Stream("news"), [origin.url("/a.m3u8")], clock.services(reader)), clock, 5)
    assert [(state.state, state.findings) for state in clock.reports] == [("live", ()), ("live", ("gaps",))]


class Live:
    """A playlist whose segments of 2 s appear as the test's clock turns. first: number of the one at the start. behind: segments
    that it does not have yet. dated: they have dates."""

    def __init__(self, clock: Turned, first: int, behind: int = 0, dated: bool = True) -> None:
        self.clock, self.first, self.behind, self.dated = clock, first, behind, dated
        self.frozen: float | None = None

    async def __call__(self, _: web.Request) -> web.StreamResponse:
        passed = int((self.clock.seconds if self.frozen is None else self.frozen) // 2) - self.behind
        date = START + timedelta(seconds=2 * passed - 12) if self.dated else None
        return web.Response(text=playlist(self.first + passed, 6, date=date))


async def test_the_first_server_is_asked_again_when_it_is_well(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    first, second = Live(clock, 100), Live(clock, 7000)
    origin.script("/a.m3u8", first)
    origin.script("/b.m3u8", second)
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    await follow(rendition, clock, 10)
    origin.script("/a.m3u8", 500)
    await follow(rendition, clock, 40)
    origin.script("/a.m3u8", first)
    first.behind = 100  # an old copy: alive, and far behind
    await follow(rendition, clock, 60)
    first.behind, first.frozen = 0, clock.seconds  # abreast at this moment, and dead
    await follow(rendition, clock, 60)
    assert origin.requests[-20:].count("/b.m3u8") >= 17
    first.frozen = None
    origin.requests.clear()
    await follow(rendition, clock, 40)
    assert origin.requests[-10:] == ["/a.m3u8"] * 10
    assert rendition.status.counts["lost"] == rendition.status.counts["restarts"] == 0
    starts = [event.start for event in clock.published]
    assert [later - earlier for earlier, later in pairwise(starts)] == [timedelta(seconds=2)] * (len(starts) - 1)


@pytest.mark.parametrize(("number", "behind", "dated"), [(7000, 4, True), (100, 4, True), (100, 4, False)])
async def test_what_a_server_does_not_have_yet_that_stands_in_for_another_is_waited_for(
    number: int, behind: int, dated: bool, origin: Origin, reader: Reader
) -> None:
    clock = Turned()
    origin.script("/a.m3u8", Live(clock, 100, dated=dated))
    origin.script("/b.m3u8", Live(clock, number, behind, dated))
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    await follow(rendition, clock, 6)
    origin.script("/a.m3u8", 500)
    await follow(rendition, clock, 20)
    assert "/b.m3u8" in origin.requests
    numbers = [(int(file) - 100) % (number - 100 or 1000) for file in clock.files]
    assert numbers == [*range(5, 5 + len(numbers))]
    assert len(numbers) >= 12
    assert rendition.status.counts["lost"] == rendition.status.counts["restarts"] == 0


@pytest.mark.parametrize("dated", [True, False])
async def test_a_server_that_stands_still_far_behind_is_not_begun_with(dated: bool, origin: Origin, reader: Reader) -> None:
    clock = Turned()
    first, second = Live(clock, 100, dated=dated), Live(clock, 100, 20, dated)
    origin.script("/a.m3u8", first)
    origin.script("/b.m3u8", second)
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    second.frozen = clock.seconds
    await follow(rendition, clock, 10)
    origin.script("/a.m3u8", 500)
    await follow(rendition, clock, 4)
    second.behind, second.frozen = 0, None  # it comes back to life, and has what the first one has announced
    origin.script("/a.m3u8", first)
    await follow(rendition, clock, 20)
    assert "/b.m3u8" in origin.requests
    assert clock.files == [str(number) for number in range(105, 105 + len(clock.files))]
    assert rendition.status.counts["lost"] == rendition.status.counts["restarts"] == 0


async def test_what_is_missing_between_two_servers_is_counted_as_lost(origin: Origin, reader: Reader) -> None:
    clock = Turned()
    origin.script("/a.m3u8", playlist(1, 3, date=START), 500)
    origin.script("/b.m3u8", playlist(701, 3, date=START + timedelta(seconds=14)))  # four segments after the other's last
    rendition = Rendition(Stream("news"), [origin.url("/a.m3u8"), origin.url("/b.m3u8")], clock.services(reader))
    await follow(rendition, clock, 5)
    assert clock.files == ["3", "701", "702", "703"]
    assert rendition.status.counts["lost"] == 4
    assert [event.sequence for event in clock.published] == [0, 5, 6, 7]
