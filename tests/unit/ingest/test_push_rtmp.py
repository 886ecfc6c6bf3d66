"""The RTMP server: which source an encoder reaches, and what happens to those that reach none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator

import pytest

from streams.ingest.push import rtmp
from streams.ingest.push.amf import LONG, encode
from streams.ingest.push.chunks import Kind
from streams.ingest.push.rtmp import FLV_HEADER, Place, Publication, PublishError, RtmpServers
from tests.support.rtmp import KEY_FRAME, Encoder
from tests.support.servers import free_ports

STARTED, REFUSED = "NetStream.Publish.Start", "NetStream.Publish.BadName"


@pytest.fixture
def servers() -> RtmpServers:
    return RtmpServers()


@pytest.fixture
def place() -> Place:
    return Place("127.0.0.1", free_ports(1))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtmp, "REFUSED_SECONDS", 0.01)


async def read(publication: Publication, seconds: float = 60.0) -> list[bytes]:
    return [data async for data in publication.flv(seconds)]


async def opened(publication: Publication) -> AsyncIterator[bytes]:
    """The pictures, after the header."""
    pictures = publication.flv(60.0)
    assert await anext(pictures) == FLV_HEADER
    return pictures


async def test_encoders_on_one_port_reach_the_source_of_their_key(servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/one") as one, servers.listen(place, "live/deep/two") as two:
        for listener, application, key in ((two, "live/deep", "two"), (one, "live/", "one"), (two, "live", "deep/two")):
            encoder = await Encoder.connect(place.port)
            assert await encoder.publish(application, key) == STARTED
            publication = await listener.accept()
            await encoder.picture(time=70_000)
            pictures = await opened(publication)
            tag = await anext(pictures)
            assert tag[:11] == b"\x09" + len(KEY_FRAME).to_bytes(3) + (70_000 % 2**24).to_bytes(3) + b"\0\0\0\0"
            assert tag[11:-4] == KEY_FRAME
            assert int.from_bytes(tag[-4:]) == len(tag) - 4
            encoder.close()
            assert [picture async for picture in pictures] == []
            assert not publication.goodbye


async def test_a_wrong_key_is_refused_and_no_key_is_in_the_log(
    servers: RtmpServers, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with servers.listen(place, "live/s3cret-key"):
        for application, key in (("live", "s3cret-kez"), ("live", ""), ("", "s3cret-key"), ("live", "s3cret-key2")):
            encoder = await Encoder.connect(place.port)
            assert await encoder.publish(application, key) == REFUSED
            assert await encoder.is_closed()
    assert "named no source" in caplog.text
    assert "s3cret" not in caplog.text


async def test_the_newest_encoder_counts(servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/key") as listener:
        first = await Encoder.connect(place.port)
        await first.publish("live", "key")
        before = await listener.accept()
        pictures = await opened(before)
        second = await Encoder.connect(place.port)
        assert await second.publish("live", "key") == STARTED
        assert [picture async for picture in pictures] == []
        assert await first.is_closed()
        after = await listener.accept()
        await second.picture()
        assert await anext(await opened(after))
        second.close()


@pytest.mark.parametrize("goodbye", ["FCUnpublish", "deleteStream", "closeStream"])
async def test_an_encoder_says_that_the_stream_ends(goodbye: str, servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/key") as listener:
        encoder = await Encoder.connect(place.port)
        await encoder.publish("live", "key")
        publication = await listener.accept()
        await encoder.picture()
        encoder.command(goodbye, 5.0, None, "key")
        assert len(await read(publication)) == 2
        assert publication.goodbye
        encoder.close()


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (9, b"\x12\0\0", "FLV's codec 2: set it to H.264 or H.265"),
        (9, b"\x90av01", "sends av01: set it to H.264"),
        (9, b"\x90\x1b[2J", "set it to H.264"),
        (Kind.COMMAND, b"\x02\xff\xff", "cut off"),
        (8, b"\xaf\x01sound", "has sent no picture for 0.2 s"),
    ],
)
async def test_what_an_encoder_sends_and_cannot_be_used_is_said(
    kind: int, data: bytes, words: str, servers: RtmpServers, place: Place
) -> None:
    async with servers.listen(place, "live/key") as listener:
        encoder = await Encoder.connect(place.port)
        await encoder.publish("live", "key")
        publication = await listener.accept()
        encoder.send(kind, data)
        with pytest.raises(PublishError, match=words) as raised:
            await read(publication, 0.2 if "0.2 s" in words else 60.0)
        assert "\x1b" not in str(raised.value)
        encoder.close()


async def test_pings_are_answered_and_bytes_acknowledged(servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/key") as listener:
        encoder = await Encoder.connect(place.port)
        await encoder.publish("live", "key")
        reading = asyncio.create_task(read(await listener.accept()))
        encoder.send(Kind.USER_CONTROL, b"\0\6abcd")
        for _ in range(3):
            await encoder.picture(b"\x17" + bytes(700_000))
        kinds = {}
        while len(kinds) < 2:
            message = await encoder.chunks.message()
            kinds[message.kind] = message.data
        assert kinds[Kind.USER_CONTROL] == b"\0\7abcd"
        assert int.from_bytes(kinds[3]) > 1_000_000
        encoder.close()
        await reading


async def test_no_garbage_stops_the_server(servers: RtmpServers, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtmp, "PUBLISH_SECONDS", 600.0)
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    chance = random.Random(1)
    async with servers.listen(place, "live/key") as listener:
        for length in (0, 1, 100, 1537, 5000, 100_000):
            for begin in (b"", b"\3", b"\3" + bytes(2 * 1536), b"GET / HTTP/1.1\r\n\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", place.port)
                writer.write(begin + chance.randbytes(length))
                if length % 2:
                    writer.write_eof()
                await asyncio.sleep(0)
                writer.transport.abort()
        player = await Encoder.connect(place.port)
        player.command("connect", 1.0, {"app": "live"})
        player.command("play", 2.0, None, "key", stream=1)
        assert await player.is_closed()
        with monkeypatch.context() as short, contextlib.suppress(EOFError):  # on a slow machine it ends in the handshake
            short.setattr(rtmp, "PUBLISH_SECONDS", 0.2)
            silent = await Encoder.connect(place.port)
            assert await silent.is_closed()
        encoder = await Encoder.connect(place.port)
        assert await encoder.publish("live", "key") == STARTED
        await listener.accept()
        encoder.close()
    assert faults == []


async def test_a_command_whose_name_or_number_is_of_another_type_stops_nothing(servers: RtmpServers, place: Place) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    text = bytes([LONG]) + (60_000).to_bytes(4) + b"\xff" * 60_000  # too long to be sent back as it is read
    async with servers.listen(place, "live/key") as listener:
        encoder = await Encoder.connect(place.port)
        encoder.send(Kind.COMMAND, encode(["createStream"]) + text)
        assert (await encoder.answer())[:2] == ["_result", None]
        assert await encoder.publish("live", "key") == STARTED
        publication = await listener.accept()
        encoder.command({"a": 1.0}, 5.0)
        encoder.send(Kind.COMMAND, b"")
        await encoder.picture()
        pictures = await opened(publication)
        assert await anext(pictures)
        encoder.close()
    assert faults == []


async def test_one_address_cannot_take_all_connections(servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/key"):
        waiting = [await Encoder.connect(place.port) for _ in range(rtmp.MOST_UNKNOWN_PER_HOST)]
        with pytest.raises((EOFError, ConnectionError)):
            await Encoder.connect(place.port)
        for encoder in waiting:
            encoder.close()


async def test_a_port_is_free_when_its_last_source_has_left(servers: RtmpServers, place: Place) -> None:
    async with servers.listen(place, "live/one"):
        async with servers.listen(place, "live/two"):
            with pytest.raises(OSError, match="in use"):
                async with RtmpServers().listen(place, "live/three"):
                    pass
        encoder = await Encoder.connect(place.port)
        assert await encoder.publish("live", "two") == REFUSED
    async with RtmpServers().listen(place, "live/one"):
        pass
