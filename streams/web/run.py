"""The wall as a process: reader, clips, server, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from streams.connections import BoundedRunner
from streams.web.access.limits import DEFAULT_LIMITS, WebLimits

MOST_CONNECTIONS = 300
"""Connections beside the sockets: a browser opens six."""


async def serve_wall(
    app: web.Application,
    host: str,
    port: int,
    ready: Callable[[str], None],
    stopping: Callable[[], None] = lambda: None,
    limits: WebLimits = DEFAULT_LIMITS,
) -> None:
    """Serve the wall until SIGTERM or SIGINT.

    ready: is called with the address, when it listens. stopping: is called when it is told to stop. port: 0 for a free one.
    Raises OSError where the address cannot be listened on.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # A new socket is one of these connections until its request is answered.
    runner = BoundedRunner(app, most=MOST_CONNECTIONS + limits.sockets // 10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address = runner.addresses[0]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{address[1]}")
        await stop.wait()
        stopping()
    finally:
        await runner.cleanup()
