"""Which segments of a manifest exist when, and what is new in them: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events import SegmentEvent
from streams.ingest.base import Position, Stream
from streams.ingest.dash import window as module
from streams.ingest.dash.mpd import parse
from streams.ingest.dash.numbering import announce
from streams.ingest.dash.renditions import tracks
from streams.ingest.dash.values import SECOND, Presentation, micros_of
from streams.ingest.dash.window import KNOWN, Moment, Placed, window_of
from streams.ingest.hls.playlist import MAX_SEGMENTS
from streams.ingest.hls.tracker import Notes
from streams.ingest.hls.values import PlaylistError
from tests.support.manifests import ANCHOR, TEMPLATE, URL, manifest, period, timeline, video


@dataclass
class Source:
    """A rendition whose manifests are announced one after the other. seconds: since the anchor, at both clocks."""

    stream: Stream = field(default_factory=lambda: Stream("news", "720p"))
    position: Position = field(default_factory=Position)
    notes: Notes = field(default_factory=Notes)
    seconds: float = 0.0
    anchor: datetime | None = None

    @property
    def now(self) -> datetime:
        return ANCHOR + timedelta(seconds=self.seconds)

    def load(self, body: bytes, seconds: float) -> list[SegmentEvent]:
        self.seconds = seconds
        presentation = parse(body, URL)
        self.anchor = presentation.anchor or self.position.anchor
        (track,) = tracks(presentation, "highest", [], None).values()
        dates = self.position.clocks.dates
        after = micros_of(dates) if dates and self.anchor else None
        whole = self.stream.from_start or not presentation.dynamic
        moment = Moment(micros_of(self.anchor) if self.anchor else 0, micros_of(self.now), after, whole)
        window = window_of(presentation, track, moment)
        self.position, events, self.notes = announce(self.stream, self.position, window, self.anchor, self.now, {})
        return events

    def starts(self, body: bytes, seconds: float) -> list[float]:
        return [(event.start - ANCHOR).total_seconds() for event in self.load(body, seconds)]


def existing(presentation: Presentation, seconds: float, whole: bool = True) -> list[Placed]:
    (track,) = tracks(presentation, "highest", [], None).values()
    anchor = micros_of(presentation.anchor) if presentation.anchor else 0
    return list(window_of(presentation, track, Moment(anchor, anchor + round(seconds * SECOND), None, whole)).segments)


def lists(*files: str, number: int = 1) -> bytes:
    entries = "".join(f'<SegmentURL media="{file}"/>' for file in files)
    return manifest(period(video(f'<SegmentList timescale="1" duration="2" startNumber="{number}">{entries}</SegmentList>')))


def test_a_template_s_segment_exists_when_its_end_has_passed() -> None:
    presentation = parse(manifest(period(attributes='start="PT10S"')), URL)
    assert [len(existing(presentation, seconds)) for seconds in (9, 11.9, 12, 13.9, 14)] == [0, 0, 1, 1, 2]
    first, second = existing(presentation, 14)
    assert (first.uri, second.uri) == ("https://cdn.example/live/v/1.m4s", "https://cdn.example/live/v/2.m4s")
    assert first.at == micros_of(ANCHOR) + 10 * SECOND


@pytest.mark.parametrize(
    ("attributes", "at"),
    [
        ('availabilityTimeOffset="1.5"', 0.5), ('availabilityTimeOffset="1.5" availabilityTimeComplete="false"', 2.0),
        ('availabilityTimeOffset="INF"', 2.0), ('availabilityTimeOffset="-3"', 2.0), ('availabilityTimeOffset="soon"', 2.0),
    ],
)  # fmt: skip
def test_an_availability_offset_lets_a_complete_segment_come_earlier(attributes: str, at: float) -> None:
    presentation = parse(manifest(period(video(TEMPLATE.replace("<SegmentTemplate", f"<SegmentTemplate {attributes}")))), URL)
    assert (len(existing(presentation, at - 0.01)), len(existing(presentation, at))) == (0, 1)


def test_the_next_segment_s_time_is_known() -> None:
    presentation = parse(manifest(), URL)
    (track,) = tracks(presentation, "highest", [], None).values()
    anchor = micros_of(ANCHOR)
    assert window_of(presentation, track, Moment(anchor, anchor + 5 * SECOND, None, False)).next_at == anchor + 6 * SECOND


def test_segments_leave_after_the_time_shift_buffer() -> None:
    presentation = parse(manifest(attributes='timeShiftBufferDepth="PT10S"'), URL)
    assert [placed.uri[27:] for placed in existing(presentation, 100)] == [f"{number}.m4s" for number in range(46, 51)]


def test_numbers_since_1970_are_arithmetic_and_the_newest_are_kept() -> None:
    since = manifest().replace(ANCHOR.isoformat().encode(), b"1970-01-01T00:00:00Z")
    placed = existing(parse(since, URL), ANCHOR.timestamp())
    assert len(placed) == MAX_SEGMENTS
    assert placed[-1].uri.endswith(f"/{int(ANCHOR.timestamp()) // 2}.m4s")


def test_a_huge_repeat_is_bounded() -> None:
    presentation = parse(manifest(period(video(timeline(f"t=0 d=2000 r={10**12}")), attributes='start="PT0S"')), URL)
    assert len(existing(presentation, 10)) <= MAX_SEGMENTS


def test_a_finite_timeline_exists_as_it_says_and_an_open_one_by_the_clock() -> None:
    assert len(existing(parse(manifest(period(video(timeline("t=0 d=2000 r=9")))), URL), 3)) == 10
    assert len(existing(parse(manifest(period(video(timeline("t=0 d=2000 r=-1")))), URL), 7)) == 3
    never_again = manifest(period(video(timeline("t=0 d=2000 r=9"))), update=None)
    assert len(existing(parse(never_again, URL), 7)) == 3, "a manifest that is never loaded again says what will come"


def test_the_offset_of_the_media_s_own_time() -> None:
    (placed,) = existing(parse(manifest(period(video(timeline("t=90000 d=2000", offset=80000)))), URL), 20)
    assert placed.at == micros_of(ANCHOR) + 10 * SECOND
    assert placed.uri.endswith("/90000.m4s")


def test_segments_end_with_their_period_and_a_sliver_is_none() -> None:
    attributes = 'mediaPresentationDuration="PT{}S"'
    assert [
        [placed.length / SECOND for placed in existing(parse(manifest(kind="static", attributes=attributes.format(end)), URL), 0)]
        for end in ("4", "5", "4.1")
    ] == [[2, 2], [2, 2, 1], [2, 2]]


def test_what_a_period_does_not_show_is_left_out() -> None:
    before_it = timeline("t=0 d=2000 r=4", offset=5000)
    placed = existing(parse(manifest(period(video(before_it), attributes='start="PT100S"')), URL), 200)
    assert [item.uri.rpartition("/")[2] for item in placed] == ["4000.m4s", "6000.m4s", "8000.m4s"]


def test_end_numbers() -> None:
    presentation = parse(manifest(period(video(TEMPLATE.replace("duration", 'endNumber="3" duration')))), URL)
    assert len(existing(presentation, 100)) == 3


def test_joining_announces_the_newest_or_what_there_is() -> None:
    body = manifest(period(video(timeline("t=0 d=2000 r=4"))))
    assert Source().starts(body, 10) == [8]
    assert Source(Stream("news", from_start=True)).starts(body, 10) == [0, 2, 4, 6, 8]


def test_events_are_named_by_their_date_and_have_an_init_segment() -> None:
    (event,) = Source().load(manifest(), 10)
    assert event.segment_id == f"news/720p/{int(ANCHOR.timestamp() + 8) * 1000}"
    assert (event.start, event.duration) == (ANCHOR + timedelta(seconds=8), 2.0)
    assert (event.uri, event.init_uri) == ("https://cdn.example/live/v/5.m4s", "https://cdn.example/live/init.mp4")


def test_two_ingesters_name_segments_alike_whenever_they_join() -> None:
    body = manifest(period(video(timeline("t=0 d=2000 r=9"))))
    early, late = Source(Stream("news", "720p", from_start=True)), Source()
    names = [event.segment_id for event in early.load(body, 20)]
    assert [event.segment_id for event in late.load(body, 20)] == names[-1:]


def test_a_timeline_that_slides_announces_each_segment_once_whatever_its_numbers() -> None:
    source = Source()
    assert source.starts(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10) == [8]
    assert source.starts(manifest(period(video(timeline("t=4000 d=2000 r=4")))), 14) == [10, 12]
    assert source.starts(manifest(period(video(timeline("t=4001 d=2000 r=4")))), 14) == []
    assert source.starts(manifest(period(video(timeline("t=12001 d=2000 r=1")))), 16.1) == [14.001]
    assert source.position.sequence == 3


def test_what_left_the_manifest_is_counted_as_lost_and_the_sequence_jumps() -> None:
    source = Source()
    (before,) = source.load(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10)
    events = source.load(manifest(period(video(timeline("t=20000 d=2000 r=4")))), 30)
    assert source.notes.counts["lost"] == 5
    assert events[0].sequence - before.sequence == 6


def test_a_gap_between_two_s_is_lost_too() -> None:
    source = Source()
    source.load(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10)
    events = source.load(manifest(period(video(timeline("t=2000 d=2000 r=3", "t=16000 d=2000")))), 18)
    assert [event.sequence for event in events] == [4]
    assert source.notes.counts["lost"] == 3


def test_an_old_copy_of_another_edge_is_ignored_and_a_clock_that_goes_back_is_followed_after_three_loads() -> None:
    source = Source()
    source.load(manifest(period(video(timeline("t=600000 d=2000 r=9")))), 620)
    old = manifest(period(video(timeline("t=596000 d=2000 r=9"))))
    for _ in range(4):
        assert source.load(old, 621) == []
        assert source.notes.counts["backsteps"] == 1
    assert source.starts(manifest(period(video(timeline("t=602000 d=2000 r=9")))), 622) == [620]
    lost_its_clock = [manifest(period(video(timeline(f"t=0 d=2000 r={count}")))) for count in (1, 2, 3)]
    assert [len(source.load(body, 624 + 2 * index)) for index, body in enumerate(lost_its_clock)] == [0, 0, 4]
    assert source.notes.counts["restarts"] == 1


def test_an_encoder_that_restarts_with_another_anchor_loses_nothing_by_being_off() -> None:
    source = Source()
    (before,) = source.load(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10)
    later = (ANCHOR + timedelta(seconds=100)).isoformat().encode()
    events = source.load(manifest(period(video(timeline("t=0 d=2000 r=1")))).replace(ANCHOR.isoformat().encode(), later), 104)
    assert [(event.start - ANCHOR).total_seconds() for event in events] == [100, 102]
    assert (source.notes.counts["restarts"], source.notes.counts["lost"]) == (1, 0)
    assert events[0].sequence == before.sequence + 1


def test_an_encoder_that_restarts_with_an_empty_list_has_restarted_with_its_first_segment() -> None:
    source = Source()
    source.load(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10)
    later = (ANCHOR + timedelta(seconds=100)).isoformat().encode()
    for entries, starts, restarts in ((timeline(), [], 0), (timeline("t=0 d=2000 r=1"), [100, 102], 1)):
        body = manifest(period(video(entries))).replace(ANCHOR.isoformat().encode(), later)
        assert source.starts(body, 104) == starts
        assert source.notes.counts["restarts"] == restarts


def test_a_new_period_is_a_discontinuity_with_its_own_init_segment_and_the_old_one_keeps_its_names() -> None:
    source = Source()
    first = period(video(timeline("t=0 d=2000 r=4")), attributes='id="1" start="PT0S"')
    advert = period(
        video(timeline("t=0 d=3000 r=1", media="ad-$Time$.m4s").replace("init.mp4", "ad.mp4")), attributes='id="2" start="PT11S"'
    )
    source.load(manifest(first), 10)
    events = source.load(manifest(first.replace('r="4"', 'r="5"'), advert), 18)
    assert [(event.start - ANCHOR).total_seconds() for event in events] == [10, 11, 14]
    assert [event.duration for event in events] == [1, 3, 3]
    assert [(event.init_uri or "").rpartition("/")[2] for event in events] == ["init.mp4", "ad.mp4", "ad.mp4"]
    assert source.notes.counts["discontinuities"] == 1
    assert source.load(manifest(advert), 18) == []


def test_a_period_that_cuts_the_announced_segment_short_is_new_from_its_first_segment_on() -> None:
    source = Source()
    first = period(video(timeline("t=0 d=2000 r=4")), attributes='start="PT0S"')
    source.load(manifest(first), 10)
    assert source.starts(manifest(first, period(attributes='start="PT9S"')), 13) == [9, 11]


def test_a_first_segment_that_begins_before_its_period_is_announced_once() -> None:
    source = Source()
    body = manifest(period(video(timeline("t=0 d=2000", offset=1500))))
    assert source.starts(body, 10) == [-1.5]
    assert source.starts(body, 10) == []


def test_a_period_to_come_waits_for_its_time() -> None:
    source = Source()
    body = manifest(period(attributes='start="PT0S"'), period(video(timeline("t=0 d=2000 r=4")), attributes='start="PT10S"'))
    assert source.starts(body, 9) == [6]
    assert source.starts(body, 10) == [8, 10, 12, 14, 16, 18]


def test_a_list_that_slides_is_followed_by_its_first_number() -> None:
    source = Source()
    assert [event.uri[-1] for event in source.load(lists("a", "b", "c", number=1), 6)] == ["c"]
    assert [event.uri[-1] for event in source.load(lists("b", "c", "d", "e", number=2), 10)] == ["d", "e"]
    assert source.load(lists("c", "d", "e", number=3), 10) == []


def test_the_end_is_said_with_the_last_segment_or_once_more_for_it() -> None:
    dynamic = manifest(period(video(timeline("t=0 d=2000 r=4"))))
    final = manifest(period(video(timeline("t=0 d=2000 r={}"))), kind="static", attributes='mediaPresentationDuration="PT1M"')
    with_last, alone = Source(), Source()
    with_last.load(dynamic, 10)
    (before,) = alone.load(dynamic, 10)
    assert [
        (event.ended, (event.start - ANCHOR).total_seconds()) for event in with_last.load(final.replace(b"{}", b"5"), 12)
    ] == [(True, 10)]
    (again,) = alone.load(final.replace(b"{}", b"4"), 12)
    assert (again.ended, again.segment_id) == (True, before.segment_id)
    assert alone.load(final.replace(b"{}", b"4"), 12) == []


def test_an_end_that_is_before_what_the_clock_has_announced_is_an_end() -> None:
    source = Source()
    (before,) = source.load(manifest(), 20)
    (again,) = source.load(manifest(kind="static", attributes='mediaPresentationDuration="PT10S"'), 22)
    assert (again.ended, again.segment_id) == (True, before.segment_id)
    assert not source.notes.counts["backsteps"]


def test_a_manifest_that_is_complete_is_announced_whole_from_now_on() -> None:
    source = Source()
    events = source.load(manifest(kind="static", attributes='mediaPresentationDuration="PT8S"'), 1000)
    assert [event.ended for event in events] == [False, False, False, True]
    assert events[0].start == source.now
    assert [event.segment_id for event in events] == [f"news/720p/0/{number}" for number in range(4)]
    assert source.load(manifest(kind="static", attributes='mediaPresentationDuration="PT8S"'), 1010) == []


def test_what_is_never_loaded_again_ends_at_its_end() -> None:
    source = Source()
    body = manifest(update=None, attributes='mediaPresentationDuration="PT6S"')
    assert source.starts(body, 4) == [2]
    assert [event.ended for event in source.load(body, 6)] == [True]


def test_dates_far_from_this_machine_s_clock_are_replaced_by_arrival() -> None:
    body = manifest(period(video(timeline("t=0 d=2000 r=4"))))
    (auto,), (trusted,) = Source().load(body, 3600), Source(Stream("news", "720p", clock="source")).load(body, 3600)
    assert (auto.labels, auto.start) == ({"clock": "arrival"}, ANCHOR + timedelta(seconds=3598))
    assert (trusted.labels, trusted.start) == ({}, ANCHOR + timedelta(seconds=8))
    assert auto.segment_id == trusted.segment_id


def test_what_is_encrypted_is_not_announced() -> None:
    source = Source()
    lock = '<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011"/>'
    assert source.load(manifest(period(video(lock + TEMPLATE))), 10) == []
    assert source.notes.encrypted


@pytest.mark.parametrize(
    ("wanted", "names"), [("highest", ["1080p"]), ("all", ["360p", "1080p", "720p-2000", "720p-3000"]), ("360p", ["360p"])]
)
def test_renditions_are_named_as_those_of_hls(wanted: str, names: list[str]) -> None:
    here = video(TEMPLATE, 'id="a" height="360" bandwidth="500"', 'id="b" height="1080" bandwidth="5000"')
    more = video(TEMPLATE, 'id="c" height="720" bandwidth="2000"', 'id="d" height="720" bandwidth="3000"')
    presentation = parse(manifest(period(here, more)), URL)
    assert list(tracks(presentation, wanted, [], None)) == names
    with pytest.raises(PlaylistError, match="there is no rendition 4k: there are 360p, 1080p"):
        tracks(presentation, "4k", [], None)


def test_more_renditions_than_anybody_has_are_refused() -> None:
    many = [f'id="{height}" height="{height}" bandwidth="1"' for height in range(1, 102)]
    presentation = parse(manifest(period(video(TEMPLATE, *many))), URL)
    with pytest.raises(PlaylistError, match="more than 100 renditions"):
        tracks(presentation, "all", [], None)
    assert list(tracks(presentation, "highest", [], None)) == ["101p"]


def test_a_period_without_a_rendition_has_the_nearest_stand_in_for_it() -> None:
    first = period(video(TEMPLATE, 'id="a" height="1080" bandwidth="9"', 'id="b" height="360" bandwidth="1"'))
    advert = period(
        video(TEMPLATE, 'id="c" height="720" bandwidth="4"', 'id="d" height="240" bandwidth="1"'), attributes='start="PT60S"'
    )
    presentation = parse(manifest(first, advert), URL)
    found = tracks(presentation, "all", [], None)
    assert {name: [representation.name for _, representation in track] for name, track in found.items()} == {
        "1080p": ["a", "c"], "360p": ["b", "d"], "720p": ["b", "c"], "240p": ["b", "d"]
    }  # fmt: skip
    assert list(tracks(presentation, "highest", [], 10 * SECOND)) == ["1080p"], "the Period to come does not count yet"
    assert list(tracks(presentation, "highest", ["1080p"], 70 * SECOND)) == ["1080p"], "one that is followed is followed on"


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 8)), min_size=1, max_size=25),
    st.sampled_from([2000, 1920, 6006]),
    st.integers(0, 10**9),
)
def test_a_source_that_goes_on_has_every_segment_once_in_order_or_counted_as_lost(
    loads: list[tuple[int, int]], duration: int, begin: int
) -> None:
    source, first, newest, lost = Source(Stream("news", clock="source")), 0, -1, 0
    announced: list[int] = []
    for forward, count in loads:
        first = max(first + forward, newest - count + 1, 0)
        newest = first + count - 1
        rows = timeline(f"t={begin + first * duration} d={duration} r={count - 1}", offset=begin)
        events = source.load(manifest(period(video(rows))), (newest + 1) * duration / 1000)
        announced += [round((event.start - ANCHOR).total_seconds() * 1000 / duration) for event in events]
        lost += source.notes.counts["lost"]
    assert announced == sorted(set(announced))
    assert len(announced) + lost == announced[-1] - announced[0] + 1
    assert announced[-1] == newest


@given(
    st.lists(
        (
            st.tuples(st.integers(0, 2**64), st.integers(0, 2**64), st.integers(-2, 2**64))
            | st.tuples(st.integers(0, 9999), st.integers(1, 9999), st.integers(-1, 99))
        ).map(lambda s: f"t={s[0]} d={s[1]} r={s[2]}"),
        min_size=1, max_size=6,
    ),
    st.integers(0, 2**64), st.integers(0, 10**6), st.booleans(), st.sampled_from([None, "PT0S", "PT2S"]),
)  # fmt: skip
def test_expansion_is_ordered_and_bounded_whatever_the_numbers(
    entries: list[str], offset: int, seconds: int, from_start: bool, update: str | None
) -> None:
    try:
        presentation = parse(manifest(period(video(timeline(*entries, offset=offset))), update=update), URL)
    except PlaylistError:
        return
    with patch.object(module, "MAX_SEGMENTS", 300):
        placed = existing(presentation, seconds, from_start)
        assert len(placed) <= (300 if from_start else KNOWN)
        assert [item.at for item in placed] == sorted({item.at for item in placed})
        source = Source(Stream("news", from_start=from_start))
        body = manifest(period(video(timeline(*entries, offset=offset))), update=update)
        for event in source.load(body, seconds):
            SegmentEvent.from_bytes(event.to_bytes())
        assert source.load(body, seconds) == []
