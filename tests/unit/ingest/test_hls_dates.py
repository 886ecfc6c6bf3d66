"""Playlists in which few segments have a date: mostly the first of each, which was announced long ago."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from streams.events import SegmentEvent
from streams.ingest.base import Position, Stream
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.tracker import step
from streams.ingest.hls.values import MediaPlaylist

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def playlist(
    first: int, count: int = 5, *, dated: Collection[int] | None = None, since: datetime = NOW, lasts: float = 2
) -> MediaPlaylist:
    """Segments that say to be of 2 s. dated: the numbers that have a date, the first alone without it. since: of number 0.
    lasts: how long they are by their dates."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, first + count):
        if number in ([first] if dated is None else dated):
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{(since + timedelta(seconds=lasts * number)).isoformat()}")
        lines += ["#EXTINF:2", f"{number}.ts"]
    parsed = parse("\n".join(lines).encode(), "https://cdn.example/live.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return parsed


def followed(loads: Sequence[MediaPlaylist]) -> tuple[list[list[SegmentEvent]], int]:
    """The events of each load, and how many restarts were seen."""
    position, announced, restarts = Position(), [], 0
    for number, loaded in enumerate(loads):
        position, events, notes = step(Stream("news"), position, loaded, NOW + timedelta(seconds=210 + 2 * number))
        announced.append(events)
        restarts += notes.counts["restarts"]
    return announced, restarts


def numbers(announced: list[list[SegmentEvent]]) -> list[list[int]]:
    return [[int(event.uri.rpartition("/")[2].removesuffix(".ts")) for event in events] for events in announced]


def test_an_old_copy_is_no_restart_where_only_the_first_segment_has_a_date() -> None:
    announced, restarts = followed([playlist(first) for first in (100, 101, 102, 101, 103)])

    assert (numbers(announced), restarts) == ([[104], [105], [106], [], [107]], 0)


def test_an_old_copy_is_no_restart_where_its_date_has_left_the_list_of_the_others() -> None:
    loads = [playlist(first, dated=[102]) for first in (100, 101, 103, 102, 104)]

    announced, restarts = followed(loads)

    assert (numbers(announced), restarts) == ([[104], [105], [106, 107], [], [108]], 0)


def test_a_restart_is_told_where_only_the_first_segment_has_a_date() -> None:
    again = playlist(0, 1, since=NOW + timedelta(seconds=216))

    announced, restarts = followed([*[playlist(first) for first in (100, 101, 102)], again])

    assert (numbers(announced)[-1], restarts) == ([0], 1)


def test_the_clock_follows_the_dates_of_segments_that_were_announced_before() -> None:
    announced, _ = followed([playlist(first, lasts=2.01) for first in range(100, 1000)])

    last = announced[-1][0]
    assert abs(last.start - (NOW + timedelta(seconds=2.01 * 1003))) < timedelta(seconds=0.1)


def test_two_ingesters_name_segments_alike_where_only_the_first_has_a_date() -> None:
    loads = [playlist(first, lasts=2.001) for first in range(100, 140)]

    early, late = followed(loads)[0], followed(loads[20:])[0]

    assert [event.segment_id for event in early[-1]] == [event.segment_id for event in late[-1]]


def test_a_load_more_or_less_names_segments_alike_though_durations_are_rounded() -> None:
    lasts = 59 / 29.97  # what 59 pictures last

    def loaded(first: int) -> MediaPlaylist:
        date = (NOW + timedelta(seconds=first * lasts)).isoformat(timespec="milliseconds")
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}", f"#EXT-X-PROGRAM-DATE-TIME:{date}"]
        lines += [line for number in range(first, first + 6) for line in (f"#EXTINF:{lasts:.3f}", f"{number}.ts")]
        parsed = parse("\n".join(lines).encode(), "https://cdn.example/live.m3u8")
        assert isinstance(parsed, MediaPlaylist)
        return parsed

    def names(every: int) -> dict[str, str]:
        events = [event for announced in followed([loaded(first) for first in range(0, 200, every)])[0] for event in announced]
        assert len({event.segment_id for event in events}) == len(events)
        return {event.uri: event.segment_id for event in events}

    seldom, often = names(2), names(1)
    assert len(seldom) == 199
    assert all(often[uri] == name for uri, name in seldom.items())


def test_a_segment_with_its_own_date_is_named_by_it_also_beside_one_that_has_none() -> None:
    def loaded(first: int) -> MediaPlaylist:
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, first + 6):
            date = (NOW + timedelta(seconds=2 * number)).isoformat(timespec="milliseconds")
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{date}"] * (number != 50) + ["#EXTINF:2.000,", f"{number}.ts"]
        parsed = parse("\n".join(lines).encode(), "https://cdn.example/live.m3u8")
        assert isinstance(parsed, MediaPlaylist)
        return parsed

    def names(firsts: range) -> dict[str, str]:
        return {
            event.uri: event.segment_id for announced in followed([loaded(first) for first in firsts])[0] for event in announced
        }

    often, seldom = names(range(20, 80)), names(range(21, 80, 2))
    assert {uri: often[uri] for uri in seldom} == seldom
    assert len(seldom) > 50


def test_an_encoder_that_restarts_with_the_numbers_of_before_names_no_two_segments_alike() -> None:
    position, names, restarts = Position(), list[str](), 0

    for run in range(3):
        began = NOW + timedelta(seconds=7 * run)
        position, events, notes = step(Stream("news"), position, playlist(0, 3, since=began), began + timedelta(seconds=6))
        names += [event.segment_id for event in events]
        restarts += notes.counts["restarts"]

    assert (restarts, len(names), len(set(names))) == (2, 7, 7)


def test_no_two_segments_have_one_name_where_a_date_is_given_twice() -> None:
    # A packager that wrote one date late: the second segment goes on by durations, to where the third begins by its own date.
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for number, seconds in enumerate((200, 200, 202, 204)):
        date = NOW + timedelta(seconds=seconds)
        lines += [f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat()}", "#EXTINF:2", f"{number}.ts"]
    loads = [parse("\n".join(lines[: 2 + 3 * count]).encode(), "https://cdn.example/live.m3u8") for count in (1, 2, 3, 4)]

    announced, _ = followed([loaded for loaded in loads if isinstance(loaded, MediaPlaylist)])

    events = [event for events in announced for event in events]
    assert [(event.start - NOW).total_seconds() for event in events] == [200, 202, 202, 204]
    assert len({event.segment_id for event in events}) == 4
