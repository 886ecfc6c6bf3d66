"""What a worker answers at its pages' address while it still loads: that it is alive, and why it is not ready.

Only the standard library is needed, so the address answers before the libraries of Kafka and of the model are loaded, which takes
seconds on a busy machine. The server that follows takes the same socket over: no connection is refused in between.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

HEADER_SECONDS = 2.0
"""Time for a request's headers."""

HEADER_BYTES = 8192

MOST_CONNECTIONS = 100
"""Connections at once. One more is closed: those before it are over within `HEADER_SECONDS`."""

BACKLOG = 128
"""Connections that wait in the socket, also while one server hands over to the next."""


class StartingPages:
    """Listens, and answers until `hand_over`. Use it as a context manager, which closes a socket that nobody has taken over.

    host: an address or a name. port: 0 for a free one. Raises OSError where the address cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = _listening(host, port)
        self.port = int(self._socket.getsockname()[1])
        self._waits_for = "it loads its libraries"
        self._connections = 0
        self._taken = False
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="starting pages", daemon=True)
        self._thread.start()

    def say(self, waits_for: str) -> None:
        """Tell what is being done now: `/readyz` says it."""
        self._waits_for = waits_for

    def hand_over(self) -> socket.socket:
        """Stop answering; returns the listening socket, which is the caller's from now on."""
        self._taken = True
        self._stop()
        return self._socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._taken:
            self._stop()
            self._socket.close()

    def _stop(self) -> None:
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        # A server closes the socket that it is given, so it gets a copy.
        server = await asyncio.start_server(self._answer, sock=self._socket.dup(), limit=HEADER_BYTES)
        await self._ended.wait()
        server.close()  # and no wait for those who are connected: they are cut off with the loop's end

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(HEADER_SECONDS):
                    writer.write(self._page(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    def _page(self, request: bytes) -> bytes:
        """The answer to a request's headers."""
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        reason = f"the worker starts: {self._waits_for}"
        pages: dict[bytes, tuple[str, dict[str, object]]] = {
            b"/healthz": ("200 OK", {"status": "alive", "agents": {}}),
            b"/readyz": ("503 Service Unavailable", {"ready": False, "problems": [reason]}),
        }
        status, content = pages.get(path, ("503 Service Unavailable", {"status": reason}))
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + (b"" if method == b"HEAD" else body)


def _listening(host: str, port: int) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have several addresses, as localhost has: most clients try its IPv4 one.
    family, _, _, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.create_server(address, family=family, backlog=BACKLOG)
