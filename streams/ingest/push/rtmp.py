"""Takes what encoders push by RTMP: one port for many sources, which are told apart by application and stream key.

ffmpeg can listen for RTMP itself, but takes one connection on a port, and lets in any other key too. This server speaks
RTMP up to `publish`, and hands the pictures on as FLV, so that ffmpeg sees neither port nor key. Sound is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from streams.addresses import bracketed
from streams.errors import FvqError
from streams.ingest.push.amf import RtmpError, Value, decode, encode
from streams.ingest.push.chunks import LARGE_MESSAGE, ChunkReader, Kind, Message, chunked
from streams.text import printable

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 10.0
"""Time from connecting to `publish`, at most."""

REFUSED_SECONDS = 1.0
"""Wait before a wrong key is answered: it makes guessing slow."""

MOST_CONNECTIONS = 256
"""Connections to one port at once, those included that have no key yet."""

MOST_UNKNOWN_PER_HOST = 8
"""Connections of one address that have no key yet."""

HANDSHAKE = 1536
"""Bytes of a handshake's messages (section 5.2)."""

WINDOW = 2_500_000
"""Bytes after which each side acknowledges, as we ask for it."""

STREAM = 1
"""The number of the one message stream that `createStream` gives."""

FLV_HEADER = b"FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00"
"""Version 1, pictures alone."""

GOODBYES = {"FCUnpublish", "deleteStream", "closeStream"}
"""Commands by which an encoder says that the stream has ended."""

CODECS = {7: "H.264", 12: "H.265"}
"""What FLV numbers codecs: those that MPEG-TS holds."""

FOURCC_CODECS = {b"avc1", b"hvc1"}
"""The same of enhanced RTMP, which names codecs by four letters."""


class PublishError(FvqError):
    """What an encoder pushes cannot be used. The sentence says why."""


@dataclass(frozen=True)
class Place:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Host and port, as they stand in an address."""
        return f"{bracketed(self.host)}:{self.port}"


class Publication:
    """What one encoder pushes, from its `publish` on. goodbye: it said that the stream has ended."""

    def __init__(self, chunks: ChunkReader, writer: asyncio.StreamWriter) -> None:
        self._chunks, self._writer = chunks, writer
        self._acknowledged = 0
        self.goodbye = False
        self.closed = asyncio.Event()

    def close(self) -> None:
        """End the connection; its reader meets the end."""
        self.closed.set()
        self._writer.transport.abort()

    async def flv(self, seconds: float) -> AsyncIterator[bytes]:
        """The pictures as an FLV file: header first, then one tag at a time.

        seconds: the longest time without a picture. Ends with the connection. Raises `PublishError` for what cannot be used, also
        where no picture comes in time.
        """
        yield FLV_HEADER
        self._chunks.most = LARGE_MESSAGE
        try:
            while (message := await self._picture(seconds)) is not None:
                _check_codec(message.data)
                yield _tag(message)
        except RtmpError as error:
            raise PublishError(str(error)) from error
        except TimeoutError:
            raise PublishError(f"the encoder is connected, and has sent no picture for {seconds:g} s") from None

    async def _picture(self, seconds: float) -> Message | None:
        """The next message with a picture; None at the end."""
        async with asyncio.timeout(seconds):
            while not self.closed.is_set():
                try:
                    message = await self._chunks.message()
                    await self._answer(message)
                except (EOFError, OSError):
                    return None
                if self.goodbye:
                    return None
                if message.kind == Kind.VIDEO and message.data:
                    return message
        return None

    async def _answer(self, message: Message) -> None:
        """Answer what the encoder may wait for."""
        if self._chunks.count - self._acknowledged >= WINDOW // 2:
            self._acknowledged = self._chunks.count
            self._writer.write(chunked(Message(Kind.ACKNOWLEDGEMENT, 0, 0, (self._chunks.count % 2**32).to_bytes(4)), 2))
        if message.kind == Kind.USER_CONTROL and message.data[:2] == b"\0\6":  # ping: the same bytes come back
            self._writer.write(chunked(Message(Kind.USER_CONTROL, 0, 0, b"\0\7" + message.data[2:6]), 2))
        elif message.kind in (Kind.COMMAND, Kind.COMMAND_AMF3):
            self.goodbye = _command(message)[0] in GOODBYES
        await self._writer.drain()


class Listener:
    """One source's place at a server. The newest encoder counts: the connection of one that was cut off may stay open."""

    def __init__(self) -> None:
        self._offered: asyncio.Queue[Publication] = asyncio.Queue()
        self._newest: Publication | None = None

    def offer(self, publication: Publication) -> None:
        """Hand an encoder's connection over; the one before it is closed."""
        if self._newest is not None:
            self._newest.close()
        self._newest = publication
        self._offered.put_nowait(publication)

    async def accept(self) -> Publication:
        """The next encoder's connection."""
        while True:
            publication = await self._offered.get()
            if not publication.closed.is_set():
                return publication

    def close(self) -> None:
        """Close the connection that is open."""
        if self._newest is not None:
            self._newest.close()


