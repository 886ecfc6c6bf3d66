"""A served scorer without a model: an engine whose batches a test holds and counts, and the real server around it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from scorer.errors import ModelError
from scorer.remote.app import make_app
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.replica import Limits, Replica
from scorer.remote.serve import listen, server_config
from scorer.remote.wire import MEDIA_TYPE
from scorer.spec import ClipScore, ModelId, ModelInput
from tests.support.doubles import BrightnessScorer


class HeldScorer(BrightnessScorer):
    """Scores by brightness when it is let go. A clip whose last statistic is 13 fails; with `broken` every clip fails.
    Without `memory` there is none for a clip whose last statistic is 12, and with `broken` for no clip.

    go: set at the start; a test that clears it holds the next batch. at_work: set as soon as a batch is held or scored.
    """

    def __init__(self, version: str = "1") -> None:
        super().__init__()
        self.model = ModelId("brightness", version)
        self.statistics = 20
        self.go = threading.Event()
        self.go.set()
        self.at_work = threading.Event()
        self.broken = False
        self.memory = True
        self.checks = 0

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        self.at_work.set()
        if not self.go.wait(20):
            raise TimeoutError("the test did not let the scorer go")
        if not self.memory and (self.broken or any(clip.statistics[-1] == 12 for clip in clips)):
            self.batches.append(-len(clips))
            raise MemoryError("there is no memory for a clip")
        if self.broken or any(clip.statistics[-1] == 13 for clip in clips):
            self.batches.append(-len(clips))
            raise ModelError("the model gave a score that is not a finite number")
        return super().score(clips)

    def check(self) -> None:
        self.checks += 1
        if self.broken:
            raise ModelError("the model gave a score that is not a finite number") from None if self.memory else MemoryError()


@dataclass
class HeldModel:
    """A model that follows nothing. loading: set where it is loaded at once; a test that clears it holds the loading."""

    engine: HeldScorer = field(default_factory=HeldScorer)
    follows: bool = False
    loading: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.loading.set()

    def load(self) -> HeldModel:
        self.loading.wait(20)
        if self.error is not None:
            raise self.error
        return self

    def refresh(self) -> bool:
        return False


@dataclass(frozen=True)
class Answer:
    """An answer of a server. json: its body, parsed."""

    status: int
    headers: Mapping[str, str]
    json: Any


@dataclass
class RunningServer:
    """A server in a thread of this process."""

    port: int
    replica: Replica
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own. headers: with `_` for `-`; an empty one is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {"Content-Type": MEDIA_TYPE} if body is not None else {}
        named |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        connection.request(method, path, body, {name: value for name, value in named.items() if value})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Answer(answer.status, dict(answer.headers), json.loads(text) if is_json else text.decode())

    def score(self, body: bytes, **headers: str) -> Answer:
        """One request to score."""
        return self.request("POST", "/v1/score", body, **headers)

    def metric(self, line: str) -> float:
        """A metric's value. line: its name, with labels as Prometheus writes them."""
        for text in self.request("GET", "/metrics").json.splitlines():
            name, _, value = text.rpartition(" ")
            if name == line:
                return float(value)
        raise KeyError(line)


@contextmanager
def running_server(
    model: Any,
    token: str | None = None,
    limits: Limits = Limits(),  # noqa: B008  (it is frozen)
    idle_connections: int = 64,
    check_seconds: float = 10.0,
    ready: bool = True,
    metrics: ReplicaMetrics | None = None,
    load: Callable[[], Any] | None = None,
) -> Iterator[RunningServer]:
    """The real server on a free port. ready: wait until `/healthz` says that it is. load: in place of the model's own."""
    listener = listen("127.0.0.1", 0)
    replica = Replica(load or model.load, limits, metrics or ReplicaMetrics(), check_seconds=check_seconds)
    server = uvicorn.Server(server_config(make_app(replica, token), idle_connections))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    running = RunningServer(listener.getsockname()[1], replica, server)
    try:
        until = time.monotonic() + 60
        while ready and running.request("GET", "/healthz").status != 200:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield running
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
