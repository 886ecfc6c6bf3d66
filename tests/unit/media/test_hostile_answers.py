"""Answers of a hostile or broken server: each fetch ends with media or with a reason, and neither leaks nor forges anything."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from pathlib import Path

import pytest

from streams.errors import MediaError
from streams.media.fetch import Fetcher
from tests.support.fetching import limits

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmedia",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmedia\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /next%2F?x\r\nSet-Cookie: a=b; Path=/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[::1]:99/\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"media" * 50),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate, gzip\r\nContent-Type: text/html; charset=x\r\n\r\n" + gzip.compress(b"media"),
]
INSERTED = [b"\0", b"\xff", b"\r\n", b"\\", b"//", b"@", b"[", b"%00", b"\xc3\xa9", b":", b"\x1b[31m", b"a" * 9000]


def mutated(answer: bytes, chance: random.Random) -> bytes:
    """An answer with up to five of its bytes changed, deleted, or followed by others."""
    data = bytearray(answer)
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randrange(8)]
            case _:
                data[place:place] = chance.choice(INSERTED)
    return bytes(data)


async def test_any_answer_gives_media_or_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.media.fetch.ATTEMPTS", 1)
    chance = random.Random(1)
    outcomes: Counter[str] = Counter()
    answer = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/1.ts?Signature=SECRET"
    async with server, Fetcher(limits(), tmp_path / "inbox") as fetcher:
        for _ in range(400):
            answer = mutated(chance.choice(ANSWERS), chance)
            try:
                (await fetcher.fetch(uri)).discard()
                outcomes["fetched"] += 1
            except MediaError as error:
                refusal = error
                outcomes[error.kind] += 1
            else:
                continue
            assert refusal.reason.isprintable()
            assert "SECRET" not in refusal.reason
    assert set(outcomes) == {"fetched", "unreachable", "refused", "undecodable"}
    assert list((tmp_path / "inbox").iterdir()) == []
