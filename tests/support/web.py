"""Asks a wall's API in tests; runs a server in a thread, for clients that are no coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

ROOT = "/api/v1"


async def get(client: TestClient, path: str, status: int = 200, **headers: str) -> Any:
    """The JSON of an answer, which must have this status."""
    answer = await client.get(ROOT + path, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json()


@contextmanager
def in_thread(runner: web.BaseRunner[Any]) -> Iterator[str]:
    """Runs a server in a thread while the context lasts, at a free port of 127.0.0.1; gives its address."""
    loop, started, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    address = ""

    async def serve() -> None:
        nonlocal address
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(60)
        yield address
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
