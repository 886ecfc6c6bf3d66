"""The ASGI application of the served scorer: the same one on uvicorn and on Ray Serve.

    POST /v1/score    clips -> scores (`scorer.remote.wire` has the body)
    GET  /v1/model    name, version, sampler's specification, limits
    GET  /healthz     200 where the replica can score, else 503 with the reason
    GET  /metrics     for Prometheus

A request is refused as early as it can be: the token, the type, the length and the room in the queue are checked before any of
the body is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scorer.remote.batching import ModelFailedError, QueueFullError, UnscorableError
from scorer.remote.replica import NotReadyError, Replica, ServedEngine
from scorer.remote.wire import MEDIA_TYPE, OtherSpecError, WireError, clip_bytes, unpack
from scorer.spec import ClipScore, ModelInput

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
GONE = 499
"""The status in log and metrics of a request whose client went before the answer. Nobody is sent it."""

TITLES = {
    400: "Bad request", 401: "Unauthorized", 404: "Not found", 405: "Method not allowed", 408: "Request timeout",
    409: "Other sampler specification", 411: "Length required", 413: "Content too large", 415: "Unsupported media type",
    422: "Clip cannot be scored", 500: "Internal server error", 503: "Service unavailable", GONE: "Client gone",
}  # fmt: skip
DISCARDED_BYTES = 64 << 20
"""A refused body of up to this size is received and thrown away, because many clients see an answer only when they have sent
everything. With a longer one the connection is closed."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class ProblemError(Exception):
    """A request that is answered with a problem document. more: further members of it."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or {}, more

    def answer(self) -> Response:
        """The problem document (RFC 9457)."""
        document = {"type": "about:blank", "title": TITLES[self.status], "status": self.status, "detail": self.detail}
        return JSONResponse(document | self.more, self.status, self.headers, PROBLEM_TYPE)


def make_app(replica: Replica, token: str | None = None) -> Starlette:
    """The application. replica: what scores; it runs as long as the application. token: clients must send it; None for nobody."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with replica.running():
            yield

    pages = _Pages(replica, token)
    routes = [
        Route("/v1/score", pages.score, methods=["POST"]),
        Route("/v1/model", pages.model, methods=["GET"]),
        Route("/healthz", pages.health, methods=["GET"]),
        Route("/metrics", pages.metrics, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _answer_http})


async def _answer_http(_: Request, error: Exception) -> Response:
    """Starlette's own refusals, of an unknown path or method, as problem documents too."""
    assert isinstance(error, HTTPException)
    return ProblemError(error.status_code, error.detail, dict(error.headers or {})).answer()


