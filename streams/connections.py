"""Limits on the connections to a page: a client that opens hundreds and sends nothing must not keep others from an answer.

aiohttp has no limit on their number, and none on the time of a request's body and of an answer that nobody reads.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from streams.addresses import http_address

MOST_CONNECTIONS = 100
"""Connections at once. One more ends the one that has waited longest for a request, or is longest at one."""

HEADER_SECONDS = 15.0
"""Time for a request's headers, and for the next request on an open connection, s."""

REQUEST_SECONDS = 300.0
"""Time for a request with its body and its answer, s: a rater's clip over a slow network takes some of it."""

SHUTDOWN_SECONDS = 5.0
"""Time for the requests in work when the server is told to stop, s."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BoundedRunner(web.AppRunner):
    """aiohttp's `AppRunner` with these limits. most: see `MOST_CONNECTIONS`. seconds: see `REQUEST_SECONDS`."""

    __slots__ = ("_connections",)

    def __init__(
        self,
        app: web.Application,
        most: int = MOST_CONNECTIONS,
        header_seconds: float = HEADER_SECONDS,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        super().__init__(app, access_log=None, keepalive_timeout=header_seconds, shutdown_timeout=SHUTDOWN_SECONDS)
        self._connections = _Connections(most, seconds)
        app.middlewares.insert(0, self._connections.middleware)
        app[CONNECTIONS] = self._connections

    async def setup(self) -> None:
        """Prepare the server; call it before a site is started."""
        await super().setup()
        assert self.server is not None
        self._connections.watch(self.server)


def keep_open(request: web.Request) -> None:
    """Take a request's connection out of these limits: a socket that stays open has limits of its own."""
    if (connections := request.app.get(CONNECTIONS)) is not None:
        connections.forget(request.protocol)


class _Connections:
    """The open connections of a server, the one whose last request began first in front."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._open: dict[Any, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def watch(self, server: web.Server) -> None:
        """Learn from the server which connections are made and lost. It has no other place to ask."""
        made, lost = server.connection_made, server.connection_lost

        def connection_made(protocol: Any, transport: asyncio.Transport) -> None:
            made(protocol, transport)
            if len(self._open) >= self._most:
                self._end(next(iter(self._open)))
            self._begin(protocol, transport)

        def connection_lost(protocol: Any, error: BaseException | None = None) -> None:
            self.forget(protocol)
            lost(protocol, error)

        server.connection_made = connection_made  # type: ignore[assignment, method-assign]
        server.connection_lost = connection_lost  # type: ignore[assignment, method-assign]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the time of a connection anew from each request on."""
        if (transport := self.forget(request.protocol)) is not None:
            self._begin(request.protocol, transport)
        return await handler(request)

    def _begin(self, protocol: Any, transport: asyncio.Transport) -> None:
        timer = asyncio.get_running_loop().call_later(self._seconds, self._end, protocol)
        self._open[protocol] = (transport, timer)

    def forget(self, protocol: Any) -> asyncio.Transport | None:
        """Stop counting a connection; returns its transport, None where it is not counted."""
        if protocol not in self._open:
            return None
        transport, timer = self._open.pop(protocol)
        timer.cancel()
        return transport

    def _end(self, protocol: Any) -> None:
        if (transport := self.forget(protocol)) is not None:
            transport.abort()


CONNECTIONS = web.AppKey("connections", _Connections)


def stop_signal(stopping: Callable[[int], None]) -> asyncio.Event:
    """What SIGTERM and SIGINT set from now on, in the running loop. stopping: is called with the signal."""
    stop = asyncio.Event()

    def obey(number: int) -> None:
        stopping(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, obey, number)
    return stop


async def serve(
    app: web.Application,
    host: str,
    port: int,
    ready: Callable[[str], None],
    stopping: Callable[[int], None] = lambda _: None,
    most: int = MOST_CONNECTIONS,
) -> None:
    """Serve an application until SIGTERM or SIGINT.

    ready: is called with the address, when it listens. stopping: is called with the signal that tells it to stop. port: 0 for a
    free one. most: see `MOST_CONNECTIONS`. Raises OSError where the address cannot be listened on.
    """
    stop = stop_signal(stopping)
    runner = BoundedRunner(app, most)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address = runner.addresses[0]
        ready(http_address(host, address[1]))
        await stop.wait()
    finally:
        await runner.cleanup()
