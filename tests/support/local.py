"""Doubles for tests of `fvq score`."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from scorer.sampling.facts import VideoFacts
from scorer.spec import Window
from tests.support.doubles import make_clip


class FilePool:
    """In place of `SamplerPool`: samples a file that has this number of windows, and keeps the start of each task.

    promise: seconds that the file's header states.
    """

    workers = 2

    def __init__(self, windows: int, promise: float = 0.0) -> None:
        self.windows = windows
        self.promise = promise
        self.starts: list[float] = []

    def probe(self, _: Path) -> Future[Any]:
        facts: Future[Any] = Future()
        facts.set_result(VideoFacts(640, 360, "h264", self.promise))
        return facts

    def submit(self, path: Path, window_seconds: float, start: float, limit: int) -> Future[Any]:
        self.starts.append(start)
        first = round(start / window_seconds)
        answer: Future[Any] = Future()
        answer.set_result(
            [(Window(i * 2.0, 2.0), make_clip(10 + i % 200)) for i in range(first, min(first + limit, self.windows))]
        )
        return answer
