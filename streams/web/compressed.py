"""Long texts are sent compressed to those who take that.

No secret can be read from an answer's length (BREACH): no answer has a token, and another site's page sends no session's cookie.
"""

from __future__ import annotations

import re

from aiohttp import web

LEAST_COMPRESSED = 1400
"""Bytes. What is shorter is one packet anyway."""

_TAKES_GZIP = re.compile(r"(?<![\w-])gzip(?!\s*;\s*q=0(\.0*)?\s*(,|$))(?![\w-])", re.IGNORECASE)


def vary_by(answer: web.StreamResponse, header: str) -> None:
    """Say that an answer depends on this header of the request too."""
    answer.headers["Vary"] = ", ".join(filter(None, (answer.headers.get("Vary"), header)))


def compress(request: web.Request, answer: web.StreamResponse) -> None:
    """Have an answer sent as gzip, where it is a long text and the client takes that. Not for files: clips come in ranges."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return
    if len(answer.body) < LEAST_COMPRESSED or not answer.content_type.startswith(("text/", "application/")):
        return
    vary_by(answer, "Accept-Encoding")
    if _TAKES_GZIP.search(request.headers.get("Accept-Encoding", "")):
        answer.enable_compression(web.ContentCoding.gzip)
        if (tag := answer.headers.get("ETag", "")).startswith('"'):
            answer.headers["ETag"] = f"W/{tag}"  # a strong tag stands for the same bytes (RFC 9110, 8.8.3)
