"""A reverse proxy that has a server under a path of its own site, and takes the path away, also of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from yarl import URL

from tests.support.proxy import forwarded
from tests.support.web import in_thread


@contextmanager
def under_path(server: str, path: str) -> Iterator[str]:
    """The address of a server under a path, as `/fvq`. server: its own, as http://127.0.0.1:8060."""
    app = web.Application()
    session = web.AppKey("session", ClientSession)

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(auto_decompress=False) as app[session]:
            yield

    async def forward(request: web.Request) -> web.StreamResponse:
        there = URL(server + request.raw_path.removeprefix(path), encoded=True)
        kept = forwarded(request.headers) | {"Host": request.host}  # the wall compares a page's Origin with it
        if request.headers.get("Upgrade", "").lower() == "websocket":
            kept = {name: value for name, value in kept.items() if not name.lower().startswith("sec-websocket")}
            protocol = request.headers["Sec-WebSocket-Protocol"]
            async with app[session].ws_connect(there, protocols=(protocol,), headers=kept) as theirs:
                ours = web.WebSocketResponse(protocols=(protocol,))
                await ours.prepare(request)
                await asyncio.wait(
                    [asyncio.create_task(_pump(ours, theirs)), asyncio.create_task(_pump(theirs, ours))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                await ours.close()
                return ours
        async with app[session].request(
            request.method, there, headers=kept, data=await request.read(), allow_redirects=False
        ) as answer:
            return web.Response(status=answer.status, headers=forwarded(answer.headers), body=await answer.read())

    app.cleanup_ctx.append(connected)
    app.router.add_route("*", path + "/{rest:.*}", forward)
    with in_thread(web.AppRunner(app, shutdown_timeout=1)) as address:
        yield address + path


async def _pump(
    source: web.WebSocketResponse | ClientWebSocketResponse, target: web.WebSocketResponse | ClientWebSocketResponse
) -> None:
    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)
