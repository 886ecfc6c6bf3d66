"""Segments that are a part of a resource, or encrypted: what is fetched is the segment's own bytes, or a clear error."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from streams.errors import MediaError
from streams.events import SegmentEvent, SegmentKey
from streams.media.fetch import Fetcher
from streams.media.ranges import Range
from tests.support.fetching import limits

# The same bytes each time: of 256 others, one seems to fit a wrong key, since what it leaves ends like padding.
WHOLE = random.Random(1).randbytes(300_000)
IV = bytes(range(16))
INIT = b"\0\0\0\x18ftypiso6\0\0\0\0iso6mp41" + b"\0\0\0\x08moov"
KEYS = {"old": b"k" * 16, "new": b"n" * 16, "short": b"k" * 15, "long": b"k" * 2000}


def encrypted(data: bytes, key: bytes = KEYS["old"]) -> bytes:
    padder, encryptor = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


class Origin:
    """A server of media and keys. key: the name of the key that it gives now; asked: how often it was asked for it."""

    def __init__(self) -> None:
        self.key, self.asked = "old", 0

    async def start(self) -> TestServer:
        app = web.Application()
        app.router.add_get("/whole", self.whole)
        app.router.add_get("/ignores-range", lambda _: _answer(body=WHOLE))
        app.router.add_get(
            "/other-range", lambda _: _answer(status=206, body=b"x" * 10, headers={"Content-Range": "bytes 0-9/99"})
        )
        app.router.add_get("/init", lambda _: _answer(body=b"....init-...."))
        app.router.add_get("/encrypted-init", lambda _: _answer(body=encrypted(INIT)))
        app.router.add_get("/clear-init", lambda _: _answer(body=INIT))
        app.router.add_get("/odd-init", lambda _: _answer(body=b"x" * 32))
        app.router.add_get("/key", self.give_key)
        app.router.add_get("/old-key", lambda _: _answer(body=KEYS["old"]))
        app.router.add_get("/encrypted/{key}/{length}", self.encrypted)
        server = TestServer(app)
        await server.start_server()
        return server

    async def whole(self, request: web.Request) -> web.Response:
        part = request.http_range
        if part.start is not None and part.start >= len(WHOLE):
            return web.Response(status=416)
        stop = min(part.stop or len(WHOLE), len(WHOLE))
        headers = {"Content-Range": f"bytes {part.start}-{stop - 1}/{len(WHOLE)}"}
        return web.Response(status=206, body=WHOLE[part.start : stop], headers=headers)

    async def give_key(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=KEYS[self.key])

    async def encrypted(self, request: web.Request) -> web.Response:
        return web.Response(body=encrypted(WHOLE[: int(request.match_info["length"])], KEYS[request.match_info["key"]]))


async def _answer(**values: Any) -> web.Response:
    return web.Response(**values)


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
async def server(origin: Origin) -> AsyncIterator[TestServer]:
    running = await origin.start()
    yield running
    await running.close()


@pytest.fixture
async def fetcher(tmp_path: Path) -> AsyncIterator[Fetcher]:
    async with Fetcher(limits(roots=(tmp_path,)), tmp_path / "inbox") as running:
        yield running
    assert not list((tmp_path / "inbox").iterdir()), "nothing is left"


async def get(fetcher: Fetcher, uri: object, **where: Any) -> bytes:
    media = await fetcher.fetch(str(uri), **where)
    data = media.path.read_bytes()
    media.discard()
    return data


@pytest.mark.parametrize("path", ["/whole", "/ignores-range"])
async def test_a_range_is_fetched_from_servers_that_know_ranges_and_that_do_not(
    server: TestServer, fetcher: Fetcher, path: str
) -> None:
    data = await get(fetcher, server.make_url(path), byte_range=Range(70_000, 200_001))

    assert data == WHOLE[200_001:270_001]


async def test_init_segment_and_media_may_be_ranges(server: TestServer, fetcher: Fetcher) -> None:
    data = await get(
        fetcher,
        server.make_url("/whole"),
        byte_range=Range(5, 10),
        init_uri=str(server.make_url("/init")),
        init_byte_range=Range(5, 4),
    )

    assert data == b"init-" + WHOLE[10:15]


async def test_a_range_of_a_local_file(tmp_path: Path, fetcher: Fetcher) -> None:
    file = tmp_path / "whole.ts"
    file.write_bytes(WHOLE)

    assert await get(fetcher, file.as_uri(), byte_range=Range(100_000, 199_999)) == WHOLE[199_999:299_999]
    with pytest.raises(MediaError, match="ends 5 bytes before"):
        await get(fetcher, file.as_uri(), byte_range=Range(10, len(WHOLE) - 5))


@pytest.mark.parametrize(
    ("path", "where", "kind"),
    [
        ("/whole", Range(10, len(WHOLE)), "not-found"),
        ("/whole", Range(10, len(WHOLE) - 5), "truncated"),
        ("/ignores-range", Range(10, len(WHOLE) + 5), "truncated"),
        ("/other-range", Range(10, 10), "unreachable"),
    ],
)
async def test_a_range_that_is_not_there_is_an_error(
    server: TestServer, fetcher: Fetcher, path: str, where: Range, kind: str
) -> None:
    with pytest.raises(MediaError) as caught:
        await get(fetcher, server.make_url(path), byte_range=where)

    assert caught.value.kind == kind


def key_at(server: TestServer, iv: bytes = IV) -> SegmentKey:
    return SegmentKey(method="AES-128", uri=str(server.make_url("/key")), iv=iv.hex())


@pytest.mark.parametrize("length", [1, 15, 16, 17, 299_999])
async def test_an_encrypted_segment_is_decrypted(server: TestServer, fetcher: Fetcher, length: int) -> None:
    data = await get(
        fetcher, server.make_url(f"/encrypted/old/{length}"), key=key_at(server), init_uri=str(server.make_url("/init"))
    )

    assert data == b"....init-...." + WHOLE[:length]


@pytest.mark.parametrize(("path", "init"), [("/encrypted-init", INIT), ("/clear-init", INIT), ("/odd-init", b"x" * 32)])
async def test_an_init_segment_is_decrypted_where_it_is_encrypted(
    server: TestServer, fetcher: Fetcher, path: str, init: bytes
) -> None:
    data = await get(fetcher, server.make_url("/encrypted/old/99"), key=key_at(server), init_uri=str(server.make_url(path)))

    assert data == init + WHOLE[:99]


async def test_an_init_segment_may_be_encrypted_by_another_key_than_the_media(
    server: TestServer, origin: Origin, fetcher: Fetcher
) -> None:
    origin.key = "new"
    event = SegmentEvent(
        stream_id="s", segment_id="s/1", sequence=1, start="2026-01-31T12:00:00Z", duration=2,
        uri=str(server.make_url("/encrypted/new/99")), key=key_at(server), init_uri=str(server.make_url("/encrypted-init")),
        init_key=SegmentKey(method="AES-128", uri=str(server.make_url("/old-key")), iv=IV.hex()),
    )  # fmt: skip

    media = await fetcher.fetch_segment(event)

    assert media.path.read_bytes() == INIT + WHOLE[:99]
    media.discard()


async def test_a_key_is_fetched_once_and_again_when_it_no_longer_fits(
    server: TestServer, origin: Origin, fetcher: Fetcher
) -> None:
    for _ in range(3):
        await get(fetcher, server.make_url("/encrypted/old/1000"), key=key_at(server))
    assert origin.asked == 1

    origin.key = "new"
    assert await get(fetcher, server.make_url("/encrypted/new/1000"), key=key_at(server)) == WHOLE[:1000]
    assert origin.asked == 2


@pytest.mark.parametrize(
    ("given", "words"), [("new", "cannot be decrypted"), ("short", "a key has 16 bytes"), ("long", "more than 1024")]
)
async def test_a_wrong_key_is_an_error_that_does_not_show_it(
    server: TestServer, origin: Origin, fetcher: Fetcher, given: str, words: str
) -> None:
    origin.key = given

    with pytest.raises(MediaError, match=words) as caught:
        await get(fetcher, server.make_url("/encrypted/old/1000"), key=key_at(server))

    assert KEYS[given].decode() not in caught.value.reason


async def test_a_segment_that_was_cut_is_an_error(tmp_path: Path, server: TestServer, fetcher: Fetcher) -> None:
    file = tmp_path / "cut.ts"
    file.write_bytes(encrypted(WHOLE[:1000])[:-3])

    with pytest.raises(MediaError, match="was it cut"):
        await get(fetcher, file.as_uri(), key=key_at(server))


async def test_a_key_is_fetched_by_the_rules_for_media(tmp_path: Path, server: TestServer) -> None:
    async with Fetcher(limits(roots=(tmp_path,)), tmp_path / "inbox") as running:
        for uri in ("file:///etc/passwd", "gopher://127.0.0.1/key"):
            with pytest.raises(MediaError) as caught:
                await get(running, server.make_url("/encrypted/old/10"), key=SegmentKey(method="AES-128", uri=uri, iv=IV.hex()))
            assert caught.value.kind == "refused"


async def test_a_segments_event_says_all_of_it(server: TestServer, fetcher: Fetcher) -> None:
    event = SegmentEvent.model_validate(
        {
            "stream_id": "s", "segment_id": "s/1", "sequence": 1, "start": "2026-01-31T12:00:00Z", "duration": 2,
            "uri": str(server.make_url("/whole")), "byte_range": "5@10", "init_uri": str(server.make_url("/init")),
            "init_byte_range": "4@4",
        }
    )  # fmt: skip

    media = await fetcher.fetch_segment(event)

    assert media.path.read_bytes() == b"init" + WHOLE[10:15]
    media.discard()