class _Pages:
    """What answers the routes."""

    def __init__(self, replica: Replica, token: str | None) -> None:
        self._replica = replica
        self._token = None if token is None else hashlib.sha256(token.encode()).digest()

    async def health(self, _: Request) -> Response:
        problem = self._replica.problem()
        return JSONResponse({"status": problem or "ready"}, 503 if problem else 200)

    async def metrics(self, _: Request) -> Response:
        return Response(self._replica.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    async def model(self, request: Request) -> Response:
        try:
            self._check_token(request)
            engine = self._engine()
        except ProblemError as problem:
            return problem.answer()
        limits = {"clips": self._replica.limits.batch, "body_bytes": self._replica.largest_body()}
        return JSONResponse(
            {**asdict(engine.model), "spec": engine.spec.values(), "statistics": engine.statistics, "limits": limits}
        )

    async def score(self, request: Request) -> Response:
        """Answer one request to score, and log and count it, whatever becomes of it."""
        began = time.monotonic()
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        fields: dict[str, Any] = {"request_id": request_id}
        try:
            answer = await self._score(request, fields)
        except ProblemError as problem:
            answer = problem.answer()
            fields["reason"] = problem.detail
        except Exception:
            log.exception("a request to score failed", extra=fields)
            answer = ProblemError(500, "the server failed; its log says why").answer()
        seconds = time.monotonic() - began
        self._replica.metrics.requests.labels(str(answer.status_code)).inc()
        if answer.status_code == 200:
            self._replica.metrics.request_seconds.observe(seconds)
        answer.headers["X-Request-Id"] = request_id
        if answer.status_code == 408 or _length(request) > DISCARDED_BYTES:
            answer.headers["Connection"] = "close"
        # A full queue and a good answer are the usual things; the metrics count them.
        level = logging.DEBUG if answer.status_code in (200, 503) else logging.INFO
        log.log(level, "request to score", extra=fields | {"status": answer.status_code, "ms": round(seconds * 1000)})
        return answer

    async def _score(self, request: Request, fields: dict[str, Any]) -> Response:
        """The scores. fields: of the log line; gets the number of clips. Raises `ProblemError`."""
        self._check_token(request)
        engine = self._engine()
        length = self._check_headers(request)
        try:
            # A header is shorter than a clip, so there are at most so many clips in the body.
            clips = min(self._replica.limits.batch, max(1, length // clip_bytes(engine.spec, engine.statistics)))
            async with self._replica.batcher.admit(clips):
                scores = await self._admitted(request, engine, length)
        except QueueFullError as error:
            raise ProblemError(503, str(error), {"Retry-After": str(error.retry_after)}) from error
        fields["clips"] = len(scores)
        self._replica.metrics.clips.inc(len(scores))
        return JSONResponse({"model": asdict(scores[0].model), "scores": [_document(score) for score in scores]})

    async def _admitted(self, request: Request, engine: ServedEngine, length: int) -> list[ClipScore]:
        """The scores of a request for which there is room. Raises `ProblemError`."""
        body = await self._read(request, length)
        try:
            clips = unpack(body, engine.spec, engine.statistics, self._replica.limits.batch)
            return await self._scores(request, engine, clips)
        except OtherSpecError as error:
            raise ProblemError(409, str(error), spec=engine.spec.values()) from error
        except WireError as error:
            raise ProblemError(400, str(error)) from error
        except UnscorableError as error:
            raise ProblemError(422, str(error), clips=error.clips) from error
        except ModelFailedError as error:
            if error.may_pass:
                raise ProblemError(503, str(error), {"Retry-After": str(self._replica.batcher.retry_after())}) from error
            raise ProblemError(500, str(error)) from error

    async def _scores(self, request: Request, engine: ServedEngine, clips: list[ModelInput]) -> list[ClipScore]:
        """The scores; raises `ProblemError` as soon as the client has gone, so that nothing is scored for it."""
        scoring = asyncio.ensure_future(self._replica.batcher.score(engine, clips))
        gone = asyncio.ensure_future(request.receive())  # after the body the only message is that the client has gone
        try:
            await asyncio.wait({scoring, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not scoring.done():
                raise ProblemError(GONE, "the client went before it got its scores")
            return scoring.result()
        finally:
            scoring.cancel()
            gone.cancel()

    async def _read(self, request: Request, length: int) -> memoryview:
        """The body, of exactly this length. Memory that is not written to is not taken, so a client pays for what it claims."""
        body = np.empty(length, np.uint8).data
        place = 0
        try:
            async with asyncio.timeout(self._replica.limits.body_seconds):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ProblemError(GONE, f"the client went after {place} of {length} bytes")
                    piece = message.get("body", b"")
                    if place + len(piece) > length:
                        raise ProblemError(413, f"the body is longer than its Content-Length, {length}")
                    body[place : place + len(piece)] = piece
                    place += len(piece)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            words = f"{place} of {length} bytes came in {self._replica.limits.body_seconds:g} s"
            raise ProblemError(408, words) from None
        if place < length:
            raise ProblemError(400, f"the body has {place} bytes, and its Content-Length says {length}")
        self._replica.metrics.body_bytes.observe(length)
        return body

    def _engine(self) -> ServedEngine:
        """The version that scores what comes now. Raises `ProblemError` while it is loaded."""
        try:
            return self._replica.engine
        except NotReadyError as error:
            raise ProblemError(503, str(error), {"Retry-After": str(error.retry_after)}) from error

    def _check_token(self, request: Request) -> None:
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Digests have one length, so the time of the comparison says nothing about the token.
        digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
        if not hmac.compare_digest(digest, self._token) or scheme.lower() != "bearer":
            words = "this server takes requests with its bearer token only: set FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE"
            raise ProblemError(401, words, {"WWW-Authenticate": "Bearer"})

    def _check_headers(self, request: Request) -> int:
        """The length of the body. Raises `ProblemError` where the headers are not those of clips."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != MEDIA_TYPE:
            raise ProblemError(415, f"the Content-Type must be {MEDIA_TYPE}", {"Accept-Post": MEDIA_TYPE})
        if "content-encoding" in request.headers:
            raise ProblemError(415, "a Content-Encoding is not taken: send the body as it is")
        length, largest = _length(request), self._replica.largest_body()
        if length == math.inf:
            raise ProblemError(411, "the Content-Length is missing: a body without one is not read")
        if length > largest:
            words = (
                f"the body has {int(length)} bytes, more than {largest}, which {self._replica.limits.batch} clips have at most"
            )
            raise ProblemError(413, words)
        return int(length)


def _length(request: Request) -> float:
    """The length that the headers say; infinite where they say none, because then a body may have any."""
    text = request.headers.get("content-length", "")
    return int(text) if _LENGTH.fullmatch(text) else math.inf


def _document(score: ClipScore) -> dict[str, object]:
    """A score in the answer, which names the model once for all."""
    return {name: value for name, value in asdict(score).items() if name not in ("model", "fallback")}