class _Server:
    """One port, and the sources that listen there, by application and key."""

    def __init__(self) -> None:
        self.listeners: dict[bytes, Listener] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self._unknown: dict[str, int] = {}
        self._server: asyncio.Server | None = None

    async def start(self, place: Place) -> None:
        self._server = await asyncio.start_server(self._connected, place.host, place.port, limit=2**18)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        if len(self._connections) >= MOST_CONNECTIONS or self._unknown.get(peer, 0) >= MOST_UNKNOWN_PER_HOST:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            publication = await self._welcome(reader, writer, peer)
            if publication is not None:
                await publication.closed.wait()
        except (EOFError, OSError, TimeoutError):
            pass  # a port scanner, or an encoder that was cut off: it may come again
        except RtmpError as error:
            log.info("a connection from %s was closed: %s", peer, printable(str(error)))
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> Publication | None:
        """Lead an encoder to its `publish`, and hand it to the source that it names; None where there is none."""
        self._unknown[peer] = self._unknown.get(peer, 0) + 1
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                chunks = ChunkReader(reader)
                name = await _negotiate(reader, writer, chunks)
            listener = self._listener(name)
            if listener is None:
                log.warning("an encoder at %s named no source that listens here, by application and stream key", peer)
                await asyncio.sleep(REFUSED_SECONDS)
                await _say(writer, "error", "NetStream.Publish.BadName", "No such stream.")
                return None
            await _say(writer, "status", "NetStream.Publish.Start", "Go on.")
        finally:
            self._unknown[peer] -= 1
            if not self._unknown[peer]:
                del self._unknown[peer]
        publication = Publication(chunks, writer)
        listener.offer(publication)
        return publication

    def _listener(self, name: str) -> Listener | None:
        """The source with this application and key. Every name is compared whole: the time it takes tells nothing of a key."""
        given = name.encode()
        same = [listener for known, listener in self.listeners.items() if hmac.compare_digest(known, given)]
        return same[0] if same else None


class RtmpServers:
    """The servers of a process: one for each port that a source listens on, as long as one does."""

    def __init__(self) -> None:
        self._servers: dict[Place, _Server] = {}
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def listen(self, place: Place, name: str) -> AsyncIterator[Listener]:
        """A source's listener. name: application and key, with a slash between them. Raises OSError where the port is taken."""
        async with self._lock:
            server = self._servers.get(place)
            if server is None:
                server = _Server()
                await server.start(place)
                self._servers[place] = server
        listener = server.listeners[name.encode()] = Listener()
        try:
            yield listener
        finally:
            listener.close()
            async with self._lock:
                del server.listeners[name.encode()]
                if not server.listeners:
                    del self._servers[place]
                    await server.stop()


