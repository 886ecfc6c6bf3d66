"""Refusals as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from scorer.errors import in_own_words


class Problem(BaseModel):
    """What is wrong with a request, and what to do."""

    type: str = Field(description="Always about:blank: the status says the kind.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status, 400-599.")
    detail: str = Field(description="What is wrong, for people.")
    field: str | None = Field(default=None, description="The query parameter or field of the body that is wrong.")


class ApiError(Exception):
    """A refusal. headers: of the answer. field: what is wrong in the request."""

    def __init__(self, status: int, detail: str, field: str | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self) -> web.Response:
        """The refusal as an answer."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            content["field"] = self.field
        body = json.dumps(content).encode()
        return web.Response(status=self.status, body=body, content_type="application/problem+json", headers=self.headers)


def empty_range() -> ApiError:
    """The refusal of a range without any time in it."""
    return ApiError(400, "from: it must be before `to`", "from")


def not_found(what: str) -> ApiError:
    """The refusal for something that is not there."""
    return ApiError(404, f"there is no such {what}")


def wrong_value(error: ValidationError) -> ApiError:
    """The refusal for a query or a body that has not its shape: the first problem."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(part for part in first["loc"] if isinstance(part, str))  # without the place in a list
    reason = in_own_words(first["msg"])
    if first["type"] == "extra_forbidden":
        reason = "there is no such parameter"
    if first["type"] == "too_long":
        reason = f"at most {first['ctx']['max_length']} may be asked for, not {first['ctx']['actual_length']}"
    if first["type"] == "string_pattern_mismatch":
        reason = "write NAME:VALUE" if place == "label" else "it is none of this list's"
    return ApiError(400, f"{place}: {reason}" if place else reason, place or None)


def from_aiohttp(error: web.HTTPException) -> ApiError:
    """The refusal for an error that aiohttp itself raised."""
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    details = {
        404: "there is nothing at this address",
        405: f"this address takes {headers.get('Allow', 'other methods')}",
        413: "the request's body is too large",
    }
    return ApiError(error.status, details.get(error.status, error.reason), **headers)
