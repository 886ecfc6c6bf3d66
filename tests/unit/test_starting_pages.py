"""The pages of a worker that still loads: they answer at once, and the next server takes the same socket over."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import faust
import pytest
from aiohttp import ClientSession

from streams.errors import SettingsError
from streams.scoring.pages import add_pages
from streams.settings import Settings
from streams.sinks.sqlite import SqliteSink
from streams.starting_pages import HEADER_BYTES, HEADER_SECONDS, StartingPages
from streams.worker_start import start_worker


@pytest.fixture
def pages() -> Iterator[StartingPages]:
    with StartingPages("127.0.0.1", 0) as pages:
        yield pages


def read(port: int, path: str) -> tuple[int, dict[str, object]]:
    """Status and JSON of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_it_is_alive_and_says_why_it_is_not_ready(pages: StartingPages) -> None:
    assert read(pages.port, "/healthz") == (200, {"status": "alive", "agents": {}})
    assert read(pages.port, "/readyz") == (503, {"ready": False, "problems": ["the worker starts: it loads its libraries"]})
    pages.say("it loads its model")
    assert read(pages.port, "/readyz?verbose=1")[1]["problems"] == ["the worker starts: it loads its model"]
    assert read(pages.port, "/metrics") == (503, {"status": "the worker starts: it loads its model"})


def test_who_sends_nothing_or_nonsense_keeps_nobody_from_an_answer(pages: StartingPages) -> None:
    with connected(pages.port) as silent, connected(pages.port) as talker, connected(pages.port) as nonsense:
        talker.sendall(b"GET / HTTP/1.1\r\nx: " + b"x" * 3 * HEADER_BYTES)
        nonsense.sendall(b"\0\xff\r\n\r\n")
        assert nonsense.recv(100).startswith(b"HTTP/1.1 503")
        assert read(pages.port, "/healthz")[0] == 200
        started = time.monotonic()
        assert silent.recv(100) == b""
        assert time.monotonic() - started < HEADER_SECONDS + 5


async def test_faust_takes_the_socket_over_and_no_connection_is_refused(pages: StartingPages, tmp_path: Path) -> None:
    app = faust.App("over", broker="kafka://127.0.0.1:1", datadir=tmp_path, web_port=pages.port, web_bind="127.0.0.1")
    add_pages(app, SqliteSink(tmp_path), lambda: 0.0, [], listener=pages.hand_over)
    app.web.init_server()
    with connected(pages.port) as idle:  # a client that is at neither end of its request
        assert read(pages.port, "/healthz")[0] == 200  # its connection is taken in now: they are taken in their order
        await app.web.start_server()
        try:
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{pages.port}/readyz") as answer:
                assert answer.status == 503
                assert "no partition is assigned yet" in (await answer.json())["problems"]
            assert idle.recv(100) == b""
        finally:
            await app.web.stop_server()
    with pytest.raises(OSError, match="refused"):
        connected(pages.port)


@pytest.mark.usefixtures("log_as_before")
def test_a_port_that_is_taken_is_named(pages: StartingPages, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"FVQ_WEB_PORT: cannot listen on 127\.0\.0\.1:{pages.port}: Address already in use"):
        start_worker(Settings(broker="127.0.0.1:1", web_port=pages.port, data_dir=tmp_path))


def test_the_port_is_free_again_where_the_worker_cannot_start() -> None:
    with StartingPages("127.0.0.1", 0) as pages:
        port = pages.port
    with StartingPages("localhost", port) as again:
        assert again.port == port
        assert read(port, "/healthz")[0] == 200
