"""A proxy in front of a real InfluxDB that answers with errors or late when a test asks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "host", "date", "server"}


class FaultProxy:
    """Forwards requests to `target`, or answers them with a fault. Runs in a thread of its own while the context lasts.

    status: HTTP status of every answer, nothing is forwarded; 0: forward. headers: of the answer with that status.
    delay: seconds before an answer is returned, after the server has already acted on the request.
    refused, passed: number of writes that were answered with `status`, and that were forwarded.
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
        """Set the fault from now on; without arguments, forward all requests again. headers: `_` in a name becomes `-`."""
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
            return web.json_response({"code": "fault", "message": "fault of the test"}, status=self.status, headers=self.headers)
        headers = forwarded(request.headers)
        try:
            async with self._session.request(request.method, self.target + request.path_qs, headers=headers, data=body) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        await asyncio.sleep(self.delay)
        self.passed += write
        return web.Response(status=answer.status, headers=forwarded(answer.headers), body=content)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without those that belong to one connection."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_HEADERS}
