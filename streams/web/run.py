"""The wall as a process: reader, clips, server, until told to stop."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from streams.connections import serve
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
    """Serve the wall until SIGTERM or SIGINT: `streams.connections.serve`, with room for its sockets."""
    # A new socket is one of these connections until its request is answered.
    await serve(app, host, port, ready, stopping, MOST_CONNECTIONS + limits.sockets // 10)
