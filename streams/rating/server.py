"""The rating page's server: sign-in, the next clip, ratings, undo, and the clips themselves.

A browser learns only a random id for each clip, which is valid for its rater alone: no score, no stream, no rating of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import BrokerError, EventError, MediaError
from streams.events import TrainingExample
from streams.rating.database import RatingsFileError
from streams.rating.mos import LEVEL_POINTS
from streams.rating.origin import is_foreign
from streams.rating.playable import PlayableClips
from streams.rating.store import RatingError, RatingStore
from streams.rating.values import Presentation, Rater, Scale
from streams.text import printable

log = logging.getLogger(__name__)

FOR_GOOD = {"undecodable", "too-large", "timeout"}
"""Kinds of `MediaError` that a new attempt cannot mend. Others may pass, for example when the store's folder is mounted again."""

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

MAX_ENLARGE = 8

OTHER_SITE = "the request comes from another address than this page's; behind a proxy, set FVQ_RATE_URL"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class RatingPage:
    """What the server works with.

    load: reads the examples on the queue now, and when which stream was deleted (stream id -> time); raises `BrokerError`.
    pause_after: number of ratings between two pauses. refresh_seconds: time between two readings of the queue.
    enlarge: screen pixels per clip pixel, a whole number. digit_votes: a digit is the whole vote, without a confirmation
    (scale acr only). url: the page's address as browsers see it, where a proxy hides the server's own; None without a proxy.
    """

    store: RatingStore
    clips: PlayableClips
    load: Callable[[], tuple[list[TrainingExample], dict[str, datetime]]]
    scale: Scale = "acr"
    pause_after: int = 40
    refresh_seconds: float = 10.0
    enlarge: int = 1
    digit_votes: bool = False
    url: str | None = None

    def refresh(self) -> int:
        """Read the queue, and delete the MP4s of clips that have left it; returns the number of clips. Raises `BrokerError`."""
        examples, deleted = self.load()
        self.store.sync(examples, deleted)
        self.clips.keep_only({example.example_id for example in examples})
        return len(examples)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _SignIn(_Body):
    token: Annotated[str, Field(min_length=1, max_length=200)]


class _PresentationId(_Body):
    presentation: Annotated[str, Field(min_length=1, max_length=64)]


class _Rating(_PresentationId):
    value: Annotated[float, Field(ge=0, le=100, description="ACR: 1 bad to 5 excellent; slider: 0-100.")]
    seconds: Annotated[float, Field(ge=0, le=86400)]
    factor: Annotated[float, Field(gt=0, le=MAX_ENLARGE, description="Screen pixels per clip pixel while it was watched.")]


PAGE = web.AppKey("page", RatingPage)
PREPARING = web.AppKey("preparing", set[asyncio.Task[None]])
"""Tasks that make the next clip playable."""


def make_app(page: RatingPage) -> web.Application:
    """The server. Call `page.refresh` once before it starts; when it runs, it reads the queue regularly itself."""
    app = web.Application(middlewares=[_guard], client_max_size=4096)
    app[PAGE] = page
    app[PREPARING] = set()
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
    """Turn errors into JSON answers, and add the security headers to every answer."""
    try:
        # Against cross-site requests: a browser sends JSON to another site only after a preflight request, which this server
        # does not allow. The cookie is SameSite=Strict as well.
        if request.method == "POST":
            if request.content_type != "application/json":
                raise web.HTTPUnsupportedMediaType
            if is_foreign(request.headers, request.host, request.app[PAGE].url):
                raise web.HTTPForbidden(text=OTHER_SITE)
        answer = await handler(request)
    except web.HTTPException as error:
        answer = _error(error.status, error.text or error.reason)
    except ValidationError as error:
        answer = _error(400, str(EventError.of(error)))
    except RatingError as error:
        answer = _error(409, str(error))
    except RatingsFileError as error:
        log.error("%s %s cannot be answered: %s", request.method, request.path, error)
        answer = _error(503, "ratings cannot be kept now")
    answer.headers.update(HEADERS)
    return answer


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


async def _rater(request: web.Request) -> Rater:
    """The rater whose token is in the cookie; else the answer is HTTP 401."""
    token = request.cookies.get(COOKIE, "")
    rater = await asyncio.to_thread(request.app[PAGE].store.sign_in, token) if token else None
    if rater is None:
        raise web.HTTPUnauthorized(text="sign in with your token")
    return rater


async def _asset(request: web.Request) -> web.Response:
    name, kind = ASSETS[request.path]
    text = files("streams.rating").joinpath("page", name).read_text("utf-8")
    return web.Response(text=text, content_type=kind)


async def _sign_in(request: web.Request) -> web.Response:
    body = _SignIn.model_validate_json(await request.read())
    rater = await asyncio.to_thread(request.app[PAGE].store.sign_in, body.token.strip())
    if rater is None:
        raise web.HTTPUnauthorized(text="this token is not known; ask for a new one")
    answer = web.json_response({"name": printable(rater.name)})
    # A proxy that ends TLS sets X-Forwarded-Proto. Some do not: then the browser's Origin says that it uses TLS. A browser that
    # sends either without TLS only keeps its own cookie off plain HTTP.
    over_tls = request.headers.get("X-Forwarded-Proto") == "https" or request.headers.get("Origin", "").startswith("https://")
    secure = request.secure or over_tls
    answer.set_cookie(COOKIE, body.token.strip(), max_age=COOKIE_SECONDS, httponly=True, samesite="Strict", secure=secure)
    return answer


