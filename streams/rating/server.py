"""The rating page's server: sign-in, the next clip, ratings, undo, and the clips themselves.

A browser learns nothing of a clip but an opaque id that is its rater's own: no score, no stream, no other's rating.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import BrokerError, MediaError
from streams.events import TrainingExample
from streams.rating.mos import LEVEL_POINTS
from streams.rating.playable import PlayableClips
from streams.rating.store import RatingError, RatingStore
from streams.rating.values import Presentation, Rater, Scale

log = logging.getLogger(__name__)

FOR_GOOD = {"undecodable", "too-large", "timeout"}
"""Kinds of failure that are the clip's own. Any other may pass, as where the store's folder is not mounted."""

COOKIE = "fvq_rater"
COOKIE_SECONDS = 30 * 24 * 3600

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASSETS = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"), "/page.css": ("page.css", "text/css")}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class RatingPage:
    """What the page needs.

    load: what is on the queue now, and which streams were deleted when (`streams.queue.topic.read_deletions`); raises
    `BrokerError`. pause_after: ratings between two pauses. refresh_seconds: between two looks at the queue.
    """

    store: RatingStore
    clips: PlayableClips
    load: Callable[[], tuple[list[TrainingExample], dict[str, datetime]]]
    scale: Scale = "acr"
    pause_after: int = 40
    refresh_seconds: float = 10.0

    def refresh(self) -> int:
        """Take over the queue, and delete what has left it; gives the number of clips. Raises `BrokerError`."""
        examples, deleted = self.load()
        self.store.sync(examples, deleted)
        self.clips.keep_only({one.example_id for one in examples})
        return len(examples)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _SignIn(_Body):
    token: Annotated[str, Field(min_length=1, max_length=200)]


class _Of(_Body):
    presentation: Annotated[str, Field(min_length=1, max_length=64)]


class _Rating(_Of):
    value: Annotated[float, Field(ge=0, le=100, description="ACR: 1 bad to 5 excellent; slider: 0-100.")]
    seconds: Annotated[float, Field(ge=0, le=86400)]


PAGE = web.AppKey("page", RatingPage)
READYING = web.AppKey("readying", set[asyncio.Task[None]])


def make_app(page: RatingPage) -> web.Application:
    """The server; it looks at the queue by itself once it runs, and expects one `refresh` before."""
    app = web.Application(middlewares=[_guard], client_max_size=4096)
    app[PAGE] = page
    app[READYING] = set()
    for path in ASSETS:
        app.router.add_get(path, _asset)
    app.router.add_post("/api/sign-in", _sign_in)
    app.router.add_post("/api/sign-out", _sign_out)
    app.router.add_get("/api/next", _next)
    app.router.add_post("/api/ratings", _rate)
    app.router.add_post("/api/undo", _undo)
    app.router.add_post("/api/skip", _skip)
    app.router.add_get("/api/clips/{presentation}", _clip)
    app.cleanup_ctx.append(_refreshing)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        # Another page cannot send JSON here without asking first, and is not answered; the cookie is Strict besides.
        if request.method == "POST" and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        answer = await handler(request)
    except web.HTTPException as error:
        answer = _error(error.status, error.text or error.reason)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        answer = _error(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": "))
    except RatingError as error:
        answer = _error(409, str(error))
    answer.headers.update(HEADERS)
    return answer


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


async def _rater(request: web.Request) -> Rater:
    token = request.cookies.get(COOKIE, "")
    found = await asyncio.to_thread(request.app[PAGE].store.sign_in, token) if token else None
    if found is None:
        raise web.HTTPUnauthorized(text="sign in with your token")
    return found


async def _asset(request: web.Request) -> web.Response:
    name, kind = ASSETS[request.path]
    text = files("streams.rating").joinpath("page", name).read_text("utf-8")
    return web.Response(text=text, content_type=kind)


async def _sign_in(request: web.Request) -> web.Response:
    body = _SignIn.model_validate_json(await request.read())
    rater = await asyncio.to_thread(request.app[PAGE].store.sign_in, body.token.strip())
    if rater is None:
        raise web.HTTPUnauthorized(text="this token is not known; ask for a new one")
    answer = web.json_response({"name": rater.name})
    # A proxy that ends TLS says so; a browser that lies about it loses its own cookie.
    secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
    answer.set_cookie(COOKIE, body.token.strip(), max_age=COOKIE_SECONDS, httponly=True, samesite="Strict", secure=secure)
    return answer


async def _sign_out(_: web.Request) -> web.Response:
    answer = web.json_response({})
    answer.del_cookie(COOKIE)
    return answer


async def _next(request: web.Request) -> web.Response:
    rater = await _rater(request)
    page = request.app[PAGE]
    while True:
        found = await asyncio.to_thread(page.store.current, rater)
        if found is None:
            break
        try:
            await asyncio.to_thread(page.clips.get, found.key[1], found.clip_uri)
        except MediaError as error:
            log.warning("clip %s cannot be shown: %s", found.key[1][:12], error)
            await asyncio.to_thread(page.store.skip, rater, found.id, error.kind not in FOR_GOOD)
            continue
        except OSError as error:
            log.warning("clip %s cannot be read now: %s", found.key[1][:12], error)
            return web.json_response(await _state(page, rater, None) | {"state": "waiting"})
        _ready_soon(request.app, rater)
        break
    return web.json_response(await _state(page, rater, found))


async def _state(page: RatingPage, rater: Rater, found: Presentation | None) -> dict[str, Any]:
    progress = await asyncio.to_thread(page.store.progress, rater)
    return {
        "state": "rate" if found else "waiting" if progress.away else "done",
        "presentation": found.id if found else None,
        "scale": page.scale,
        "done": progress.done,
        "total": progress.done + progress.left,
        "can_undo": progress.can_undo,
        "pause": found is not None and progress.done > 0 and progress.done % page.pause_after == 0,
        "name": rater.name,
    }


def _ready_soon(app: web.Application, rater: Rater) -> None:
    """Make the clip after this one playable while this one is watched."""

    async def work() -> None:
        page = app[PAGE]
        coming = await asyncio.to_thread(page.store.upcoming, rater)
        # What is wrong with it is said when its turn comes.
        with contextlib.suppress(MediaError, OSError):
            if coming is not None:
                await asyncio.to_thread(page.clips.get, *coming)

    task = asyncio.create_task(work())
    app[READYING].add(task)
    task.add_done_callback(app[READYING].discard)


async def _rate(request: web.Request) -> web.Response:
    rater = await _rater(request)
    page = request.app[PAGE]
    body = _Rating.model_validate_json(await request.read())
    if page.scale == "acr":
        if body.value not in (1, 2, 3, 4, 5):
            raise web.HTTPBadRequest(text="value: one of 1 (bad) to 5 (excellent)")
        points = LEVEL_POINTS[int(body.value) - 1]
    else:
        points = body.value
    await asyncio.to_thread(page.store.rate, rater, body.presentation, points, page.scale, body.seconds)
    return web.json_response({"kept": True}, status=201)


async def _undo(request: web.Request) -> web.Response:
    rater = await _rater(request)
    return web.json_response({"undone": await asyncio.to_thread(request.app[PAGE].store.undo, rater)})


async def _skip(request: web.Request) -> web.Response:
    rater = await _rater(request)
    body = _Of.model_validate_json(await request.read())
    log.warning("the browser of %s cannot play presentation %s", rater.name, body.presentation)
    await asyncio.to_thread(request.app[PAGE].store.skip, rater, body.presentation)
    return web.json_response({})


async def _clip(request: web.Request) -> web.StreamResponse:
    rater = await _rater(request)
    page = request.app[PAGE]
    found = await asyncio.to_thread(page.store.presentation, rater, request.match_info["presentation"])
    if found is None:
        raise web.HTTPNotFound(text="this clip is no longer to be rated")
    try:
        path = await asyncio.to_thread(page.clips.get, found.key[1], found.clip_uri)
    except (MediaError, OSError) as error:
        log.warning("clip %s cannot be shown: %s", found.key[1][:12], error)
        raise web.HTTPNotFound(text="this clip cannot be shown") from error
    # FileResponse answers ranges, and tells the clip's modification time: a date of ours, not of the stream.
    return web.FileResponse(path, headers={"Content-Type": "video/mp4"})


async def _refreshing(app: web.Application) -> AsyncIterator[None]:
    async def work() -> None:
        page = app[PAGE]
        told = ""
        while True:
            await asyncio.sleep(page.refresh_seconds)
            try:
                await asyncio.to_thread(page.refresh)
                told = ""
            except (BrokerError, OSError, MediaError) as error:
                if str(error) != told:
                    log.warning("the queue cannot be read; the clips that were on it stay: %s", error)
                told = str(error)

    task = asyncio.create_task(work())
    yield
    for one in (task, *app[READYING]):
        one.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(task, *app[READYING], return_exceptions=True)
