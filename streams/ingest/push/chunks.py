"""RTMP's lower half: messages, which come in chunks of several interleaved streams (Adobe's specification 1.0, section 5.3).

What comes is from anybody until its key is known, so everything that would be kept is counted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from streams.ingest.push.amf import RtmpError


class Kind(IntEnum):
    """Types of messages (sections 5.4 and 7.1)."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_SIZE = 5
    PEER_BANDWIDTH = 6
    VIDEO = 9
    COMMAND_AMF3 = 17
    COMMAND = 20


FIRST_CHUNK_SIZE = 128
LARGEST_CHUNK = 0xFFFFFF
"""Bytes of a chunk's payload: at the beginning, and at most (section 5.4.1)."""

SMALL_MESSAGE = 64 * 1024
"""Bytes of a message from somebody whose key is not known yet."""

LARGE_MESSAGE = 8 * 2**20
"""Bytes of a message from an encoder: a picture of 4K as a key frame has 2 MiB."""

MOST_STREAMS = 32
"""Chunk streams of a connection. Encoders use four."""

EXTENDED = 0xFFFFFF
"""A time that does not fit into three bytes is written like this, and follows in four."""


@dataclass(frozen=True)
class Message:
    """A message. time: milliseconds, 0 to 2**32 - 1. stream: 0 for the connection."""

    kind: int
    time: int
    stream: int
    data: bytes


@dataclass
class _ChunkStream:
    """What a chunk stream's last header said, and its message as far as it has come."""

    time: int = 0
    delta: int = 0
    length: int = 0
    kind: int = 0
    stream: int = 0
    extended: bool = False
    begun: bool = False
    data: bytearray = field(default_factory=bytearray)


class ChunkReader:
    """Reads messages. most: bytes of a message, and of all messages that are not complete; the caller raises it later."""

    def __init__(self, reader: asyncio.StreamReader, most: int = SMALL_MESSAGE) -> None:
        self.most = most
        self.count = 0
        self._reader, self._chunk = reader, FIRST_CHUNK_SIZE
        self._streams: dict[int, _ChunkStream] = {}

    async def message(self) -> Message:
        """The next message. Raises `RtmpError`, or EOFError at the end of the connection."""
        while True:
            state = await self._chunk_stream()
            wanted = min(state.length - len(state.data), self._chunk)
            if sum(len(other.data) for other in self._streams.values()) + wanted > self.most:
                raise RtmpError(f"it sends messages of more than {self.most} bytes")
            state.data += await self._bytes(wanted)
            if len(state.data) < state.length:
                continue
            message = Message(state.kind, state.time, state.stream, bytes(state.data))
            state.data = bytearray()
            if message.kind in (Kind.SET_CHUNK_SIZE, Kind.ABORT):
                self._control(message)
            else:
                return message

    def _control(self, message: Message) -> None:
        number = int.from_bytes(message.data[:4])
        if message.kind == Kind.SET_CHUNK_SIZE:
            if len(message.data) < 4 or not 1 <= number < 2**31:
                raise RtmpError("it sets an impossible size of chunks")
            self._chunk = min(number, LARGEST_CHUNK)
        elif number in self._streams:
            self._streams[number].data = bytearray()

    async def _chunk_stream(self) -> _ChunkStream:
        """Read a chunk's header; returns its stream."""
        first = (await self._bytes(1))[0]
        form, number = first >> 6, first & 0x3F
        if number < 2:
            number = 64 + int.from_bytes(await self._bytes(1 + number), "little")
        state = self._streams.setdefault(number, _ChunkStream())
        if len(self._streams) > MOST_STREAMS:
            raise RtmpError(f"it sends on more than {MOST_STREAMS} chunk streams")
        if form > 0 and not state.begun:
            raise RtmpError("a chunk refers to one before it that never came")
        if form < 3:
            await self._header(state, form)
        else:
            if state.extended:
                await self._bytes(4)  # the time once more
            if not state.data:
                state.time = (state.time + state.delta) % 2**32
        state.begun = True
        return state

    async def _header(self, state: _ChunkStream, form: int) -> None:
        header = await self._bytes((11, 7, 3)[form])
        time = int.from_bytes(header[:3])
        if form < 2:
            state.length, state.kind = int.from_bytes(header[3:6]), header[6]
        if form == 0:
            state.stream = int.from_bytes(header[7:11], "little")
        state.extended = time == EXTENDED
        if state.extended:
            time = int.from_bytes(await self._bytes(4))
        # A header in the middle of a message begins it anew, as after a lost one.
        state.data = bytearray()
        state.delta = 0 if form == 0 else time
        state.time = time if form == 0 else (state.time + time) % 2**32

    async def _bytes(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        self.count += count
        return data


def chunked(message: Message, number: int = 3) -> bytes:
    """A message in chunks of 128 bytes, on a chunk stream. Its time is 0 to 2**24 - 2."""
    header = (
        bytes([number]) + message.time.to_bytes(3) + len(message.data).to_bytes(3) + bytes([message.kind])
        + message.stream.to_bytes(4, "little")
    )  # fmt: skip
    pieces = [message.data[place : place + FIRST_CHUNK_SIZE] for place in range(0, len(message.data), FIRST_CHUNK_SIZE)]
    return header + bytes([0xC0 | number]).join(pieces)
