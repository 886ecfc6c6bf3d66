"""What a server's answer, or its lack, means for a segment."""

from __future__ import annotations

import aiohttp

from streams.errors import MediaError
from streams.media.checks import RefusedAddressError
from streams.media.ranges import Range
from streams.media.shown import one_line
from streams.media.uri import Uri


class TemporaryError(Exception):
    """The server failed in a way that a new attempt may not meet again."""


def check_status(status: int, uri: Uri, byte_range: Range | None, if_absent: str = "has the segment expired?") -> None:
    """Raise where the answer's HTTP status is not 200, nor 206 for a range. if_absent: a hint for what is not there."""
    if status == 206 and byte_range is not None:
        return
    if status == 416:
        raise MediaError(f"{uri.shown}: it has no bytes {byte_range} (HTTP 416)", kind="not-found")
    if status in (404, 410):
        reason = f"{uri.shown}: not there (HTTP {status}); {if_absent}"
        raise MediaError(reason, kind="not-found")
    if status >= 500 or status == 429:
        raise TemporaryError(f"{uri.shown}: the server answered HTTP {status}")
    if status in (401, 403):
        reason = f"{uri.shown}: the server answered HTTP {status}; does it need a login, or has the URL's signature expired?"
        raise MediaError(reason, kind="unreachable")
    if status != 200:
        raise MediaError(f"{uri.shown}: the server answered HTTP {status}", kind="unreachable")


def words_of(error: Exception) -> str:
    """An error of aiohttp for people. The text of an answer that is no HTTP has the URL in it, with its signature."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return one_line(text or type(error).__name__)


def refusal_behind(error: BaseException | None) -> MediaError | None:
    """The refusal that is the cause of an error, None where there is none: aiohttp wraps the errors of its resolver."""
    while error is not None:
        if isinstance(error, RefusedAddressError):
            return MediaError(str(error), kind="refused")
        error = error.__cause__ or error.__context__ or getattr(error, "os_error", None)
    return None
