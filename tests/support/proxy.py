"""A proxy in front of a real HTTP server, which can be told to misbehave."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "host", "date", "server"}


class FaultProxy:
    """Passes requests on, or answers as told. Runs in a thread of its own for as long as the context lasts.

    status: answered instead of passing on, 0 for none. headers: go with it. delay: seconds before an answer, the
    server having acted at once. refused, passed: writes that were answered with the fault, and without.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.status, self.delay = 0, 0.0
        self.headers: dict[str, str] = {}
        self.refused = self.passed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def behave(self, status: int = 0, delay: float = 0.0, **headers: str) -> None:
        """Answer so from now on; without arguments, pass on."""
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.delay, self.status = delay, status

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(web.Application(client_max_size=2**26), shutdown_timeout=1, auto_decompress=False)
        self._runner.app.router.add_route("*", "/{path:.*}", self._answer)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        write = request.path == "/api/v2/write"
        body = await request.read()
        if self.status:
            self.refused += write
            return web.json_response({"code": "fault", "message": "as told"}, status=self.status, headers=self.headers)
        kept = {name: value for name, value in request.headers.items() if name.lower() not in HOP_HEADERS}
        try:
            async with self._session.request(request.method, self.target + request.path_qs, headers=kept, data=body) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        await asyncio.sleep(self.delay)
        self.passed += write
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
        return web.Response(status=answer.status, headers=kept, body=content)
