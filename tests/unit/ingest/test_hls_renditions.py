"""Which renditions of a master playlist are followed."""

from __future__ import annotations

import pytest

from streams.ingest.hls.playlist import parse
from streams.ingest.hls.renditions import choose
from streams.ingest.hls.values import MasterPlaylist, PlaylistError


def master(*entries: str) -> MasterPlaylist:
    """entries: attributes and address, with a space between them."""
    lines = ["#EXTM3U"]
    for entry in entries:
        attributes, _, address = entry.partition(" ")
        lines += [f"#EXT-X-STREAM-INF:{attributes}", address]
    playlist = parse("\n".join(lines).encode(), "http://o.example/master.m3u8")
    assert isinstance(playlist, MasterPlaylist)
    return playlist


LADDER = master(
    "BANDWIDTH=800000,RESOLUTION=640x360 low.m3u8",
    "BANDWIDTH=5000000,RESOLUTION=1280x720 high.m3u8",
    "BANDWIDTH=2500000,RESOLUTION=1280x720 middle.m3u8",
    'BANDWIDTH=128000,CODECS="mp4a.40.2" audio.m3u8',
)


def test_the_highest_is_the_one_with_most_pixels_and_bits() -> None:
    assert choose(LADDER, "highest") == {"720p-5000000": ("http://o.example/high.m3u8",)}


def test_all_are_those_with_pictures_each_with_a_name() -> None:
    assert list(choose(LADDER, "all")) == ["360p", "720p-5000000", "720p-2500000"]


@pytest.mark.parametrize("codecs", ["mp4a.40.2", "mp4a.40.2,wvtt", "stpp.ttml.im1t,ec-3", "mhm1.0x0D"])
def test_sound_with_subtitles_is_no_rendition(codecs: str) -> None:
    playlist = master(f'BANDWIDTH=64000,CODECS="{codecs}" sound.m3u8', 'BANDWIDTH=9,CODECS="avc1,wvtt" a.m3u8')
    assert choose(playlist, "all") == {"9": ("http://o.example/a.m3u8",)}


def test_one_is_chosen_by_its_name() -> None:
    assert choose(LADDER, "360p") == {"360p": ("http://o.example/low.m3u8",)}


def test_a_name_that_is_not_there_is_an_error_that_says_which_are() -> None:
    with pytest.raises(PlaylistError, match="there is no rendition 1080p: there are 360p, 720p-5000000, 720p-2500000"):
        choose(LADDER, "1080p")


def test_entries_that_differ_in_their_address_alone_stand_in_for_each_other() -> None:
    twice = master("BANDWIDTH=1,RESOLUTION=640x360 http://a.example/x", "BANDWIDTH=1,RESOLUTION=640x360 http://b.example/x")
    assert choose(twice, "all") == {"360p": ("http://a.example/x", "http://b.example/x")}


def test_a_playlist_that_stands_there_once_for_each_sound_is_one_rendition() -> None:
    entries = [
        'BANDWIDTH=6435684,RESOLUTION=1920x1080,CODECS="avc1.64002a,ac-3",AUDIO="b" {}8.m3u8',
        'BANDWIDTH=2227464,RESOLUTION=960x540,CODECS="avc1.640020,mp4a.40.2",AUDIO="a" {}5.m3u8',
        'BANDWIDTH=6214307,RESOLUTION=1920x1080,CODECS="avc1.64002a,mp4a.40.2",AUDIO="a" {}8.m3u8',
        'BANDWIDTH=2448841,RESOLUTION=960x540,CODECS="avc1.640020,ac-3",AUDIO="b" {}5.m3u8',
    ]
    ladder = master(*(entry.format("") for entry in entries))
    assert choose(ladder, "all") == {"1080p": ("http://o.example/8.m3u8",), "540p": ("http://o.example/5.m3u8",)}
    assert list(choose(ladder, "highest")) == list(choose(ladder, "1080p")) == ["1080p"]
    servers = master(
        *(entry.format("http://a.example/") for entry in entries),
        *(entry.format("http://b.example/") for entry in reversed(entries)),
    )
    assert choose(servers, "1080p") == {"1080p": ("http://a.example/8.m3u8", "http://b.example/8.m3u8")}


def test_names_are_unique_whatever_the_entries_say() -> None:
    odd = master(
        "BANDWIDTH=1,RESOLUTION=10x9 a",
        'BANDWIDTH=1,RESOLUTION=10x9,CODECS="avc1" b',
        "BANDWIDTH=7 c",
        "X=1 d",
        "Y=1,FRAME-RATE=9 e",
    )
    assert list(choose(odd, "all")) == ["9p-1", "9p-1-2", "7", "video", "video-2"]


def test_a_master_playlist_of_sound_alone_is_an_error() -> None:
    with pytest.raises(PlaylistError, match="no rendition with pictures"):
        choose(master('BANDWIDTH=1,CODECS="mp4a.40.2" audio.m3u8'), "all")
