"""The wall as a process: reader, clips, server, until told to stop."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from streams.addresses import http_address
from streams.connections import BoundedRunner, stop_signal
from streams.web.access.limits import DEFAULT_LIMITS, WebLimits

MOST_CONNECTIONS = 300
"""Connections beside the sockets: a browser opens six."""


async def serve_wall(
    app: web.Application,
    host: str,
    port: int,
    ready: Callable[[str], None],
    stopping: Callable[[int], None] = lambda _: None,
    limits: WebLimits = DEFAULT_LIMITS,
) -> None:
    """Serve the wall until SIGTERM or SIGINT.

    ready: is called with the address, when it listens. stopping: is called with the signal that tells it to stop. port: 0 for a
    free one. Raises OSError where the address cannot be listened on.
    """
    stop = stop_signal(stopping)
    # A new socket is one of these connections until its request is answered.
    runner = BoundedRunner(app, most=MOST_CONNECTIONS + limits.sockets // 10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address = runner.addresses[0]
        ready(http_address(host, address[1]))
        await stop.wait()
    finally:
        await runner.cleanup()
