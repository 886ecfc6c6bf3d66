"""The wall's server: the page, the API, the socket, and the pages that supervisors read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from scorer.exposition import from_zero
from streams.errors import BrokerError
from streams.text import printable
from streams.web import metrics
from streams.web.access.limits import Buckets
from streams.web.api.openapi import document
from streams.web.api.problems import ApiError, from_aiohttp
from streams.web.api.routes import PREFIX, ROUTES
from streams.web.api.table import WALL, Wall, cached
from streams.web.assets import HEADERS, add_assets
from streams.web.compressed import compress, vary_by
from streams.web.hub import Hub
from streams.web.sockets import HUB, SOCKETS, Sockets, live

log = logging.getLogger(__name__)

TIDY_SECONDS = 600.0
"""Between two looks for acknowledgements that nobody else takes off."""

MOST_TIDIED = 100
"""So many are taken off at a time."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What supervisors read, under whatever name they reach this machine."""

OPENAPI = web.AppKey("openapi", bytes)


def make_app(wall: Wall) -> web.Application:
    """The server on a wall's parts."""
    app = web.Application(middlewares=[_guard], client_max_size=wall.limits.body)
    limits = wall.limits
    wall.buckets.setdefault("requests", Buckets(limits.rate, limits.burst))
    wall.buckets.setdefault("pictures", Buckets(limits.rate * limits.pictures, limits.burst * limits.pictures))
    sockets = Sockets()
    wall = replace(wall, sockets=lambda: len(sockets.open))
    app[WALL], app[HUB], app[SOCKETS] = wall, Hub(wall.live, wall.now, lambda: wall.reading()[1]), sockets
    app[OPENAPI] = json.dumps(document(ROUTES, PREFIX)).encode()
    for route in ROUTES:
        # aiohttp's own pattern for a part of a path has no braces, and an id may have any character.
        from_zero(metrics.REQUESTS, *((PREFIX + route.path, str(status)) for status in (route.statuses[0], 503)))
        resource = app.router.add_resource(PREFIX + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path))
        # Who asks for the HEAD of an address, as link checkers do, gets what GET would answer, without the body.
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            resource.add_route(method, route.handle)
    app.router.add_get(f"{PREFIX}/openapi.json", _openapi)
    app.router.add_get(f"{PREFIX}/live", live)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    add_assets(app)
    app.cleanup_ctx.append(_telling)
    app.cleanup_ctx.append(_tidying)
    app.on_shutdown.append(app[SOCKETS].close_all)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign hosts, turn errors into problems, compress what is long, and add the security headers to every answer."""
    gate = request.app[WALL].gate
    origin = request.headers.get("Origin")
    began = time.monotonic()
    try:
        if request.path not in OPEN_PATHS and (problem := gate.host_problem(request)):
            raise ApiError(403, problem)
        if request.method == "OPTIONS" and request.path.startswith(PREFIX) and gate.allows_origin(origin):
            answer: web.StreamResponse = web.Response(status=204, headers=PREFLIGHT)
        else:
            answer = await handler(request)
    except web.HTTPException as error:
        answer = from_aiohttp(error).answer()
    except ApiError as error:
        answer = error.answer()
    except (ConnectionError, asyncio.CancelledError):
        raise  # nobody is there any more to be answered
    except Exception:
        log.exception("a request could not be answered: %s %s", request.method, printable(request.path)[:300])
        answer = ApiError(500, "this is a fault of the wall; its log says more").answer()
    resource = request.match_info.route.resource
    if resource is not None and request.path.startswith(PREFIX) and not isinstance(answer, web.WebSocketResponse):
        metrics.REQUESTS.labels(resource.canonical, str(answer.status)).observe(time.monotonic() - began)
    if not answer.prepared:
        compress(request, answer)
        answer.headers.update(HEADERS)
        if origin is not None and gate.allows_origin(origin):
            # For a page that shows its token. No credentials are allowed: a cookie never counts for another site.
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = EXPOSED
            vary_by(answer, "Origin")
            answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


EXPOSED = "ETag, Link, Retry-After, WWW-Authenticate"
"""Without this a browser keeps from another site's page what `If-Match`, the next page and the next attempt need."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, PUT, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match",
    "Access-Control-Max-Age": "600",
}


async def _openapi(request: web.Request) -> web.Response:
    return cached(request, request.app[OPENAPI], "application/json", "no-cache")


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    ready, problem = request.app[WALL].reading()
    return web.json_response({"ready": ready, "problems": [problem] if problem else []}, status=200 if ready else 503)


async def _metrics(request: web.Request) -> web.Response:
    wall = request.app[WALL]
    ready, problem = wall.reading()
    metrics.READY.set(ready and not problem)
    metrics.SOCKETS.set(wall.sockets())
    metrics.STREAMS.set(len(wall.live.streams))
    return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _telling(app: web.Application) -> AsyncIterator[None]:
    """Tell the browsers what changes, as long as the server runs."""
    task = asyncio.create_task(app[HUB].run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _tidying(app: web.Application) -> AsyncIterator[None]:
    """Take off old acknowledgements, as long as the server runs."""

    async def run() -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            await tidy(app[WALL])

    task = asyncio.create_task(run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def tidy(wall: Wall) -> None:
    """Take acknowledgements of streams that nobody knows any more off the topic.

    Where Kafka does not take one, the rest waits for the next call.
    """
    if wall.reading() != (True, ""):
        return
    for alert_id in wall.live.orphaned_acks(wall.now())[:MOST_TIDIED]:
        try:
            await wall.write_ack(alert_id, None)
        except BrokerError as error:
            log.warning("an old acknowledgement stays on the topic: %s", printable(str(error))[:300])
            return
        wall.live.set_ack(alert_id, None)
