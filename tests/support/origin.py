"""An origin on loopback whose answers a test scripts: playlists one after the other, failures, silence."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.ingest.base import Read
from streams.media.read import Reader

Scripted = bytes | str | int | Callable[[web.Request], Awaitable[web.StreamResponse]]
"""An answer: a body, a status without one, or a handler."""


class Origin:
    """Serves what is scripted. Use as an async context manager. requests: the paths with queries, as they came.

    media: the answer to each path that ends in `.ts` and is not scripted; None for HTTP 404.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.media: bytes | None = None
        self._answers: dict[str, list[Scripted]] = defaultdict(list)
        self._released = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._server = TestServer(app, host="127.0.0.1")

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._server.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path. host: another name of this machine."""
        return f"http://{host}:{self._server.port}{path}"

    def script(self, path: str, *answers: Scripted) -> None:
        """From now on a path answers these in turn; the last one again and again."""
        self._answers[path] = list(answers)

    async def hang(self, _: web.Request) -> web.StreamResponse:
        """An answer that does not come before the test ends."""
        await self._released.wait()
        return web.Response(status=500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        self.headers.append(dict(request.headers))
        answers = self._answers.get(request.path)
        if not answers and self.media is not None and request.path.endswith(".ts"):
            return web.Response(body=self.media)
        if not answers:
            return web.Response(status=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, str | bytes):
            return web.Response(body=answer.encode() if isinstance(answer, str) else answer)
        return await answer(request)


def patient(reader: Reader) -> Read:
    """Loads as the reader does, and waits for an address that hangs for longer than any test."""
    return lambda url, seconds: reader.read(url, 600.0 if "/hangs" in url else seconds)
