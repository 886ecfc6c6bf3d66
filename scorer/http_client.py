"""What the blocking HTTP clients share: a limit on a whole exchange, and how long a server asks to be left alone."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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
    """The seconds of a Retry-After header; None for a date or anything else."""
    return float(header) if re.fullmatch(r"\d{1,6}", header, re.ASCII) else None
