"""The WebSocket `/api/v1/live`: who may listen, the hello, and one task that sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from streams.connections import keep_open
from streams.web.access.gate import Who
from streams.web.api.problems import ApiError, wrong_value
from streams.web.api.queries import LabelQuery
from streams.web.api.table import WALL, Wall
from streams.web.hub import Browser, Hub
from streams.web.labels import LabelFilter

HUB = web.AppKey("hub", Hub)
PROTOCOL = "fvq.v1"
HELLO_SECONDS = 5.0
PING_SECONDS = 20.0
SEND_SECONDS = 15.0
"""A browser that takes nothing for so long is gone."""

CHECK_SECONDS = 60.0
"""How often it is asked whether the token still holds."""

LARGEST_MESSAGE = 16_384
NOT_KNOWN, NOT_ALLOWED, TOO_MANY = 4401, 4403, 4429


class Sockets:
    """The open sockets, by whose they are."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, str] = {}

    def problem(self, wall: Wall, who: Who) -> str:
        """Why there can be no further socket; '' where there can."""
        if len(self.open) >= wall.limits.sockets:
            return f"there are {wall.limits.sockets} sockets already"
        if who.token is not None and Counter(self.open.values())[who.name] >= wall.limits.sockets_each:
            return f"the token {who.name} has {wall.limits.sockets_each} sockets already"
        return ""

    async def close_all(self, _: web.Application) -> None:
        """Say goodbye: browsers connect again by themselves."""
        await asyncio.gather(*(_say_goodbye(socket) for socket in self.open))


SOCKETS = web.AppKey("sockets", Sockets)


async def live(request: web.Request) -> web.StreamResponse:
    """The socket. Raises `ApiError` where the request is no socket's, or comes from a page of another site."""
    wall, hub, sockets = request.app[WALL], request.app[HUB], request.app[SOCKETS]
    origin = request.headers.get("Origin")
    own = origin is None or wall.gate.is_own_origin(request, origin)
    if not own and not wall.gate.allows_origin(origin):
        raise ApiError(403, "the socket is opened by a page of another site")
    labels = _labels(request)
    if not wall.reading()[0]:
        raise ApiError(503, wall.reading()[1] or "the topics are being read", Retry_After="2")
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=PING_SECONDS, compress=False, max_msg_size=LARGEST_MESSAGE, timeout=2.0
    )
    if not socket.can_prepare(request).ok:
        raise ApiError(426, "this address is a WebSocket", Upgrade="websocket", Connection="Upgrade")
    await socket.prepare(request)
    # Another site's page must show a token: what the browser adds by itself does not count.
    who = (wall.gate.who(request) if own else None) or await _hello(wall, socket)
    try:
        who, browser = _admitted(who, labels, wall, sockets, hub)
    except _RefusedError as refusal:
        await socket.close(code=refusal.code, message=str(refusal).encode()[:120])
        return socket
    sockets.open[socket] = who.name
    # Until here it counted as a request: who does not say who they are holds no place of those who do.
    keep_open(request)
    tasks = [asyncio.create_task(_send(request, socket, browser)), asyncio.create_task(_check(wall, who, socket))]
    try:
        async for message in socket:
            asks_too_often = wall.buckets["requests"].take(f"socket {id(browser)}", time.monotonic()) > 0
            if message.type is WSMsgType.TEXT and not asks_too_often:
                hub.take(browser, message.data)
    finally:
        hub.leave(browser)
        del sockets.open[socket]
        for task in tasks:
            task.cancel()
    return socket


class _RefusedError(Exception):
    """The socket is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _admitted(who: Who | None, labels: LabelFilter, wall: Wall, sockets: Sockets, hub: Hub) -> tuple[Who, Browser]:
    """Who listens, and their place at the hub. labels: the streams that they ask for. Raises `_RefusedError`."""
    if who is None:
        raise _RefusedError(NOT_KNOWN, "say who you are")
    seen = labels.within(who.labels)
    if "read" not in who.scopes or seen is None:
        raise _RefusedError(NOT_ALLOWED, "the token may not see this")
    if problem := sockets.problem(wall, who):
        raise _RefusedError(TOO_MANY, problem)
    browser = hub.join(seen)
    if browser is None:
        raise _RefusedError(TOO_MANY, "there are too many different filters")
    return who, browser


def _labels(request: web.Request) -> LabelFilter:
    """The filter of a socket's address. Raises `ApiError` where it is wrong."""
    if unknown := [name for name in request.query if name != "label"]:
        raise ApiError(400, f"{unknown[0]}: there is no such parameter", unknown[0])
    try:
        return LabelQuery.model_validate({"label": request.query.getall("label", [])}).labels()
    except ValueError as error:
        raise wrong_value(error) from None  # type: ignore[arg-type]


async def _hello(wall: Wall, socket: web.WebSocketResponse) -> Who | None:
    """Who says hello with a token; None where nobody does in time."""
    with contextlib.suppress(TimeoutError, TypeError, ValueError, RecursionError):
        hello: Any = json.loads(await socket.receive_str(timeout=HELLO_SECONDS))
        if isinstance(hello, dict) and hello.get("type") == "hello" and isinstance(token := hello.get("token"), str):
            return wall.gate.of_secret(token, "token")
    return None


async def _say_goodbye(socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
        async with asyncio.timeout(2.0):
            await socket.send_str('{"type":"bye","reason":"restart"}')
            await socket.close(code=WSCloseCode.GOING_AWAY)


async def _send(request: web.Request, socket: web.WebSocketResponse, browser: Browser) -> None:
    """Send what the hub queues. Ends the socket where the browser takes nothing."""
    try:
        while True:
            for text in await browser.queue.get():
                async with asyncio.timeout(SEND_SECONDS):
                    await socket.send_str(text)
    except (ConnectionError, TimeoutError, RuntimeError):
        # Not by a closing handshake, which would wait for the same browser.
        if request.transport is not None:
            request.transport.abort()


async def _check(wall: Wall, who: Who, socket: web.WebSocketResponse) -> None:
    """Close the socket when its token is taken out of the file."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if not wall.gate.still_holds(who):
            await socket.close(code=NOT_KNOWN, message=b"the token is not known any more")
            return
