"""What the blocking HTTP clients share: limits on connecting and on an exchange, and how long a server asks to be left alone."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def connect(connection: http.client.HTTPConnection, seconds: float) -> None:
    """Connect within so many seconds, or a second for each address of the server's name, where that is more: they share the time.
    `http.client` gives all of it to each, so one that is dead would leave none for the next. Raises OSError.
    """
    addresses = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    share = min(seconds, max(1.0, seconds / len(addresses)))

    def create(address: tuple[str, int], _timeout: float, source: tuple[str, int] | None) -> socket.socket:
        sock = socket.create_connection(address, share, source)
        sock.settimeout(seconds)  # TLS is spoken with one address only
        return sock

    connection._create_connection = create  # type: ignore[attr-defined]
    connection.connect()


@contextmanager
def shut_down_at(sock: socket.socket, until: float) -> Iterator[None]:
    """Shut the connection down at a time, monotonic seconds, if the block has not ended by then.

    A socket's own limit is for one read: a server that sends a byte now and then would hold the caller without end.
    """

    def shut_down() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def retry_after(header: str) -> float | None:
    """Seconds from now that a Retry-After header asks for, as a number or as a date; None where it is neither.

    The caller limits them: a wrong header may ask for years. RFC 9110, section 10.2.3.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