async def _negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunks: ChunkReader) -> str:
    """Handshake and commands up to `publish`; returns application and key, with a slash between them."""
    if await reader.readexactly(1) != b"\3":
        raise RtmpError("it does not begin as RTMP does")
    theirs = await reader.readexactly(HANDSHAKE)
    writer.write(b"\3" + bytes(8) + os.urandom(HANDSHAKE - 8) + theirs)
    await writer.drain()
    await reader.readexactly(HANDSHAKE)
    application = ""
    while True:
        message = await chunks.message()
        if message.kind not in (Kind.COMMAND, Kind.COMMAND_AMF3):
            continue
        command, number, values = _command(message)
        if command == "connect":
            about = values[0] if values and isinstance(values[0], dict) else {}
            application = str(about.get("app", ""))
            _connect(writer, number)
        elif command == "createStream":
            _reply(writer, ["_result", number, None, float(STREAM)])
        elif command in ("releaseStream", "FCPublish"):
            _reply(writer, ["_result", number, None, None])
        elif command == "publish":
            key = values[1] if len(values) > 1 and isinstance(values[1], str) else ""
            return f"{application.strip('/')}/{key.strip('/')}"
        elif command == "play":
            await _say(writer, "error", "NetStream.Play.StreamNotFound", "Nothing is played here.")
            raise RtmpError("it wants to play, and this server only takes streams")
        await writer.drain()


def _command(message: Message) -> tuple[str, float | None, list[Value]]:
    """Name, number and values of a command; "" and None for a name and a number that are of another type. Raises `RtmpError`."""
    data = message.data[1:] if message.kind == Kind.COMMAND_AMF3 else message.data
    values: list[Value] = [*decode(data), None, None]
    name, number = values[:2]
    return name if isinstance(name, str) else "", number if isinstance(number, float) else None, values[2:]


def _connect(writer: asyncio.StreamWriter, number: Value) -> None:
    """Answer `connect`."""
    writer.write(chunked(Message(Kind.WINDOW_SIZE, 0, 0, WINDOW.to_bytes(4)), 2))
    writer.write(chunked(Message(Kind.PEER_BANDWIDTH, 0, 0, WINDOW.to_bytes(4) + b"\2"), 2))
    properties: Value = {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31.0}
    said: Value = {
        "level": "status", "code": "NetConnection.Connect.Success", "description": "Connection succeeded.", "objectEncoding": 0.0,
    }  # fmt: skip
    _reply(writer, ["_result", number, properties, said])


def _reply(writer: asyncio.StreamWriter, values: list[Value], stream: int = 0) -> None:
    writer.write(chunked(Message(Kind.COMMAND, 0, stream, encode(values))))


async def _say(writer: asyncio.StreamWriter, level: str, code: str, words: str) -> None:
    """Tell the state of the stream."""
    _reply(writer, ["onStatus", 0.0, None, {"level": level, "code": code, "description": words}], STREAM)
    await writer.drain()


def _check_codec(data: bytes) -> None:
    """Refuse codecs that a segment cannot hold. data: of a message with a picture (FLV 10.1, annex E.4.3.1; enhanced RTMP)."""
    first = data[0]
    if first & 0x80:
        codec = data[1:5]
        if codec not in FOURCC_CODECS:
            raise PublishError(f"the encoder sends {printable(codec.decode('latin-1'))}: set it to H.264 or H.265")
    elif first & 0x0F not in CODECS:
        raise PublishError(f"the encoder sends FLV's codec {first & 0x0F}: set it to H.264 or H.265")


def _tag(message: Message) -> bytes:
    """A message as a tag of an FLV file (annex E.4.1)."""
    time = (message.time & 0xFFFFFF).to_bytes(3) + (message.time >> 24).to_bytes(1)
    head = bytes([Kind.VIDEO]) + len(message.data).to_bytes(3) + time + bytes(3)
    return head + message.data + (len(head) + len(message.data)).to_bytes(4)
