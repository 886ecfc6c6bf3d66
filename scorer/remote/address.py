"""One address of a served scorer: requests over a kept connection, within a time and a size, whatever the server does."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from urllib3.util import parse_url

from scorer.errors import FvqError
from scorer.http_client import connect, retry_after, shut_down_at

CONNECT_SECONDS = 5.0
"""Longest time for a connection to be made."""

CONNECTION_SECONDS = 60.0
"""A connection is used for this long. Behind one address there may be several replicas: a new one gets its share in this time."""


class NoReplyError(FvqError):
    """There was no whole answer. late: because the time was over."""

    def __init__(self, reason: str, late: bool = False) -> None:
        super().__init__(reason)
        self.late = late


@dataclass(frozen=True)
class Reply:
    """An answer. retry_after: seconds that the server asks to wait; None where it asks for nothing."""

    status: int
    body: bytes
    retry_after: float | None


class Address:
    """A base URL and the connection to it. For one thread at a time.

    No redirect is followed, which would send the token to another host, and no proxy of the environment is used.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # `parse_url` encodes what HTTP does not allow in a host or a path.
        self._parsed = parse_url(url)
        self._tls = ssl.create_default_context() if self._parsed.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self._connected = 0.0
        self._aborted = False

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str], seconds: float, most_bytes: int) -> Reply:
        """The answer to one request, with at most `most_bytes` of body, within `seconds` in all.

        Raises `NoReplyError`.
        """
        until = time.monotonic() + seconds
        try:
            try:
                return self._request(method, path, body, headers, until, most_bytes)
            except _StaleError:
                # The server closed the kept connection while nothing was asked. That is no failure.
                return self._request(method, path, body, headers, until, most_bytes)
        except NoReplyError:
            self.close()
            raise
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            if time.monotonic() >= until:
                raise NoReplyError(f"no answer within {seconds:g} s", late=True) from None
            words = (error.strerror or str(error)) if isinstance(error, OSError) else ""
            raise NoReplyError(f"{type(error).__name__}{f' ({words})' if words else ''}") from None

    def close(self) -> None:
        """Close the connection; the next request makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """End a request under way and make no other, from another thread."""
        self._aborted = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str], until: float, most_bytes: int) -> Reply:
        if time.monotonic() - self._connected > CONNECTION_SECONDS:
            self.close()
        kept = self._connection is not None
        connection = self._connection or self._connect(until)
        connection.sock.settimeout(max(0.001, until - time.monotonic()))
        with shut_down_at(connection.sock, until):
            try:
                answer = self._exchange(connection, method, path, body, headers)
            # SSLEOFError: what a connection error of https is, where it comes while the request is sent.
            except (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError) as error:
                self.close()
                if kept and time.monotonic() < until and not self._aborted:
                    raise _StaleError from error
                raise
            data = answer.read(most_bytes + 1)
            # An answer that the time cut off may look like a whole one.
            if time.monotonic() >= until:
                raise TimeoutError
            if len(data) > most_bytes:
                raise NoReplyError(f"the answer has more than {most_bytes} bytes")
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
        if answer.will_close or answer.status != http.client.OK:
            self.close()
        return Reply(answer.status, data, retry_after(answer.headers.get("Retry-After", "")))

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        # A server that refuses a request answers before it has read the whole body, and closes.
        with suppress(BrokenPipeError):
            connection.request(method, (self._parsed.path or "") + path, body=body or None, headers=dict(headers))
        return connection.getresponse()

    def _connect(self, until: float) -> http.client.HTTPConnection:
        seconds = max(0.001, min(CONNECT_SECONDS, until - time.monotonic()))
        host = (self._parsed.host or "").strip("[]")
        if self._tls is not None:
            self._connection = http.client.HTTPSConnection(host, self._parsed.port, context=self._tls)
        else:
            self._connection = http.client.HTTPConnection(host, self._parsed.port)
        connect(self._connection, seconds)
        self._connected = time.monotonic()
        return self._connection


class _StaleError(Exception):
    """A kept connection was closed by the server before it answered."""
