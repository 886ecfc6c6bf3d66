"""Reads small resources whole, such as playlists: one attempt, whose caller decides when to try again.

The checks are those of `streams.media.fetch`. The connections to one host are limited, and not all together: one hanging origin
could use up such a limit for all others.
"""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import aiohttp

from scorer.http_client import retry_after
from streams.errors import MediaError
from streams.media.answers import TemporaryError, check_status, refusal_behind, words_of
from streams.media.client import Client, body_of
from streams.media.uri import parse

PER_HOST = 64
"""Connections to one host at once."""

LONGEST_WAIT = 60.0
"""The most seconds that a server's Retry-After may ask for: a wrong header must not stop a source for a day."""


_parsed = lru_cache(maxsize=16384)(parse)
"""The same addresses are read again and again."""


@dataclass(frozen=True)
class Answer:
    """A resource as it was read. url: where it came from, after redirects, with the user and password that it was asked with.

    date: the server's time, None where it says none. has_length: whether the server said how long it is; without that, a
    connection that breaks looks like the end.
    """

    body: bytes
    url: str
    date: datetime | None = None
    has_length: bool = True


class ReadError(MediaError):
    """A resource could not be read. kind: "not-found", "unreachable", "busy" (HTTP 429), "timeout", "too-large" or "refused".

    retry_after: seconds for which the server asks to be left alone, 0 where it does not.
    """

    def __init__(self, reason: str, kind: str, retry_after: float = 0.0) -> None:
        super().__init__(reason, kind)
        self.retry_after = retry_after


class Reader:
    """Reads resources by HTTP. Use it as an async context manager.

    hosts, private: as in `streams.media.fetch.FetchLimits`. most: bytes of the largest resource, before and after decoding.
    """

    def __init__(
        self, hosts: tuple[str, ...] = (), private: bool = False, most: int = 4 * 2**20, per_host: int = PER_HOST
    ) -> None:
        self._client = Client(hosts, private, per_host=per_host)
        self._most = most

    async def __aenter__(self) -> Reader:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    async def read(self, address: str, seconds: float) -> Answer:
        """The resource at an address. seconds: the longest time, waiting for a connection included. Raises `ReadError`."""
        shown = "the address"
        try:
            uri = _parsed(address)
            shown = uri.shown
            async with asyncio.timeout(seconds):  # also stops a server that sends a byte now and then
                # Playlists are text: an origin that can encode them saves most of the bytes.
                async with self._client.get(uri, {"Accept-Encoding": "gzip"}) as (answer, final):
                    _check_busy(answer, final.shown)
                    check_status(answer.status, final, None, "is the address right, and does the source run?")
                    body = b"".join([data async for data in body_of(answer, final.shown, self._most, self._too_large)])
                    has_length = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
                    return Answer(body, final.base, date_of(answer.headers), has_length)
        except TimeoutError:
            raise ReadError(f"{shown}: no answer within {seconds:.3g} s", "timeout") from None
        except ReadError:
            raise
        except MediaError as error:
            raise ReadError(error.reason, "unreachable" if error.kind == "undecodable" else error.kind) from error
        except aiohttp.InvalidURL:
            raise ReadError(f"{shown}: not an http address", "refused") from None
        except TemporaryError as error:
            raise ReadError(str(error), "unreachable") from error
        except (aiohttp.ClientError, OSError) as error:
            refused = refusal_behind(error)
            if refused is not None:
                raise ReadError(refused.reason, "refused") from error
            raise ReadError(f"{shown} cannot be reached: {words_of(error)}", "unreachable") from error

    def allows(self, address: str) -> bool:
        """Whether an address may be read, as far as its text tells: a name is looked up and checked when it is read."""
        try:
            self._client.check(parse(address))
        except MediaError:
            return False
        return True

    def _too_large(self, name: str) -> MediaError:
        return MediaError(f"{name} is larger than {self._most} bytes", kind="too-large")


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The server's time by the headers of its answer: `Date`, and `Age` where a cache has kept it. None where it says none."""
    age = headers.get("Age", "0").strip()
    seconds = int(age) if age.isascii() and age.isdigit() and len(age) < 9 else 0
    try:
        date = email.utils.parsedate_to_datetime(headers["Date"])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC) + timedelta(seconds=seconds)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _check_busy(answer: aiohttp.ClientResponse, name: str) -> None:
    """Raise where the server asks to be left alone for a while."""
    if answer.status in (429, 503):
        wait = min(retry_after(answer.headers.get("Retry-After", "")) or 0.0, LONGEST_WAIT)
        kind = "busy" if answer.status == 429 else "unreachable"
        raise ReadError(f"{name}: the server answered HTTP {answer.status}", kind, wait)
