"""Routes by which a browser signs in and out. Its cookie holds the token itself, so that it holds on every wall, after restarts
too, and ends when the token is removed from the file; no script of a page can read it."""

from __future__ import annotations

import time

from aiohttp import web

from streams.web.access.gate import COOKIE_SECONDS, PLAIN_COOKIE, SECURE_COOKIE
from streams.web.api.answers import SessionAnswer
from streams.web.api.problems import ApiError
from streams.web.api.queries import SessionBody
from streams.web.api.table import Call, json_answer


async def show(call: Call) -> web.Response:
    """Who is signed in."""
    assert call.who is not None
    return json_answer(SessionAnswer(name=call.who.name, scopes=list(call.who.scopes), labels=dict(call.who.labels)))


async def sign_in(call: Call) -> web.Response:
    """Get a session for a token."""
    assert isinstance(call.body, SessionBody)
    secret = call.body.token.strip()
    who = call.wall.gate.of_secret(secret, "cookie")
    if who is None:
        # Guesses are counted by address; a token has 256 random bits.
        call.wall.buckets["requests"].take(f"address {call.request.remote}", time.monotonic())
        raise ApiError(401, "this token is not known; ask for a new one", WWW_Authenticate='Bearer realm="fvq"')
    answer = json_answer(SessionAnswer(name=who.name, scopes=list(who.scopes), labels=dict(who.labels)))
    name, secure = call.wall.gate.cookie(call.request)
    answer.set_cookie(name, secret, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="Strict", secure=secure)
    return answer


async def sign_out(_: Call) -> web.Response:
    """End the session in this browser."""
    answer = web.Response(status=204)
    answer.del_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    answer.del_cookie(PLAIN_COOKIE, path="/")
    return answer
