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
    """Connect within so many seconds, which the addresses of the server's name share, a second at least for each. `http.client`
    gives all to each: one that is dead would leave no time for the next. Raises OSError.
    """
    addresses = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    connection.timeout = min(seconds, max(1.0, seconds / len(addresses)))
    connection.connect()
    connection.sock.settimeout(seconds)


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
