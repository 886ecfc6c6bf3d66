"""A route and a call of it: what every request goes through before its handler is asked.

In this order: who asks, the scope, the rate, where a change comes from, the query, the body. `routes.py` has the table.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

from aiohttp import web
from pydantic import BaseModel, ValidationError

from streams.events import AlertAcknowledgement, OperatorRating, SegmentScore, TrainingExample
from streams.history.base import History
from streams.web.access.gate import Gate, Who
from streams.web.access.limits import DEFAULT_LIMITS, Buckets, WebLimits
from streams.web.access.tokens import Scope
from streams.web.api.problems import ApiError, wrong_value
from streams.web.api.queries import Body, Query
from streams.web.clips import Clips
from streams.web.live import Live

IMMUTABLE = "private, max-age=3600, immutable"
"""For pictures and clips. They show faces: a browser keeps them no longer than the topic keeps pictures."""

FOR_WHOM = {"Vary": "Authorization, Cookie"}
"""What a browser keeps for somebody is not shown to who signs in after them."""

NO_STORE = "no-store"

Client = Literal["requests", "pictures"]


@dataclass(frozen=True)
class Wall:
    """What the handlers work with.

    now: seconds since 1970. reading: whether the state has been read, and why not ('' where it was). write_ack: sends an
    acknowledgement, None for one that is taken back, and waits until it is kept; raises `BrokerError`. history, clips: None
    where there are none. rate: keeps the clip of a segment with a person's rating, see `OperatorRatings.keep`. sockets: number
    of open ones. questions: limits those to the history. turns: see `turn`.
    """

    live: Live
    gate: Gate
    now: Callable[[], float]
    reading: Callable[[], tuple[bool, str]]
    write_ack: Callable[[str, AlertAcknowledgement | None], Awaitable[None]]
    history: History | None = None
    clips: Clips | None = None
    rate: Callable[[SegmentScore, OperatorRating], Awaitable[TrainingExample]] | None = None
    limits: WebLimits = DEFAULT_LIMITS
    sockets: Callable[[], int] = int
    buckets: dict[Client, Buckets] = field(default_factory=dict)
    questions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn(self, alert_id: str) -> asyncio.Lock:
        """The lock by which one change at a time is made to an alert's acknowledgement."""
        return self.turns.setdefault(alert_id, asyncio.Lock())


WALL = web.AppKey("wall", Wall)


@dataclass(frozen=True)
class Call:
    """One request of somebody who may make it. who: None where the route asks for nobody."""

    wall: Wall
    request: web.Request
    who: Who | None
    query: Any
    body: Any
    now: float

    def part(self, name: str) -> str:
        """A part of the path, decoded: an id."""
        return self.request.match_info[name]

    def sees(self, labels: Mapping[str, str]) -> bool:
        """Whether the caller may see what carries these labels."""
        return self.who is None or self.who.labels.items() <= labels.items()


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One operation of the API.

    scope: what the caller needs; None for everybody. errors: refusals beside 401, 403 and 429. statuses: of the answer.
    media: its type. csv: whether it may be CSV as well. client: the rate limit that counts it. needs_state: refused until the
    topics have been read.
    """

    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    scope: Scope | None = "read"
    query: type[Query] = Query
    body: type[Body] | None = None
    answer: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    statuses: tuple[int, ...] = (200,)
    media: str = "application/json"
    csv: bool = False
    client: Client = "requests"
    needs_state: bool = True

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, or refuse it with an `ApiError`."""
        wall = request.app[WALL]
        who = self._who(wall, request)
        if self.method != "GET" and (problem := wall.gate.origin_problem(request, who)):
            raise ApiError(403, problem)
        query = self._query(request)
        body = await self._body(request)
        if self.needs_state and not wall.reading()[0]:
            raise ApiError(503, wall.reading()[1] or "the topics are being read", Retry_After="2")
        answer = await self.handler(Call(wall, request, who, query, body, wall.now()))
        if "Cache-Control" not in answer.headers and not answer.prepared:
            answer.headers["Cache-Control"] = NO_STORE
        return answer

    def _who(self, wall: Wall, request: web.Request) -> Who | None:
        who = wall.gate.who(request)
        client = f"name {who.name}" if who is not None else f"address {request.remote}"
        if wait := wall.buckets[self.client].take(client, time.monotonic()):
            raise ApiError(429, f"too many requests: again in {wait:.1f} s", Retry_After=str(int(wait) + 1))
        if self.scope is None:
            return who
        if who is None:
            asks = "Authorization" not in request.headers
            detail = (
                "say who you are: Authorization: Bearer TOKEN, or sign in"
                if asks
                else "this token is not known; ask for a new one"
            )
            raise ApiError(401, detail, WWW_Authenticate='Bearer realm="fvq"')
        if self.scope not in who.scopes:
            raise ApiError(403, f"the token {who.name!r} lacks the scope {self.scope!r}")
        return who

    def _query(self, request: web.Request) -> Query:
        values: dict[str, Any] = {}
        lists = {
            info.alias or name
            for name, info in self.query.model_fields.items()
            if "list" in str(info.annotation).partition("[")[0]
        }
        for name in request.query:
            given = request.query.getall(name)
            if name not in lists and len(given) > 1:
                raise ApiError(400, f"{name}: it is given {len(given)} times", name)
            values[name] = given if name in lists else given[0]
        try:
            return self.query.model_validate(values)
        except ValidationError as error:
            raise wrong_value(error) from None

    async def _body(self, request: web.Request) -> Body | None:
        if self.body is None:
            return None
        content = await request.read()
        if content and request.content_type != "application/json":
            raise ApiError(415, "the body must be application/json")
        try:
            return self.body.model_validate_json(content or b"{}")
        except ValidationError as error:
            raise wrong_value(error) from None


def json_answer(content: Any, status: int = 200, **headers: str) -> web.Response:
    """An answer of JSON: a model, or what `json` takes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, body=json_bytes(content), content_type="application/json", headers=named)


def json_bytes(content: Any) -> bytes:
    """Compact JSON of a model, or of what `json` takes."""
    text = content.model_dump_json() if isinstance(content, BaseModel) else json.dumps(content, separators=(",", ":"))
    return text.encode()


def with_next(call: Call, answer: web.Response, following: str | None) -> web.Response:
    """An answer that has no place for `next`, with the address of the next page in `Link` (RFC 8288). following: its cursor."""
    if following is not None:
        answer.headers["Link"] = f'<{call.request.rel_url.update_query(cursor=following).raw_path_qs}>; rel="next"'
    return answer


def cached(request: web.Request, body: bytes, media: str, cache: str) -> web.Response:
    """An answer that can be asked for by its tag; 304 without a body where the client has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": cache, **FOR_WHOM}
    known = [part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=media, headers=headers)


def tag_of(ack: AlertAcknowledgement | None) -> str:
    """The tag of an acknowledgement, for `If-Match`: its `at` as answers and frames have it; one of its own for none."""
    return f'"{ack.model_dump(mode="json", include={"at"})["at"]}"' if ack is not None else '"none"'
