"""HLS playlists as they are found: what is read of them, and that one bad tag costs no more than itself."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.base import Position, Stream
from streams.ingest.hls import playlist as reader
from streams.ingest.hls.playlist import parse
from streams.ingest.hls.tracker import step
from streams.ingest.hls.values import InitSegment, MasterPlaylist, MediaPlaylist, PlaylistError
from streams.media.ranges import Range

URL = "https://cdn.example/live/channel.m3u8?token=a%2Fb&region=eu"


def media(*lines: str, url: str = URL, ends: str = "\n", imported: dict[str, str] | None = None) -> MediaPlaylist:
    """The media playlist of these lines, below its head."""
    playlist = parse(ends.join(["#EXTM3U", *lines, ""]).encode(), url, imported)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def master(*lines: str) -> MasterPlaylist:
    playlist = parse("\n".join(["#EXTM3U", *lines]).encode(), URL)
    assert isinstance(playlist, MasterPlaylist)
    return playlist


def test_segments_have_absolute_addresses_durations_and_numbers() -> None:
    playlist = media(
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:7",
        "#EXTINF:2.002,title, with commas",
        "a b.ts?x=1",
        "#EXTINF:1.5",
        "/b.ts",
    )

    assert (playlist.target, playlist.first, playlist.next_number, playlist.ended) == (2, 7, 9, False)
    assert [(segment.number, segment.duration, segment.uri) for segment in playlist.segments] == [
        (7, 2.002, "https://cdn.example/live/a b.ts?x=1"),
        (8, 1.5, "https://cdn.example/b.ts"),
    ]
    assert not playlist.dropped


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"<!DOCTYPE html><html>", "<!DOCTYPE html>"),
        (b'{"error": "gone"}', "begins with"),
        (b"\x1f\x8b\x08\x00", "begins with"),
        (b"\x1b]0;evil\x07", r"\x1b"),
    ],
)
def test_what_is_no_playlist_is_refused_with_its_beginning(body: bytes, words: str) -> None:
    with pytest.raises(PlaylistError, match=words.replace("\\", r"\\").replace("{", r"\{")):
        parse(body, URL)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\n\n  "])
def test_line_ends_a_mark_of_byte_order_remarks_and_unknown_tags_change_nothing(ends: str) -> None:
    lines = ["#EXT-X-NEW-TAG:a=b", "# a remark", "#EXTINF:2,", "a.ts", "#EXT-X-BITRATE:x", "#EXTINF:2", "b.ts"]

    body = b"\xef\xbb\xbf" + ends.join(["#EXTM3U", *lines]).encode()

    playlist = parse(body, URL)
    assert isinstance(playlist, MediaPlaylist)
    assert [segment.uri.rpartition("/")[2] for segment in playlist.segments] == ["a.ts", "b.ts"]


@pytest.mark.parametrize("tag", ["#EXTINF:abc,", "#EXTINF:nan", "#EXTINF:0", "#EXTINF:-2", "#EXTINF:1e9", "#EXTINF:"])
def test_a_segment_without_a_usable_length_is_dropped_and_keeps_its_number(tag: str) -> None:
    playlist = media("#EXTINF:2", "a.ts", tag, "b.ts", "#EXTINF:2", "c.ts")

    assert [(segment.number, segment.uri[-4:]) for segment in playlist.segments] == [(0, "a.ts"), (2, "c.ts")]
    assert playlist.next_number == 3
    assert playlist.dropped["EXTINF"] == playlist.dropped["segment"] == 1


@pytest.mark.parametrize(
    "tag",
    [
        "#EXT-X-TARGETDURATION:two",
        "#EXT-X-MEDIA-SEQUENCE:",
        "#EXT-X-MEDIA-SEQUENCE:-5",
        "#EXT-X-PROGRAM-DATE-TIME:yesterday",
        "#EXT-X-PROGRAM-DATE-TIME:0001-01-01T00:00:00+14:00",
        "#EXT-X-DISCONTINUITY-SEQUENCE:x",
        "#EXT-X-SKIP:SKIPPED=3",
        "#EXT-X-DEFINE:",
    ],
)
def test_one_bad_tag_is_counted_and_the_rest_stands(tag: str) -> None:
    playlist = media(tag, "#EXTINF:2", "a.ts")

    assert len(playlist.segments) == 1
    assert sum(playlist.dropped.values()) == 1


def test_a_target_duration_may_have_a_fraction_and_may_be_missing() -> None:
    assert media("#EXT-X-TARGETDURATION:2.5", "#EXTINF:2", "a.ts").target == 2.5
    assert media("#EXTINF:2", "a.ts", "#EXTINF:4", "b.ts").target == 4
    assert media().target == 6


def test_a_target_duration_that_segments_are_longer_than_is_not_believed() -> None:
    assert media("#EXT-X-TARGETDURATION:2", "#EXTINF:1.9", "a.ts", "#EXTINF:4.004", "b.ts").target == 4.004
    assert media("#EXT-X-TARGETDURATION:2", "#EXTINF:2.4", "a.ts").target == 2, "rounded durations count (RFC 8216bis, 4.4.3.1)"
    assert media("#EXT-X-TARGETDURATION:8").target == 8


def test_dates_are_utc_with_or_without_an_offset() -> None:
    playlist = media(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.5+02:00", "#EXTINF:2", "a.ts",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T10:00:02", "#EXTINF:2", "b.ts", "#EXTINF:2", "c.ts",
    )  # fmt: skip

    assert [segment.date for segment in playlist.segments] == [
        datetime(2026, 1, 31, 10, 0, 0, 500_000, UTC),
        datetime(2026, 1, 31, 10, 0, 2, tzinfo=UTC),
        None,
    ]


def test_parts_and_hints_change_neither_dates_nor_segments() -> None:
    playlist = media(
        "#EXT-X-PART-INF:PART-TARGET=0.5", "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00Z",
        '#EXT-X-PART:DURATION=0.5,URI="a.0.ts"',
        '#EXT-X-PART:DURATION=0.5,URI="a.1.ts",GAP=YES', "#EXTINF:1", "a.ts", '#EXT-X-PART:DURATION=0.5,URI="b.0.ts"',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.1.ts"', '#EXT-X-RENDITION-REPORT:URI="../low.m3u8",LAST-MSN=3',
    )  # fmt: skip

    assert [segment.uri[-4:] for segment in playlist.segments] == ["a.ts"]
    assert not playlist.dropped


def test_skipped_segments_shift_the_numbers() -> None:
    playlist = media("#EXT-X-MEDIA-SEQUENCE:10", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3", "#EXTINF:2", "d.ts")

    assert playlist.segments[0].number == 13


def test_ranges_without_an_offset_follow_the_range_before_of_the_same_resource() -> None:
    playlist = media(
        "#EXTINF:2", "#EXT-X-BYTERANGE:100@50", "a.mp4", "#EXT-X-BYTERANGE:10@0", "#EXTINF:2", "b.mp4",
        "#EXT-X-BYTERANGE:30", "#EXTINF:2", "a.mp4", "#EXT-X-BYTERANGE:30", "#EXTINF:2", "c.mp4",
    )  # fmt: skip

    assert [segment.byte_range for segment in playlist.segments] == [Range(100, 50), Range(10, 0), Range(30, 150)]
    assert playlist.next_number == 4
    assert playlist.dropped["segment"] == 1


def test_each_segment_has_the_init_segment_that_is_valid_there() -> None:
    playlist = media(
        '#EXT-X-MAP:URI="i1.mp4"', "#EXTINF:2", "a.m4s", '#EXT-X-MAP:URI="i2.mp4",BYTERANGE="20@5"', "#EXTINF:2", "b.m4s",
        "#EXT-X-MAP:BYTERANGE=1", "#EXTINF:2", "c.m4s", '#EXT-X-MAP:URI="i3.mp4",BYTERANGE="7"', "#EXTINF:2", "d.m4s",
    )  # fmt: skip

    base = "https://cdn.example/live/"
    assert [(segment.uri[-5:], segment.init) for segment in playlist.segments] == [
        ("a.m4s", InitSegment(f"{base}i1.mp4")),
        ("b.m4s", InitSegment(f"{base}i2.mp4", Range(20, 5))),
        ("d.m4s", InitSegment(f"{base}i3.mp4", Range(7, 0))),
    ]


def test_keys_change_within_a_playlist_and_what_cannot_be_decrypted_is_marked() -> None:
    playlist = media(
        "#EXTINF:2", "clear.ts", '#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0xABC', "#EXTINF:2", "a.ts",
        "#EXT-X-KEY:METHOD=NONE", "#EXTINF:2", "clear2.ts",
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k2"', "#EXTINF:2", "b.ts", "#EXT-X-KEY:METHOD=NONE",
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"', "#EXTINF:2", "c.ts",
        '#EXT-X-KEY:METHOD=AES-128,URI="k3"', "#EXTINF:2", "d.ts", "#EXT-X-KEY:", "#EXTINF:2", "e.ts",
    )  # fmt: skip

    keys = [(segment.key.uri[-2:], segment.key.iv) if segment.key else segment.encrypted for segment in playlist.segments]
    assert keys == [False, ("k1", (0xABC).to_bytes(16, "big")), False, True, True, ("k3", None), True]


def test_an_init_segment_keeps_the_key_that_was_valid_there() -> None:
    playlist = media(
        '#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0x1', '#EXT-X-MAP:URI="i.mp4"', "#EXTINF:2", "a.m4s",
        '#EXT-X-KEY:METHOD=AES-128,URI="k2",IV=0x2', "#EXTINF:2", "b.m4s", "#EXT-X-KEY:METHOD=NONE", "#EXTINF:2", "c.m4s",
    )  # fmt: skip

    events = step(Stream("news", from_start=True), Position(), playlist, datetime.now(UTC))[1]

    found = [[key and (key.uri[-2:], int(key.iv, 16)) for key in (event.key, event.init_key)] for event in events]
    assert found == [[("k1", 1), None], [("k2", 2), ("k1", 1)], [None, ("k1", 1)]]


def test_an_unreadable_key_does_not_leave_its_segments_clear() -> None:
    assert media("#EXT-X-KEY:METHOD", "#EXTINF:2", "a.ts").segments[0].encrypted


def test_gaps_and_discontinuities() -> None:
    playlist = media(
        "#EXT-X-DISCONTINUITY-SEQUENCE:4", "#EXTINF:2", "a.ts", "#EXT-X-DISCONTINUITY", "#EXT-X-GAP", "#EXTINF:2", "b.ts",
        "#EXTINF:2", "c.ts", "#EXT-X-ENDLIST",
    )  # fmt: skip

    assert [(segment.discontinuity, segment.gap) for segment in playlist.segments] == [(4, False), (5, True), (5, False)]
    assert playlist.ended


def test_variables_are_put_into_addresses_and_quoted_values() -> None:
    playlist = media(
        '#EXT-X-DEFINE:NAME="base",VALUE="https://other.example/x"', '#EXT-X-DEFINE:QUERYPARAM="token"',
        '#EXT-X-DEFINE:IMPORT="show"',
        '#EXT-X-MAP:URI="{$base}/init.mp4"', "#EXTINF:2", "{$base}/{$show}/a.ts?t={$token}", imported={"show": "s1"},
    )  # fmt: skip

    assert playlist.segments[0].uri == "https://other.example/x/s1/a.ts?t=a/b"
    assert playlist.segments[0].init == InitSegment("https://other.example/x/init.mp4")


@pytest.mark.parametrize("lines", [["#EXTINF:2", "{$x}.ts"], ['#EXT-X-DEFINE:IMPORT="x"'], ['#EXT-X-DEFINE:QUERYPARAM="x"']])
def test_a_variable_that_is_not_defined_refuses_the_playlist(lines: list[str]) -> None:
    with pytest.raises(PlaylistError, match="variable x"):
        media(*lines)


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "gopher://x/y", "data:video/mp2t;base64,AAAA", "http://[", "s3://bucket/a.ts"]
)
def test_a_playlist_from_a_server_names_no_other_scheme(uri: str) -> None:
    playlist = media("#EXTINF:2", uri, f'#EXT-X-MAP:URI="{uri}"', "#EXTINF:2", "a.ts")

    assert playlist.segments == ()
    assert playlist.next_number == 2


def test_a_playlist_of_a_spool_names_files() -> None:
    assert media("#EXTINF:2", "a.ts", url="file:///spool/live.m3u8").segments[0].uri == "file:///spool/a.ts"


def test_the_last_segment_of_a_cut_playlist_is_not_announced() -> None:
    assert media("#EXTINF:2", "a.ts", "#EXTINF:2").next_number == 1


def test_a_playlist_with_too_many_segments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_SEGMENTS", 3)

    with pytest.raises(PlaylistError, match="more than 3 segments"):
        media(*["#EXTINF:2", "a.ts"] * 4)


def test_renditions_of_a_master_playlist() -> None:
    playlist = master(
        '#EXT-X-DEFINE:NAME="v",VALUE="1"', '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="audio.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=3000000.5,RESOLUTION=1280x720,CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=25',
        "720.m3u8?v={$v}",
        '#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"', "sound.m3u8", "#EXT-X-STREAM-INF:RESOLUTION=bad", "what.m3u8",
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"', "#EXT-X-STREAM-INF:BANDWIDTH=1", "file:///etc/passwd",
    )  # fmt: skip

    base = "https://cdn.example/live/"
    assert [
        (variant.uri.removeprefix(base), variant.bandwidth, variant.height, variant.has_video) for variant in playlist.variants
    ] == [
        ("720.m3u8?v=1", 3_000_000, 720, True),
        ("sound.m3u8", 64_000, 0, False),
        ("what.m3u8", 0, 0, True),
    ]
    assert playlist.variables == {"v": "1"}
    assert playlist.dropped == {"EXT-X-STREAM-INF": 1}


LINES = st.lists(
    st.sampled_from(
        [
            "#EXTINF:2,",
            "a.ts",
            "#EXT-X-KEY:",
            "#EXT-X-MAP:",
            "#EXT-X-BYTERANGE:5",
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=2",
            "#EXT-X-STREAM-INF:",
            "{$x}",
        ]
    )
    | st.text(max_size=30),
    max_size=30,
)


@given(LINES)
def test_no_text_makes_the_reader_raise_anything_but_its_own_error(lines: list[str]) -> None:
    with contextlib.suppress(PlaylistError):
        parse("\n".join(["#EXTM3U", *lines]).encode(errors="replace"), URL)


@given(st.binary(max_size=200))
def test_no_bytes_do_either(body: bytes) -> None:
    with contextlib.suppress(PlaylistError):
        parse(b"#EXTM3U\n" + body, URL)


@given(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=20),
    st.lists(st.sampled_from(["# remark", "#EXT-X-UNKNOWN:1", "", "  ", "#", "#EXT-X-CUE-OUT"]), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_segments_do_not_depend_on_what_stands_between_them(durations: list[float], noise: list[str], random) -> None:  # type: ignore[no-untyped-def]
    plain = [line for number, duration in enumerate(durations) for line in (f"#EXTINF:{duration}", f"{number}.ts")]
    noisy = list(plain)
    for line in noise:
        noisy.insert(random.randrange(len(noisy) + 1), line)

    assert media(*noisy).segments == media(*plain).segments


@pytest.mark.parametrize(
    "line",
    [
        "#EXT-X-KEY:" + "A" * 1_000_000, "#EXT-X-KEY:A" + " " * 1_000_000, "#EXT-X-KEY:" + 'A="' * 300_000,
        "#EXT-X-KEY:" + "A=" * 300_000, "#EXT-X-BYTERANGE:1" + " " * 1_000_000 + "x", "#EXTINF:" + "1" * 1_000_000,
        "../" * 300_000, "{$" * 500_000,
    ],
    ids=["name", "spaces", "quotes", "signs", "range", "number", "path", "variable"],
)  # fmt: skip
def test_a_line_of_a_megabyte_takes_no_time(line: str) -> None:
    began = time.process_time()
    parse(f"#EXTM3U\n{line}\n#EXTINF:2\n1.ts\n".encode(), "http://o.example/a.m3u8")
    assert time.process_time() - began < 5, "a pattern that reads it again from each letter takes hours"


def test_variables_that_double_each_other_do_not_fill_the_memory() -> None:
    lines = ["#EXTM3U", '#EXT-X-DEFINE:NAME="v0",VALUE="0123456789"']
    lines += [f'#EXT-X-DEFINE:NAME="v{number}",VALUE="{{$v{number - 1}}}{{$v{number - 1}}}"' for number in range(1, 60)]
    with pytest.raises(PlaylistError, match="the variables stand for more than"):
        parse("\n".join(lines).encode(), "http://o.example/a.m3u8")


def test_an_address_that_no_event_can_hold_costs_its_segment_alone() -> None:
    text = f"#EXTM3U\n#EXTINF:2\n{'x' * 9000}.ts\n#EXTINF:2\n2.ts\n"
    playlist = parse(text.encode(), "http://o.example/a.m3u8")
    assert isinstance(playlist, MediaPlaylist)
    assert [segment.number for segment in playlist.segments] == [1]
    assert playlist.dropped["segment"] == 1


@pytest.mark.parametrize("number", [1769860800123456789, 2**64 - 1])
def test_numbers_begin_anywhere_in_64_bits(number: int) -> None:
    playlist = media(f"#EXT-X-MEDIA-SEQUENCE:{number}", "#EXTINF:2", "a.ts", "#EXTINF:2", "b.ts")
    assert [segment.number for segment in playlist.segments] == [number, number + 1]
    assert not playlist.dropped
    assert media(f"#EXT-X-MEDIA-SEQUENCE:{2**64}", "#EXTINF:2", "a.ts").dropped == {"EXT-X-MEDIA-SEQUENCE": 1}
