"""HTTP connections with limits that uvicorn's own do not have: time and size of the headers, and their number.

A connection without a request in work costs little, but somebody may open thousands, or send a byte a minute. So each has a time
for its headers, and where there are too many, the one that has been idle longest makes room: `/healthz` is always answered.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""Time in which the headers of a connection's first request must have come."""

IDLE_SECONDS = 75.0
"""Time in which the rest of a refused body, and the headers of a connection's next request, must have come."""

HEADER_BYTES = 64 << 10
"""Most bytes of headers, as far as they come in several pieces."""

_order = count()


def bounded_protocol(most: int) -> type[HttpToolsProtocol]:
    """A class of connections, of which at most so many are idle at once."""

    class Bounded(BoundedProtocol):
        most_idle = most

    return Bounded


class BoundedProtocol(HttpToolsProtocol):
    """One connection of uvicorn's server. most_idle: how many may be without a request in work."""

    most_idle = 256

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._header_bytes: int | None = 0
        self.idle_order = 0
        """Connections that became idle later have higher numbers."""

    @property
    def idle(self) -> bool:
        """Whether it is open and no request is in work."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn has it so
        super().connection_made(transport)
        self._arm(HEADER_SECONDS)
        idle = [other for other in self.connections if isinstance(other, BoundedProtocol) and other.idle]
        if len(idle) > self.most_idle:
            min(idle, key=lambda other: other.idle_order).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._header_bytes is not None:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._header_bytes = None
        self._disarm()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.idle:
            self._arm(IDLE_SECONDS)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self.idle_order = next(_order)
        self._timer = self.loop.call_later(seconds, self._end)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self.idle:
            self.transport.abort()
