"""A page answers whatever is connected to it: idle, half-open and slow connections are bounded in number and time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import faust
import pytest
from aiohttp import web

from streams.connections import BoundedRunner, serve
from streams.rating.playable import PlayableClips
from streams.rating.server import RatingPage, make_app
from streams.rating.store import RatingStore
from streams.scoring import pages
from streams.scoring.pages import add_pages
from streams.sinks.sqlite import SqliteSink
from tests.support.rating import read_file
from tests.support.waiting import wait_for

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def listening(runner: web.AppRunner) -> AsyncIterator[int]:
    """The port of a runner's site."""
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def open_connections(port: int, count: int, first_bytes: bytes) -> AsyncIterator[list[Connection]]:
    """Connections that have sent these bytes and send no more."""
    connections = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first_bytes)
            connections.append((reader, writer))
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


async def get(port: int, path: str) -> bytes:
    """The answer to one request, which must come within a minute."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET % path.encode())
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


async def is_closed(connection: Connection, seconds: float) -> bool:
    """Whether the server closes a connection within that time."""
    try:
        async with asyncio.timeout(seconds):
            while await connection[0].read(1 << 16):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


NEVER = 600.0
"""Seconds for a request's headers where only the number of connections is to close them."""

HALF_OPEN = {
    "idle": b"",
    "headers that do not end": b"POST /api/sign-in HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "a body that does not come": b"POST /api/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("first_bytes", HALF_OPEN.values(), ids=HALF_OPEN)
async def test_500_half_open_connections_do_not_keep_the_workers_page_from_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_bytes: bytes
) -> None:
    monkeypatch.setattr(pages, "BoundedRunner", partial(BoundedRunner, header_seconds=NEVER))
    app = faust.App("health", broker="kafka://127.0.0.1:1", datadir=tmp_path)
    add_pages(app, SqliteSink(tmp_path), lambda: 0.0, [])
    app.web.init_server()
    async with listening(app.web._runner) as port, open_connections(port, 500, first_bytes) as connections:
        assert b'"alive"' in await get(port, "/healthz")
        assert b"fvq_" in await get(port, "/metrics")
        closed = await asyncio.gather(*(is_closed(connection, 60) for connection in connections[:390]))
        assert all(closed), "more than the limit of 100 are open"


@pytest.mark.parametrize("first_bytes", HALF_OPEN.values(), ids=HALF_OPEN)
async def test_500_half_open_connections_do_not_keep_the_rating_page_from_an_answer(tmp_path: Path, first_bytes: bytes) -> None:
    page = RatingPage(RatingStore(tmp_path), PlayableClips(tmp_path / "rating", read_file), lambda: ([], {}))
    runner = BoundedRunner(make_app(page), header_seconds=NEVER)
    async with listening(runner) as port, open_connections(port, 500, first_bytes):
        assert b"Video rating" in await get(port, "/")


@pytest.mark.parametrize("first_bytes", HALF_OPEN.values(), ids=HALF_OPEN)
async def test_a_connection_that_sends_no_whole_request_is_closed_in_time(tmp_path: Path, first_bytes: bytes) -> None:
    page = RatingPage(RatingStore(tmp_path), PlayableClips(tmp_path / "rating", read_file), lambda: ([], {}))
    runner = BoundedRunner(make_app(page), header_seconds=0.5, seconds=1.0)
    async with listening(runner) as port, open_connections(port, 1, first_bytes) as connections:
        assert await is_closed(connections[0], 60)


async def test_headers_that_drip_are_closed_in_time(tmp_path: Path) -> None:
    page = RatingPage(RatingStore(tmp_path), PlayableClips(tmp_path / "rating", read_file), lambda: ([], {}))
    runner = BoundedRunner(make_app(page), header_seconds=0.5, seconds=NEVER)
    async with listening(runner) as port, open_connections(port, 1, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") as connections:
        started = time.monotonic()
        while not await is_closed(connections[0], 0.1):
            connections[0][1].write(b"a")
            assert time.monotonic() - started < 60


async def test_an_answer_that_nobody_reads_ends_in_time() -> None:
    app = web.Application()

    asked = asyncio.Event()

    async def large(_: web.Request) -> web.Response:
        asked.set()
        return web.Response(body=bytes(50_000_000))

    app.router.add_get("/", large)
    runner = BoundedRunner(app, seconds=1.0)
    async with listening(runner) as port, open_connections(port, 1, GET % b"/") as connections:
        await asked.wait()
        await asyncio.to_thread(wait_for, "the connection has ended", lambda: not runner._connections._open, 60)
        with contextlib.suppress(ConnectionError):
            assert len(await connections[0][0].read(60_000_000)) < 50_000_000


async def test_a_connection_at_work_goes_on_beside_idle_ones() -> None:
    app, release = web.Application(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="done")

    app.router.add_get("/", wait)
    async with listening(BoundedRunner(app, most=10)) as port, open_connections(port, 5, b""):
        waiting = asyncio.create_task(get(port, "/"))
        async with open_connections(port, 9, b""):
            release.set()
            assert b"done" in await waiting


async def test_a_page_is_served_until_the_signal() -> None:
    ready = asyncio.Event()
    addresses: list[str] = []

    def note(address: str) -> None:
        addresses.append(address)
        ready.set()

    serving = asyncio.create_task(serve(web.Application(), "127.0.0.1", 0, note))
    await ready.wait()
    assert b"404" in await get(int(addresses[0].rpartition(":")[2]), "/")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 60)
