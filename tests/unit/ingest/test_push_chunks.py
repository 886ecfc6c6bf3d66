"""RTMP's messages and values: what an encoder sends, and what anybody may send."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ingest.push import amf
from streams.ingest.push.amf import RtmpError, decode, encode
from streams.ingest.push.chunks import LARGE_MESSAGE, SMALL_MESSAGE, ChunkReader, Kind, Message, chunked

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXTS,
    lambda values: st.dictionaries(TEXTS.filter(bool), values, max_size=3),
    max_leaves=10,
)


async def messages_of(data: bytes, most: int = LARGE_MESSAGE) -> list[Message]:
    """All messages of a connection that ends."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    chunks = ChunkReader(reader, most)
    messages = []
    while True:
        try:
            messages.append(await chunks.message())
        except EOFError:
            return messages


def header(form: int, number: int, rest: bytes) -> bytes:
    return bytes([form << 6 | number]) + rest


def begin(length: int, kind: int = Kind.VIDEO, time: int = 0, number: int = 4) -> bytes:
    """The header of a message that begins."""
    return header(0, number, time.to_bytes(3) + length.to_bytes(3) + bytes([kind]) + (1).to_bytes(4, "little"))


LARGE_CHUNKS = begin(4, kind=Kind.SET_CHUNK_SIZE, number=2) + (2**24).to_bytes(4)


@settings(deadline=None)
@given(values=st.lists(VALUES, max_size=5))
def test_values_come_back_as_they_were(values: list[amf.Value]) -> None:
    assert decode(encode(values)) == values


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_values_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RtmpError):
        assert len(decode(data)) <= len(data)


def test_values_are_counted_before_they_fill_the_memory() -> None:
    with pytest.raises(RtmpError, match="256 values"):
        decode(bytes([amf.LIST]) + (2**32 - 1).to_bytes(4) + bytes([amf.NULL]) * 1000)
    with pytest.raises(RtmpError, match="nested deeper than 8"):
        decode((bytes([amf.OBJECT]) + b"\0\1a") * 100)
    with pytest.raises(RtmpError, match="cut off"):
        decode(bytes([amf.LONG]) + (2**32 - 1).to_bytes(4) + b"x")


@settings(deadline=None)
@given(data=st.binary(max_size=1000), time=st.integers(0, 2**24 - 2))
async def test_a_message_comes_back_from_its_chunks(data: bytes, time: int) -> None:
    message = Message(Kind.COMMAND, time, 1, data)
    assert await messages_of(chunked(message)) == [message]


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=300))
async def test_any_bytes_are_messages_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RtmpError):
        assert sum(len(message.data) for message in await messages_of(data, SMALL_MESSAGE)) <= len(data)


async def test_messages_of_two_streams_come_interleaved() -> None:
    data = begin(200, number=4) + b"a" * 128 + begin(130, number=5) + b"b" * 128 + header(3, 4, b"a" * 72) + header(3, 5, b"bb")
    assert [message.data for message in await messages_of(data)] == [b"a" * 200, b"b" * 130]


async def test_times_go_on_by_what_each_header_says() -> None:
    later = header(1, 4, (40).to_bytes(3) + (1).to_bytes(3) + bytes([Kind.VIDEO]))
    data = begin(1, time=1000) + b"x" + later + b"x" + header(3, 4, b"x") + header(2, 4, (5).to_bytes(3)) + b"x"
    assert [message.time for message in await messages_of(data)] == [1000, 1040, 1080, 1085]


async def test_a_time_over_four_hours_is_extended_in_each_chunk() -> None:
    time = 20_000_000
    extended = (
        begin(200, time=0xFFFFFF) + struct.pack(">I", time) + b"a" * 128 + header(3, 4, struct.pack(">I", time)) + b"a" * 72
    )
    (message,) = await messages_of(extended)
    assert (message.time, message.data) == (time, b"a" * 200)


async def test_the_size_of_chunks_is_set_and_large_numbers_are_read() -> None:
    size = begin(4, kind=Kind.SET_CHUNK_SIZE, number=2) + (1000).to_bytes(4)
    far = b"\x00" + bytes([10]) + begin(300)[1:] + b"c" * 300  # chunk stream 74
    farther = b"\x01" + bytes([1, 2]) + begin(3)[1:] + b"ddd"  # chunk stream 577
    assert [message.data for message in await messages_of(size + far + farther)] == [b"c" * 300, b"ddd"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (begin(4, kind=Kind.SET_CHUNK_SIZE, number=2) + bytes(4), "impossible size of chunks"),
        (header(3, 4, b"x"), "never came"),
        (b"".join(begin(1, number=number) + b"x" for number in range(2, 40)), "more than 32 chunk streams"),
        (LARGE_CHUNKS + begin(100_000) + bytes(100_000), "more than 65536 bytes"),
        (
            b"".join(begin(60_000, number=number) + bytes(128) for number in range(3, 20))
            + b"".join(header(3, number, bytes(128)) for _ in range(40) for number in range(3, 20)),
            "more than 65536 bytes",
        ),
    ],
    ids=["chunks of nothing", "no beginning", "streams", "one message", "many messages"],
)  # fmt: skip
async def test_what_would_fill_the_memory_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(RtmpError, match=words):
        await messages_of(data, SMALL_MESSAGE)
