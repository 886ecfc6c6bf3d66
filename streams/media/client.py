"""HTTP for all that reads addresses from outside: each target is checked, and encodings are undone in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from streams.errors import MediaError
from streams.media.checks import CheckedResolver, check_http, check_listed, check_literal_address, public_socket
from streams.media.encodings import encodings_to_undo, inflated
from streams.media.uri import Uri, refusal

MAX_REDIRECTS = 3
MOST_COOKIES = 1000
"""Cookies that are kept. A CDN may set one with a redirect and ask for it at the target; a hostile server may set any number."""
CHUNK = 1 << 16
"""Bytes that are read at a time."""
READ_BYTES = 4 * CHUNK
"""A connection stops reading where twice as many bytes wait. aiohttp's 64 KiB stopped it a dozen times in each segment."""


class Client:
    """Makes requests within limits. Use it as an async context manager.

    hosts, private: as in `streams.media.fetch.FetchLimits`. connections: at once, 0 for any number. per_host: to one host.
    """

    def __init__(self, hosts: Sequence[str], private: bool, connections: int = 0, per_host: int = 0) -> None:
        self._hosts, self._private = hosts, private
        self._connections, self._per_host = connections, per_host
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._private),
            socket_factory=None if self._private else public_socket,
            limit=self._connections,
            limit_per_host=self._per_host,
        )
        # No auto_decompress: a small compressed answer could grow without bound; `inflated` decodes it in pieces.
        # No trust_env: a proxy would look up the names itself, without the resolver's check.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, trust_env=False, read_bufsize=READ_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(self, uri: Uri, headers: Mapping[str, str]) -> AsyncIterator[tuple[aiohttp.ClientResponse, Uri]]:
        """The answer to one request and where it came from. Redirects are followed, each target checked like the first address.

        Raises `MediaError` of kind "refused", and what aiohttp raises.
        """
        assert self._session is not None
        if len(self._session.cookie_jar) > MOST_COOKIES:
            self._session.cookie_jar.clear()
        for _ in range(MAX_REDIRECTS + 1):
            self.check(uri)
            request = self._session.get(uri.url(), auth=uri.authentication(), allow_redirects=False, headers=headers)
            async with request as answer:
                if answer.status not in (301, 302, 303, 307, 308):
                    yield answer, uri
                    return
                uri = uri.redirected(answer.headers.get("Location", ""))
        raise refusal(f"{uri.shown}: more than {MAX_REDIRECTS} redirects")

    def check(self, uri: Uri) -> None:
        """Raise `MediaError` of kind "refused" where an address may not be requested, as far as its text tells."""
        check_http(uri)
        check_listed(uri, self._hosts)
        if not self._private:
            check_literal_address(uri)


def body_of(answer: aiohttp.ClientResponse, name: str, most: int, too_large: Callable[[str], MediaError]) -> AsyncIterator[bytes]:
    """The decoded bytes of an answer, as they come. name: its address for messages.

    most: bytes, before and after decoding; too_large: makes the error for more. Raises `MediaError`, and what aiohttp raises.
    """
    chunks = _limited(answer.content.iter_chunked(READ_BYTES), name, most, too_large)
    for encoding in encodings_to_undo(",".join(answer.headers.getall("Content-Encoding", [])), name):
        chunks = _limited(inflated(chunks, encoding, name), name, most, too_large)
    return chunks


async def _limited(
    chunks: AsyncIterator[bytes], name: str, most: int, too_large: Callable[[str], MediaError]
) -> AsyncIterator[bytes]:
    """The chunks as they come. Stops an encoded answer without end, also one that decodes to nothing."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > most:
            raise too_large(name)
        yield chunk
