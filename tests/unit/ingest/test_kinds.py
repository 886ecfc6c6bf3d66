"""Which kind of live source an address is."""

from __future__ import annotations

import pytest

from streams.errors import MediaError, SettingsError
from streams.ingest.kinds import is_address, kind_by_name, kind_of
from streams.media.read import Reader, ReadError
from tests.support.origin import Origin

PLAYLIST = "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:2\n"


@pytest.mark.parametrize(
    "source", ["http://o.example/x", "news=https://o.example/x", "rtmp://o.example/live", "SRT://o.example:9"]
)
def test_addresses(source: str) -> None:
    assert is_address(source)


@pytest.mark.parametrize("source", ["a.mp4", "/srv/a=b.mp4", "./http:/x", "folder/", "a=b", "x/y=http://o.example/x"])
def test_paths(source: str) -> None:
    assert not is_address(source)


@pytest.mark.parametrize(
    "address", ["http://o.example/x.m3u8", "https://o.example/X.M3U8?token=a.mpd", "http://o.example/x.m3u#t"]
)
def test_a_playlist_is_known_by_its_name(address: str) -> None:
    kind = kind_by_name(address)
    assert kind is not None
    assert kind.command == "hls"


def test_a_scheme_that_nothing_follows_is_refused_without_its_secrets() -> None:
    with pytest.raises(
        SettingsError, match=r"gopher://o.example/x cannot be followed; live sources begin with http://"
    ) as raised:
        kind_by_name("gopher://me:s3cret@o.example/x?token=s3cret")
    assert "s3cret" not in str(raised.value)


def test_a_manifest_is_known_by_its_name() -> None:
    kind = kind_by_name("https://o.example/x.mpd?token=a.m3u8")
    assert kind is not None
    assert kind.command == "dash"


async def test_an_address_without_an_ending_is_known_by_its_answer(origin: Origin, reader: Reader) -> None:
    origin.script("/live", PLAYLIST)
    assert (await kind_of(origin.url("/live?token=1"), reader)).command == "hls"
    origin.script("/manifest", '<?xml version="1.0"?>\n<MPD type="dynamic">')
    assert (await kind_of(origin.url("/manifest"), reader)).command == "dash"
    origin.script("/page", "<html>")
    with pytest.raises(MediaError, match="/page is no live source") as raised:
        await kind_of(origin.url("/page?token=s3cret"), reader)
    assert "s3cret" not in raised.value.reason


async def test_a_video_is_no_live_source_and_is_told_what_scores_it(origin: Origin) -> None:
    origin.script("/talk.mp4", b"x" * 2000)
    async with Reader(private=True, most=1000) as reader:
        with pytest.raises(MediaError, match=r"/talk.mp4 is no live source, but a large file: `fvq score`") as raised:
            await kind_of(origin.url("/talk.mp4?token=s3cret"), reader)
    assert "s3cret" not in raised.value.reason


async def test_a_named_playlist_may_be_away_and_any_other_address_may_not(origin: Origin, reader: Reader) -> None:
    assert (await kind_of(origin.url("/away.m3u8"), reader)).command == "hls"
    with pytest.raises(ReadError, match="not there"):
        await kind_of(origin.url("/away"), reader)


async def test_a_private_address_is_refused_with_the_setting_that_allows_it(origin: Origin) -> None:
    async with Reader() as public:
        with pytest.raises(ReadError, match=r"127.0.0.1 is not a public address; FVQ_FETCH_PRIVATE=true allows"):
            await kind_of(origin.url("/live.m3u8"), public)
        with pytest.raises(ReadError, match=r"localhost resolves to .*, which is not a public address; FVQ_FETCH_PRIVATE=true"):
            await kind_of(origin.url("/live.m3u8", "localhost"), public)
