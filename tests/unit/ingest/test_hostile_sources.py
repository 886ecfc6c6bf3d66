"""Playlists and manifests of a few kilobytes that name so much that reading them would take minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from streams.ingest.dash import mpd, window
from streams.ingest.dash.renditions import tracks
from streams.ingest.dash.values import SECOND, micros_of
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.values import MasterPlaylist, MediaPlaylist, PlaylistError
from tests.support.manifests import ANCHOR, TEMPLATE, URL, manifest, period, timeline, video


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < 8


def read(*lines: str, query: str = "") -> MediaPlaylist | MasterPlaylist:
    return parse("\n".join(["#EXTM3U", *lines]).encode(), f"https://cdn.example/live.m3u8?{query}")


def test_more_entries_of_a_master_playlist_than_anybody_has_are_refused() -> None:
    entries = [line for number in range(1001) for line in (f'#EXT-X-STREAM-INF:CODECS="a{number}"', "a.m3u8")]
    assert isinstance(read(*entries[2:]), MasterPlaylist)
    with pytest.raises(PlaylistError, match="more than 1000 entries"):
        read(*entries)


def test_keys_of_thousands_of_formats_cost_each_segment_no_more_than_one() -> None:
    keys = [f'#EXT-X-KEY:METHOD=AES-128,KEYFORMAT="{number}"' for number in range(20_000)]
    loaded = read(*keys, '#EXT-X-KEY:METHOD=AES-128,URI="k"', *["#EXTINF:1", "a.ts"] * 20_000)
    assert isinstance(loaded, MediaPlaylist)
    assert {segment.key.uri for segment in loaded.segments if segment.key} == {"https://cdn.example/k"}
    assert not any(segment.encrypted for segment in loaded.segments)


def test_the_parameters_of_a_playlist_s_address_are_read_once() -> None:
    loaded = read(*['#EXT-X-DEFINE:QUERYPARAM="a"'] * 10_000, "#EXTINF:1", "{$a}.ts", query="&".join(["a=1"] * 2000))
    assert isinstance(loaded, MediaPlaylist)
    assert loaded.segments[0].uri == "https://cdn.example/1.ts"


def test_skipped_segments_are_counted_as_those_that_are_there() -> None:
    skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS="
    for lines in ([f"{skip}{10**18 - 1}"], [f"{skip}20000", "#EXTINF:1", "a.ts"], [f"{skip}10000"] * 3):
        with pytest.raises(PlaylistError, match="more than 20000 segments"):
            read(*lines)


LONG = "a" * 8000


@pytest.mark.parametrize(
    ("url", "begin"),
    [
        (f"https://cdn.example/{LONG}/live.m3u8", []),
        (URL, [f'#EXT-X-MAP:URI="{LONG}"']),
        (URL, [f'#EXT-X-KEY:METHOD=AES-128,URI="{LONG}"']),
    ],
)
def test_short_playlists_whose_events_would_fill_the_memory_are_refused(url: str, begin: list[str]) -> None:
    def loaded(count: int) -> MediaPlaylist | MasterPlaylist:
        lines = [line for number in range(count) for line in ("#EXTINF:1", f"{number}.ts")]
        return parse("\n".join(["#EXTM3U", *begin, *lines]).encode(), url)

    playlist = loaded(2000)
    assert isinstance(playlist, MediaPlaylist)
    assert len(playlist.segments) == 2000
    with pytest.raises(PlaylistError, match="addresses of its segments have more than 33554432 characters together"):
        loaded(5000)


def test_of_a_short_manifest_no_more_segments_are_announced_than_fit_into_the_memory() -> None:
    templates = [
        (f"https://cdn.example/{LONG}/live.mpd", TEMPLATE),
        (URL, TEMPLATE.replace("init.mp4", LONG)),
        (URL, TEMPLATE.replace("$Number$", f"$Number${LONG}")),
    ]
    for url, template in templates:
        body = manifest(period(video(template)), kind="static", attributes='mediaPresentationDuration="PT40000S"')
        presentation = mpd.parse(body, url)
        (track,) = tracks(presentation, "highest", [], None).values()
        segments = window.window_of(presentation, track, window.Moment(0, micros_of(ANCHOR), None, True)).segments
        assert 2000 < len(segments) < 5000
        assert segments[-1].at == 39_998 * SECOND, "the newest"


def test_a_list_under_a_long_address_is_refused() -> None:
    listed = '<SegmentList duration="2">' + '<SegmentURL media="a"/>' * 5000 + "</SegmentList>"
    with pytest.raises(PlaylistError, match="addresses of its segments have more than 33554432 characters together"):
        mpd.parse(manifest(period(video(listed))), f"https://cdn.example/{LONG}/live.mpd")


def test_what_a_set_of_representations_says_of_itself_is_read_once() -> None:
    properties = "<EssentialProperty/>" * 40_000 + "<ContentComponent/>" * 40_000
    presentation = mpd.parse(manifest(period(video(TEMPLATE + properties, *["height='9'"] * 1500))), URL)
    assert len(presentation.periods[0].representations) == 1500


def test_segments_whose_addresses_no_event_can_hold_are_looked_at_as_often_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(window, "address_of", lambda _, number, __: asked.append(number))
    runs = video(timeline("t=0 d=2 r=19999", *["d=2 r=19999"] * 3))
    presentation = mpd.parse(manifest(period(runs), period(runs, attributes='start="PT200S"')), URL)
    (track,) = tracks(presentation, "highest", [], None).values()
    moment = window.Moment(micros_of(ANCHOR), micros_of(ANCHOR) + 3600 * SECOND, None, False)
    assert window.window_of(presentation, track, moment).segments == ()
    assert len(asked) == 20_000