async def _sign_out(_: web.Request) -> web.Response:
    answer = web.json_response({})
    answer.del_cookie(COOKIE)
    return answer


async def _next(request: web.Request) -> web.Response:
    rater = await _rater(request)
    page = request.app[PAGE]
    while (presentation := await asyncio.to_thread(page.store.current, rater)) is not None:
        example_id = presentation.key[1]
        try:
            await page.clips.when_made(example_id, presentation.clip_uri)
        except MediaError as error:
            log.warning("clip %s cannot be shown: %s", example_id[:12], error)
            await asyncio.to_thread(page.store.skip, rater, presentation.id, error.kind not in FOR_GOOD)
        except OSError as error:
            log.warning("clip %s cannot be read now: %s", example_id[:12], error)
            return web.json_response(await _state(page, rater, None) | {"state": "waiting"})
        else:
            _prepare_upcoming(request.app, rater)
            break
    return web.json_response(await _state(page, rater, presentation))


async def _state(page: RatingPage, rater: Rater, presentation: Presentation | None) -> dict[str, Any]:
    """What the browser learns: the presentation to rate, or that it has to wait, or that all is rated; and the progress."""
    progress = await asyncio.to_thread(page.store.progress, rater)
    return {
        "state": "rate" if presentation else "waiting" if progress.away else "done",
        "presentation": presentation.id if presentation else None,
        "scale": page.scale,
        "enlarge": page.enlarge,
        "digit_votes": page.digit_votes,
        "done": progress.done,
        "total": progress.done + progress.left,
        "minutes": math.ceil(progress.seconds / 60),
        "can_undo": progress.can_undo,
        "pause": presentation is not None and progress.done > 0 and progress.done % page.pause_after == 0,
        "name": printable(rater.name),
    }


def _prepare_upcoming(app: web.Application, rater: Rater) -> None:
    """Make the next clip playable in the background, while the rater watches the current one."""

    async def prepare() -> None:
        page = app[PAGE]
        # `_next` reports what fails here, when it is that clip's turn.
        with contextlib.suppress(MediaError, OSError, RatingsFileError):
            upcoming = await asyncio.to_thread(page.store.upcoming, rater)
            if upcoming is not None:
                await page.clips.when_made(*upcoming)

    task = asyncio.create_task(prepare())
    app[PREPARING].add(task)
    task.add_done_callback(app[PREPARING].discard)


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
    await asyncio.to_thread(page.store.rate, rater, body.presentation, points, page.scale, body.seconds, body.factor)
    return web.json_response({"kept": True}, status=201)


async def _undo(request: web.Request) -> web.Response:
    rater = await _rater(request)
    return web.json_response({"undone": await asyncio.to_thread(request.app[PAGE].store.undo, rater)})


async def _skip(request: web.Request) -> web.Response:
    rater = await _rater(request)
    body = _PresentationId.model_validate_json(await request.read())
    log.warning("the browser of %s cannot play presentation %s", rater.name, body.presentation)
    await asyncio.to_thread(request.app[PAGE].store.skip, rater, body.presentation)
    return web.json_response({})


async def _clip(request: web.Request) -> web.StreamResponse:
    rater = await _rater(request)
    page = request.app[PAGE]
    presentation = await asyncio.to_thread(page.store.presentation, rater, request.match_info["presentation"])
    if presentation is None:
        raise web.HTTPNotFound(text="this clip is no longer to be rated")
    try:
        path = await page.clips.when_made(presentation.key[1], presentation.clip_uri)
    except (MediaError, OSError) as error:
        log.warning("clip %s cannot be shown: %s", presentation.key[1][:12], error)
        raise web.HTTPNotFound(text="this clip cannot be shown") from error
    # FileResponse answers range requests. Its Last-Modified is the time at which the MP4 was made, not a time of the stream.
    return web.FileResponse(path, headers={"Content-Type": "video/mp4"})


async def _refreshing(app: web.Application) -> AsyncIterator[None]:
    """Read the queue regularly as long as the server runs; at its end, cancel what runs in the background."""

    async def refresh_forever() -> None:
        page = app[PAGE]
        logged = ""  # the same problem is logged once, not at every attempt
        while True:
            await asyncio.sleep(page.refresh_seconds)
            try:
                await asyncio.to_thread(page.refresh)
                logged = ""
            except (BrokerError, OSError, MediaError, RatingsFileError) as error:
                if str(error) != logged:
                    log.warning("the queue cannot be read, raters go on with the clips that were on it: %s", error)
                logged = str(error)

    task = asyncio.create_task(refresh_forever())
    yield
    for background_task in (task, *app[PREPARING]):
        background_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(task, *app[PREPARING], return_exceptions=True)
