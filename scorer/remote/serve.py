"""The served scorer on uvicorn: one process, one model."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from scorer.errors import FvqError, ModelError
from scorer.remote.app import make_app
from scorer.remote.connections import IDLE_SECONDS, bounded_protocol
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.replica import FollowedModel, Limits, Replica

DRAIN_SECONDS = 20
"""Time for the requests in work after SIGTERM or SIGINT."""

EXIT_SECONDS = 5.0
"""Time for the rest of the process after that. A scoring thread that hangs cannot be stopped: then the exit code is 1."""

IDLE_CONNECTIONS = 512


class ListenError(FvqError):
    """The address cannot be listened on."""


class _Server(uvicorn.Server):
    """A server whose process ends with code 0 after SIGTERM or SIGINT. uvicorn raises the signal again when it has stopped.

    stopping: is called with the signal, and with the seconds in which the process ends.
    """

    def __init__(self, config: uvicorn.Config, stopping: Callable[[int, float], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._stopping(sig, DRAIN_SECONDS)
            timer = threading.Timer(DRAIN_SECONDS + EXIT_SECONDS, os._exit, (1,))
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)


def serve(
    load: Callable[[ReplicaMetrics], FollowedModel],
    host: str,
    port: int,
    token: str | None,
    limits: Limits,
    listening: Callable[[str, int], None],
    stopping: Callable[[int, float], None] = lambda *_: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is in work.

    load: loads the model, in a thread; it may tell the metrics of its versions. host, port: to listen on; port 0 takes a free
    one. token: what clients must send; None lets everybody in. listening: called with the host and the port as soon as clients
    can connect. stopping: called with the signal that stops it, and with the seconds in which that is done. Raises `ListenError`,
    and `ModelError` where the model cannot be loaded.
    """
    try:
        listener = listen(host, port)
    except OSError as error:
        # `create_server` adds the address to the words of the error.
        words = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise ListenError(f"cannot listen on {f'[{host}]' if ':' in host else host}:{port}: {words}") from error
    with listener:
        metrics = ReplicaMetrics()
        failures: list[Exception] = []

        def stop(error: Exception) -> None:
            failures.append(error)
            server.should_exit = True

        replica = Replica(lambda: load(metrics), limits, metrics, stop)
        server = _Server(server_config(make_app(replica, token)), stopping)
        listening(host, listener.getsockname()[1])
        server.run([listener])
    for failure in failures:
        if isinstance(failure, FvqError | ImportError):
            raise failure
        raise ModelError(f"the model cannot be loaded: {failure}") from failure


def server_config(app: Starlette, idle_connections: int = IDLE_CONNECTIONS) -> uvicorn.Config:
    """How uvicorn runs the application. idle_connections: the most connections without a request in work."""
    return uvicorn.Config(
        app,
        http=bounded_protocol(idle_connections),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(IDLE_SECONDS) + 1,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on this address. Raises OSError where that is not possible."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=1024)
