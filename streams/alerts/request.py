"""One HTTP request to a receiver, and what its answer means.

No error and no log line holds an address or a token: they name a receiver by its name in the policy.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import time
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from urllib3.util import parse_url

from scorer.http_client import connect, retry_after, shut_down_at
from streams.alerts.receiver_settings import Receiver

REFUSING_STATUSES = {400, 413, 422}
"""Status codes that a repetition does not change. Others may pass: a wrong token, a wrong address, a server that is away."""

MAX_ANSWER_BYTES = 4096
"""A longer answer's body is not read. No body says more than the status, but a receiver shall be able to send a usual one."""

SIGNATURE_HEADER = "X-FVQ-Signature"
"""The header of signed requests: see `signature`."""


class RefusedError(Exception):
    """The receiver will never take this alert."""


class UnavailableError(Exception):
    """The receiver did not take the alert now. retry_after: seconds that it asked to wait, 0 for none."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Address:
    """A receiver's server. answered: its last status. Raises `SettingsError` where its address or a secret cannot be read."""

    def __init__(self, receiver: Receiver) -> None:
        # `parse_url` encodes what HTTP does not allow in a host or a path.
        self._url = parse_url(receiver.address())
        self._seconds = receiver.timeout
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        token = receiver.token()
        self._headers = {"Content-Type": "application/json", "User-Agent": "fvq"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif self._url.auth:
            # RFC 7617: the colon is also there without a password.
            auth = self._url.auth if ":" in self._url.auth else f"{self._url.auth}:"
            self._headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(auth)).decode()}"
        self._signing_secret = receiver.signing_secret()
        self.answered = "nothing"

    def request(self, method: str, path: str = "", body: bytes | None = None, most: int = MAX_ANSWER_BYTES) -> bytes:
        """Send a request; returns the answer's body, empty where it is longer than `most` bytes or breaks off.

        path: what follows the receiver's address. Raises `RefusedError` or `UnavailableError`; their text holds no address.
        """
        until, content = time.monotonic() + self._seconds, b""
        connection = self._connection()
        headers = self._headers | self._signed(body)
        try:
            connect(connection, self._seconds)
            with shut_down_at(connection.sock, until):
                # `http.client` follows no redirect, which would send the token to another host.
                connection.request(
                    method, (self._url.path or "").rstrip("/") + path if path else self._url.request_uri, body, headers
                )
                answer = connection.getresponse()
                # The phrase of the standard, not the server's own, which could hold anything.
                self.answered = f"{answer.status} {http.client.responses.get(answer.status, '')}".rstrip()
                if time.monotonic() >= until:
                    raise TimeoutError  # `http.client` takes headers that were cut for whole ones
                # A server that does not know the length sends pieces, as Go's does over 2 kB. Where the connection's end is the
                # body's, nobody knows whether it is whole.
                if answer.chunked or (answer.length is not None and answer.length <= most):
                    with suppress(OSError, http.client.HTTPException):
                        content = answer.read(most + 1) if answer.chunked else answer.read()
                content = content if len(content) <= most else b""
        except (http.client.HTTPException, OSError, ValueError) as error:
            late = time.monotonic() >= until
            raise UnavailableError(f"no answer within {self._seconds:g} s" if late else _words_of(error)) from None
        finally:
            connection.close()
        if answer.status in REFUSING_STATUSES:
            raise RefusedError(f"status {answer.status}")
        if not 200 <= answer.status < 300:
            raise UnavailableError(f"status {answer.status}", retry_after(answer.headers.get("Retry-After", "")) or 0.0)
        return content

    def _signed(self, body: bytes | None) -> dict[str, str]:
        """The header that proves who sent a body, where the receiver has a secret for it."""
        if self._signing_secret is None or body is None:
            return {}
        return {SIGNATURE_HEADER: signature(self._signing_secret, int(time.time()), body)}

    def _connection(self) -> http.client.HTTPConnection:
        """A connection for one request, not connected yet."""
        host = (self._url.host or "").strip("[]")
        if self._tls is not None:
            return http.client.HTTPSConnection(host, self._url.port, context=self._tls)
        return http.client.HTTPConnection(host, self._url.port)


def _words_of(error: Exception) -> str:
    """What failed, without the error's own text: that holds the address."""
    kinds = {
        socket.gaierror: "its host's name cannot be found",
        ConnectionRefusedError: "nothing listens at its address",
        ssl.SSLCertVerificationError: "its certificate is not trusted",
    }
    name = type(error).__name__
    return next((f"{words} ({name})" for kind, words in kinds.items() if isinstance(error, kind)), name)


def signature(secret: str, seconds: int, body: bytes) -> str:
    """`t=SECONDS,v1=DIGEST` of a body: the HMAC-SHA256 of the time since 1970, a dot and the body, in hexadecimal.

    With the time in it, a receiver can refuse a request that somebody has recorded and sends again later.
    """
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
