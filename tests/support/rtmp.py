"""An encoder that pushes by RTMP as a test tells it to; and ffmpeg as one."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import imageio_ffmpeg

from streams.ingest.push.amf import Value, decode, encode
from streams.ingest.push.chunks import LARGE_MESSAGE, ChunkReader, Kind, Message, chunked

KEY_FRAME = b"\x17\x01\x00\x00\x00picture"


class Encoder:
    """A connection that speaks RTMP. Made by `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.chunks, self.reader, self.writer = ChunkReader(reader, LARGE_MESSAGE), reader, writer

    @classmethod
    async def connect(cls, port: int) -> Encoder:
        encoder = cls(*await asyncio.open_connection("127.0.0.1", port))
        encoder.writer.write(b"\3" + bytes(1536))
        await encoder.reader.readexactly(1 + 2 * 1536)
        encoder.writer.write(bytes(1536))
        return encoder

    def command(self, *values: Value, stream: int = 0) -> None:
        self.send(Kind.COMMAND, encode(values), stream)

    def send(self, kind: int, data: bytes, stream: int = 1, time: int = 0) -> None:
        self.writer.write(chunked(Message(kind, time, stream, data), 4))

    async def answer(self) -> list[Value]:
        """The next command from the server."""
        while True:
            message = await self.chunks.message()
            if message.kind == Kind.COMMAND:
                return decode(message.data)

    async def publish(self, application: str, key: str) -> str:
        """Ask to push; returns the code of the answer."""
        self.command("connect", 1.0, {"app": application, "tcUrl": f"rtmp://127.0.0.1/{application}"})
        await self.answer()
        self.command("createStream", 2.0, None)
        await self.answer()
        self.command("publish", 3.0, None, key, "live", stream=1)
        _, _, _, said = await self.answer()
        assert isinstance(said, dict)
        return str(said["code"])

    async def picture(self, data: bytes = KEY_FRAME, time: int = 0) -> None:
        self.send(Kind.VIDEO, data, time=time)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.transport.abort()

    async def is_closed(self) -> bool:
        """Whether the server closes the connection within a minute."""
        with contextlib.suppress(EOFError, ConnectionError):
            async with asyncio.timeout(60):
                while await self.reader.read(65536):
                    pass
        return True


async def run_ffmpeg(clip: Path, *output: str, seconds: float | None = None) -> asyncio.subprocess.Process:
    """ffmpeg as an encoder: plays a clip again and again, in real time. seconds: its end; None: until it is stopped."""
    length = ["-t", str(seconds)] if seconds is not None else []
    command = ["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip), *length, "-c", "copy", *output]
    quiet = asyncio.subprocess.DEVNULL
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return await asyncio.create_subprocess_exec(program, *command, stdin=quiet, stdout=quiet, stderr=quiet)
