"""Answers with a Content-Encoding: decoded within the limit of size, or refused by the encoding's name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.fetching import fetched, refused

MEDIA = bytes(range(256)) * 100


def _deflated(data: bytes, bits: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, bits)
    return compressor.compress(data) + compressor.flush()


ENCODED = {
    "plain": ("identity", MEDIA),
    "gzip": ("gzip", gzip.compress(MEDIA)),
    "old": ("X-GZIP", gzip.compress(MEDIA)),
    "parts": ("gzip", gzip.compress(MEDIA[:99]) + gzip.compress(MEDIA[99:])),
    "zlib": ("deflate", _deflated(MEDIA, 15)),
    "raw": ("deflate", _deflated(MEDIA, -15)),
    "twice": ("deflate, gzip", gzip.compress(_deflated(MEDIA, 15))),
    "piece": ("gzip", gzip.compress(bytes(1 << 20))),
    "bomb": ("gzip", gzip.compress(bytes(100 << 20))),
    "bomb-in-bomb": ("gzip, gzip", gzip.compress(gzip.compress(bytes(100 << 20)))),
    "nothing-in-bomb": ("deflate, gzip", gzip.compress(b"\0\0\0\xff\xff" * (4 << 20))),
    "thrice": ("gzip, gzip, gzip", gzip.compress(gzip.compress(gzip.compress(MEDIA)))),
    "brotli": ("br", b"x"),
    "zstd": ("gzip, zstd", b"x"),
    "many": ("gzip", gzip.compress(b"") * 2000),
    "cut": ("gzip", gzip.compress(MEDIA)[:-9]),
    "lie": ("gzip", MEDIA),
    "appended": ("deflate", _deflated(MEDIA, 15) + b"more"),
}
"""Name of an answer -> its Content-Encoding and its bytes."""


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        encoding, body = ENCODED[request.match_info["name"]]
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    app = web.Application()
    app.router.add_get("/{name}", answer)
    running = TestServer(app)
    await running.start_server()
    yield running
    await running.close()


@pytest.mark.parametrize("name", ["plain", "gzip", "old", "parts", "zlib", "raw", "twice"])
async def test_an_encoded_answer_is_decoded(name: str, server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url(f"/{name}"))) == MEDIA


async def test_an_encoded_answer_may_be_as_large_as_the_limit(server: TestServer, tmp_path: Path) -> None:
    assert await fetched(tmp_path, str(server.make_url("/piece"))) == bytes(1 << 20)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("bomb", "too-large", "FVQ_FETCH_MAX_MB"),
        ("bomb-in-bomb", "too-large", "FVQ_FETCH_MAX_MB"),
        ("nothing-in-bomb", "too-large", "FVQ_FETCH_MAX_MB"),
        ("thrice", "refused", "3 encodings"),
        ("brotli", "refused", "'br'"),
        ("zstd", "refused", "'zstd'"),
        ("many", "undecodable", "1000 parts"),
        ("cut", "undecodable", "cut off"),
        ("lie", "undecodable", "Content-Encoding gzip"),
        ("appended", "undecodable", "follows"),
    ],
)
async def test_an_encoding_that_cannot_be_undone_is_named(
    name: str, kind: str, words: str, server: TestServer, tmp_path: Path
) -> None:
    error = await refused(tmp_path, str(server.make_url(f"/{name}")))
    assert error.kind == kind
    assert words in error.reason
