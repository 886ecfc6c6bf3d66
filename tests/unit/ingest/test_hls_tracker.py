"""What a playlist adds to what was announced before: restarts, losses, old copies, dates that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streams.events import SegmentEvent
from streams.ingest.base import Position, Stream
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.servers import realign
from streams.ingest.hls.tracker import Notes, step
from streams.ingest.hls.values import MediaPlaylist

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def playlist(
    first: int, count: int, *, dates: datetime | None = None, ended: bool = False, name: str = "{}", extra: Sequence[str] = ()
) -> MediaPlaylist:
    """Segments of 2 s. dates: of the first segment, and of the others after it. extra: tags before the last segment."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, first + count):
        if dates is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{(dates + timedelta(seconds=2 * (number - first))).isoformat()}")
        if number == first + count - 1:
            lines += extra
        lines += ["#EXTINF:2", f"{name.format(number)}.ts"]
    lines += ["#EXT-X-ENDLIST"] if ended else []
    parsed = parse("\n".join(lines).encode(), "https://cdn.example/a/live.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return parsed


@dataclass
class Source:
    """A rendition that is followed from load to load."""

    stream: Stream = field(default_factory=lambda: Stream("news", "720p"))
    position: Position = field(default_factory=Position)
    now: datetime = NOW
    notes: Notes = field(default_factory=Notes)

    def load(self, loaded: MediaPlaylist, later: float = 2.0) -> list[SegmentEvent]:
        """The events of a load. later: seconds after the one before."""
        self.now += timedelta(seconds=later)
        self.position, events, self.notes = step(self.stream, self.position, loaded, self.now)
        return events

    def numbers(self, loaded: MediaPlaylist, later: float = 2.0) -> list[int]:
        """The numbers in the names of the files that a load announces."""
        return [int(event.uri.rpartition("/")[2].removesuffix(".ts")) for event in self.load(loaded, later)]


def test_joining_at_the_edge_announces_the_newest_segment_then_each_new_one_once() -> None:
    source = Source()

    assert source.numbers(playlist(5, 4)) == [8]
    assert source.numbers(playlist(5, 4)) == []
    assert source.numbers(playlist(7, 4)) == [9, 10]


def test_joining_from_the_start_or_a_complete_playlist_announces_all() -> None:
    assert Source(Stream("news", from_start=True)).numbers(playlist(5, 4)) == [5, 6, 7, 8]

    complete = Source()
    events = complete.load(playlist(5, 4, ended=True))
    assert [event.ended for event in events] == [False, False, False, True]
    assert events[0].start == complete.now
    assert complete.load(playlist(5, 4, ended=True)) == []


def test_events_say_where_the_media_is_and_count_up() -> None:
    source = Source()
    source.load(playlist(0, 2, dates=NOW))
    first, second = source.load(playlist(2, 2, dates=NOW + timedelta(seconds=4)))

    assert (first.stream_id, first.rendition, first.uri) == ("news", "720p", "https://cdn.example/a/2.ts")
    assert first.segment_id == f"news/720p/{int((NOW.timestamp() + 4) * 1000)}"
    assert first.start == NOW + timedelta(seconds=4)
    assert (first.duration, second.sequence - first.sequence) == (2, 1)


def test_what_slid_out_of_the_window_is_counted_as_lost_and_the_sequence_jumps() -> None:
    source = Source()
    (before,) = source.load(playlist(0, 4))

    events = source.load(playlist(9, 3))

    assert source.notes.counts["lost"] == 5
    assert [event.sequence - before.sequence for event in events] == [6, 7, 8]


def test_an_old_copy_of_another_edge_is_ignored() -> None:
    source = Source()
    source.load(playlist(10, 4, dates=NOW))

    assert source.numbers(playlist(8, 4, dates=NOW - timedelta(seconds=4))) == []
    assert source.notes.counts["backsteps"] == 1
    assert source.numbers(playlist(11, 4, dates=NOW + timedelta(seconds=2))) == [14]


def test_an_old_copy_from_before_a_restart_is_ignored_though_its_numbers_are_higher() -> None:
    source = Source()
    source.load(playlist(100, 4, dates=NOW))
    source.load(playlist(0, 2, dates=NOW + timedelta(seconds=30)))

    assert [source.numbers(playlist(100, 4, dates=NOW)) for _ in range(2)] == [[], []]
    assert source.notes.counts["backsteps"] == 1
    assert source.numbers(playlist(0, 3, dates=NOW + timedelta(seconds=30))) == [2]


def test_numbers_ahead_with_old_dates_that_stay_are_a_restart() -> None:
    source = Source()
    source.load(playlist(0, 4, dates=NOW))
    old = NOW - timedelta(days=3000)

    assert [source.numbers(playlist(100, count, dates=old)) for count in (1, 2, 3)] == [[], [], [100, 101, 102]]


def test_an_encoder_that_restarts_with_newer_dates_is_followed_at_once() -> None:
    source = Source()
    (before,) = source.load(playlist(100, 4, dates=NOW))

    events = source.load(playlist(0, 2, dates=NOW + timedelta(seconds=30)), later=30)

    assert [event.uri[-4:] for event in events] == ["0.ts", "1.ts"]
    assert events[0].sequence > before.sequence
    assert source.notes.counts["restarts"] == 1
    assert source.numbers(playlist(0, 3, dates=NOW + timedelta(seconds=30))) == [2]


def test_an_encoder_that_restarts_without_dates_is_followed_after_three_loads_or_a_window() -> None:
    near, far = Source(), Source()
    near.load(playlist(4, 4))
    far.load(playlist(400, 4))

    assert [near.numbers(playlist(2, count)) for count in (3, 3, 4)] == [[], [], [2, 3, 4, 5]]
    assert far.numbers(playlist(0, 2)) == [0, 1]


def test_an_encoder_that_lost_its_clock_too_is_followed() -> None:
    source = Source()
    source.load(playlist(100, 4, dates=NOW))
    old = NOW - timedelta(days=3000)

    assert [source.numbers(playlist(0, count, dates=old)) for count in (1, 2, 3)] == [[], [], [0, 1, 2]]


def test_the_same_file_names_after_a_restart_are_other_segments() -> None:
    source = Source()
    (before,) = source.load(playlist(100, 4, name="seg{}"))
    after = source.load(playlist(0, 1, name="seg103"))

    assert after[0].uri == before.uri
    assert after[0].segment_id != before.segment_id


def test_a_restart_that_nobody_saw_is_told_by_its_dates_where_the_numbers_overlap() -> None:
    source = Source()
    source.load(playlist(3, 3, dates=NOW - timedelta(seconds=4)))

    assert source.numbers(playlist(0, 10, dates=NOW + timedelta(seconds=40)), later=60) == list(range(10))
    assert source.notes.counts["restarts"] == 1


def test_a_clock_that_is_set_in_mid_stream_announces_nothing_twice() -> None:
    source = Source()
    source.load(playlist(3, 3, dates=NOW - timedelta(seconds=4)))

    assert source.numbers(playlist(4, 3, dates=NOW + timedelta(seconds=298))) == [6]
    assert source.notes.counts["restarts"] == 0


def test_dates_that_are_used_again_after_a_restart_name_no_two_segments_alike() -> None:
    source = Source()
    before = source.load(playlist(100, 4, dates=NOW))
    again = [source.load(playlist(1, count, dates=NOW + timedelta(seconds=2))) for count in (1, 2, 3, 4)]

    ids = [event.segment_id for event in (*before, *again[2], *again[3])]
    assert [len(events) for events in again] == [0, 0, 3, 1]
    assert len(set(ids)) == len(ids)


def test_an_empty_list_or_one_that_was_cut_is_no_restart() -> None:
    for dates in (None, NOW):
        source = Source()
        source.load(playlist(50, 4, dates=dates))
        empty = parse(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n", "https://cdn.example/a/live.m3u8")
        assert isinstance(empty, MediaPlaylist)

        assert [source.numbers(loaded) for loaded in (empty, empty, empty, empty)] == [[]] * 4
        assert [source.numbers(playlist(51, 1, dates=dates)) for _ in range(4)] == [[]] * 4
        later = dates + timedelta(seconds=4) if dates is not None else None
        assert source.numbers(playlist(52, 4, dates=later)) == [54, 55]
        assert source.position.epoch == 0


def test_a_stream_that_begins_again_after_its_end_is_new_where_its_window_goes_back() -> None:
    source = Source()
    source.load(playlist(5, 4, ended=True))

    assert source.numbers(playlist(0, 12)) == list(range(12))


def test_a_newest_segment_that_cannot_be_read_uses_up_its_number_and_time() -> None:
    source = Source()
    source.load(playlist(0, 3, dates=NOW))
    source.load(playlist(0, 4, dates=NOW, extra=["#EXT-X-BYTERANGE:no"]))
    (event,) = source.load(playlist(0, 5, dates=NOW))

    assert (event.sequence, source.notes.counts["corrections"]) == (2, 0)


def test_one_date_far_in_the_future_does_not_hide_those_after_it() -> None:
    source = Source()
    source.load(playlist(0, 3, dates=NOW - timedelta(seconds=4)))
    (wrong,) = source.load(playlist(3, 1, dates=NOW + timedelta(hours=1)))
    (right,) = source.load(playlist(4, 1, dates=NOW + timedelta(seconds=4)))

    assert wrong.labels == {"clock": "arrival"}
    assert right.labels == {}
    assert right.start == NOW + timedelta(seconds=4)


def test_a_jump_far_ahead_is_a_restart_and_no_loss() -> None:
    source = Source()
    source.load(playlist(0, 3))

    assert source.numbers(playlist(5000, 3)) == [5000, 5001, 5002]
    assert source.notes.counts["lost"] == 0
    assert source.notes.counts["restarts"] == 1


def test_addresses_that_are_signed_anew_announce_nothing_twice() -> None:
    source = Source()
    source.load(playlist(0, 3, name="s{}.ts?sig=1&x="))

    assert source.load(playlist(0, 3, name="s{}.ts?sig=2&x=")) == []
    assert source.notes.counts["content-changed"] == 0


def test_the_classic_checks_count_what_contradicts_the_playlist_before() -> None:
    source = Source()
    source.load(playlist(0, 3))

    source.load(playlist(0, 3, name="other{}"))
    assert source.notes.counts["content-changed"] == 1
    source.load(playlist(0, 2))
    assert source.notes.counts["backsteps"] == source.notes.counts["size-changed"] == 1
    source.load(playlist(0, 3, extra=["#EXT-X-DISCONTINUITY"]))
    assert source.notes.counts["discontinuity-sequence"] == 1


def test_a_gap_uses_up_its_number_and_is_not_announced() -> None:
    source = Source()
    (before,) = source.load(playlist(0, 2))

    assert source.load(playlist(0, 3, extra=["#EXT-X-GAP"])) == []
    assert source.notes.counts["gaps"] == 1
    (event,) = source.load(playlist(0, 4))
    assert event.sequence == before.sequence + 2


def test_the_key_of_a_segment_has_the_playlists_number_as_its_vector() -> None:
    (event,) = Source().load(playlist(300, 1, extra=['#EXT-X-KEY:METHOD=AES-128,URI="k"']))

    assert event.key is not None
    assert (event.key.uri, event.key.iv) == ("https://cdn.example/a/k", f"{300:032x}")


def test_what_cannot_be_decrypted_is_not_announced() -> None:
    source = Source()

    assert source.load(playlist(0, 1, extra=['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"'])) == []
    assert source.notes.encrypted


def test_without_dates_the_newest_segment_ends_now_and_the_clock_goes_on() -> None:
    source = Source()
    (first,) = source.load(playlist(0, 3))
    (second,) = source.load(playlist(1, 3), later=2.7)

    assert first.start == NOW + timedelta(seconds=0)
    assert second.start == first.start + timedelta(seconds=2)
    (late,) = source.load(playlist(2, 3), later=30)
    assert late.start == source.now - timedelta(seconds=2), "a clock that lags by more than two targets is anchored anew"


def test_a_wrong_clock_of_the_encoder_is_replaced_by_arrival() -> None:
    hours = timedelta(hours=5)
    (auto,) = Source().load(playlist(0, 3, dates=NOW - hours))
    (trusted,) = Source(Stream("news", clock="source")).load(playlist(0, 3, dates=NOW - hours))

    assert auto.start == NOW
    assert auto.labels == {"clock": "arrival"}
    assert trusted.start == NOW - hours + timedelta(seconds=4)
    assert auto.segment_id.partition("/")[2].partition("/")[2] == trusted.segment_id.partition("/")[2]


def test_a_date_that_does_not_advance_is_ignored_and_a_jump_is_counted() -> None:
    source = Source()
    source.load(playlist(0, 1, dates=NOW))
    (stuck,) = source.load(playlist(1, 1, dates=NOW))
    (jumped,) = source.load(playlist(2, 1, dates=NOW + timedelta(seconds=9)))

    assert stuck.start == NOW + timedelta(seconds=2)
    assert jumped.start == NOW + timedelta(seconds=9)
    assert source.notes.counts["corrections"] == 1


def test_a_date_before_the_joined_segment_dates_it() -> None:
    loaded = parse(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00Z\n#EXTINF:2\na.ts\n#EXTINF:2\nb.ts",
        "https://cdn.example/live.m3u8",
    )
    assert isinstance(loaded, MediaPlaylist)

    (event,) = Source().load(loaded)

    assert event.start == NOW + timedelta(seconds=2)


def test_the_end_is_said_with_the_last_segment_or_once_more_for_it() -> None:
    with_last, alone = Source(), Source()
    with_last.load(playlist(0, 2))
    (before,) = alone.load(playlist(0, 2))

    assert [event.ended for event in with_last.load(playlist(0, 3, ended=True))] == [True]
    (again,) = alone.load(playlist(0, 2, ended=True))
    assert again.ended
    assert again.segment_id == before.segment_id
    assert alone.load(playlist(0, 2, ended=True)) == []
    assert alone.numbers(playlist(1, 2)) == [2]


def test_what_is_missing_between_an_end_and_the_next_beginning_is_no_loss() -> None:
    source = Source()
    (_, last) = source.load(playlist(0, 2, ended=True))

    events = source.load(playlist(20, 2), 40)

    assert [event.sequence for event in events] == [last.sequence + 1, last.sequence + 2]
    assert (source.notes.counts["restarts"], source.notes.counts["lost"]) == (1, 0)


def test_another_server_with_other_numbers_goes_on_by_the_dates() -> None:
    source = Source()
    source.load(playlist(100, 3, dates=NOW))
    backup = playlist(7, 4, dates=NOW)

    source.position = realign(source.position, backup, source.now)

    assert source.numbers(backup) == [10]
    same = playlist(8, 4, dates=NOW + timedelta(seconds=2))
    assert realign(source.position, same, source.now) == source.position


def test_two_ingesters_that_join_at_different_times_name_segments_alike() -> None:
    early, late = Source(), Source(now=NOW + timedelta(seconds=3.3))
    early.load(playlist(0, 3, dates=NOW))
    late.load(playlist(1, 3, dates=NOW + timedelta(seconds=2)))
    loaded = playlist(2, 4, dates=NOW + timedelta(seconds=4))

    names = [{event.segment_id for event in source.load(loaded)} for source in (early, late)]

    assert names[1] < names[0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=30), st.booleans())
def test_a_source_that_goes_on_has_every_segment_once_in_order_or_counted_as_lost(
    loads: list[tuple[int, int]], dated: bool
) -> None:
    source = Source()
    first, announced, lost, newest = 0, [], 0, None
    for forward, count in loads:
        first = max(first + forward, (newest or 0) - count + 1)
        dates = NOW + timedelta(seconds=2 * first) if dated else None
        announced += source.numbers(playlist(first, count, dates=dates))
        lost += source.notes.counts["lost"]
        newest = first + count - 1

    assert announced == sorted(set(announced))
    assert len(announced) + lost == announced[-1] - announced[0] + 1
    assert announced[-1] == newest
