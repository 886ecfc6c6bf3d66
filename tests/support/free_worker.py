"""`fvq worker` with a sampler and a scorer that take no time: `python -m tests.support.free_worker`.

Everything else is the product's own code: the Faust app, fetching, the sinks, the stop. So a fault test spends its time on
faults and not on decoding. Environment variables:

    FVQ_TEST_SCORE_MS   milliseconds that the scorer takes for a batch (0)
    FVQ_TEST_STUCK      name of a media file whose sampling never ends
    FVQ_TEST_STATISTICS how many numbers a clip has, for a served scorer with a real model (20)
    FVQ_TEST_SINK       none: scores go to their topic only, to no sink
    FVQ_TEST_POOL       children: real sampling children, which answer every file with a clip of the usual size
    FVQ_TEST_REBALANCE  seconds that two steps of a rebalance take longer each, as on a machine with other work (0)
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scorer import find
from scorer.sampling import SamplerPool
from scorer.sampling.glance import PICTURE_NAMES, Glance
from scorer.spec import ClipScore, ModelId, SampledClip, SamplerSpec, Window
from streams.events import SegmentScore
from streams.sinks.base import Rejected, Sink
from tests.support.doubles import BITSTREAM, SPEC, free_windows

SCORE_SECONDS = float(os.environ.get("FVQ_TEST_SCORE_MS", "0")) / 1000
STUCK = os.environ.get("FVQ_TEST_STUCK", "")
STATISTICS = int(os.environ.get("FVQ_TEST_STATISTICS", "20"))
CHILDREN = os.environ.get("FVQ_TEST_POOL") == "children"
REBALANCE_SECONDS = float(os.environ.get("FVQ_TEST_REBALANCE", "0"))


OTHER_FORMAT = "other-format.ts"
"""A media file of this name is larger than all others for a glance: it gets a full look, and so does the segment after it."""


@cache
def free_glance() -> Glance:
    """What a glance at every other file sees."""
    return Glance(BITSTREAM, np.zeros(len(PICTURE_NAMES), np.float32), 0.0, np.full((72, 96, 3), 128, np.uint8))


class FreePool:
    """In place of `SamplerPool`: returns the same clip for every file, and never answers for the file `STUCK`."""

    workers = 1

    def __init__(self, *_: object) -> None:
        pass

    def waiting(self) -> int:
        return 0

    def submit(self, path: Path, spec: SamplerSpec = SPEC, **_: object) -> Future[list[tuple[Window, SampledClip]]]:
        future: Future[list[tuple[Window, SampledClip]]] = Future()
        if path.name != STUCK:
            future.set_result(free_windows(spec, STATISTICS))
        return future

    def glance(self, path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        future: Future[Glance] = Future()
        if path.name != STUCK:
            bitstream = replace(BITSTREAM, height=2 * BITSTREAM.height) if path.name == OTHER_FORMAT else BITSTREAM
            future.set_result(replace(free_glance(), bitstream=bitstream) if picture else Glance(bitstream))
        return future

    def close(self) -> None:
        pass


class FreeChildren(SamplerPool):
    """The real pool, whose children do not look at the file."""

    def submit(self, *_: object, spec: SamplerSpec | None = None, **__: object) -> Future[list[tuple[Window, SampledClip]]]:
        return self.submit_task(free_windows, spec or self._spec, STATISTICS)


class FreeScorer:
    """In place of `Engine`: returns the same score for every clip, after `SCORE_SECONDS` for a batch."""

    spec = SamplerSpec() if CHILDREN else SPEC
    model = ModelId("free", "1")
    answer = ClipScore(61.5, "good", {"good": 0.7, "fair": 0.3}, 4.0, model)

    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        time.sleep(SCORE_SECONDS)
        return [self.answer] * len(clips)


class NoSink(Sink):
    """A sink that stores nothing."""

    def add(self, score: SegmentScore) -> None:
        pass

    async def flush(self) -> list[Rejected]:
        return []

    async def check(self) -> str:
        return "none"


def free_engine() -> ModuleType:
    """In place of the module `scorer.load`, whose import may take seconds."""
    module: Any = ModuleType("scorer.load")
    module.LoadedModel = FreeScorer
    module.load_engine = lambda *_: FreeScorer()
    return module


def slow_rebalances(seconds: float) -> None:
    """Let a worker wait before it reads from its partitions, and before it looks for the place to begin at."""
    from faust.transport.conductor import Conductor

    from streams.scoring.app import ScoreConsumer

    def later(step: Any) -> Any:
        async def slow(self: Any) -> None:
            await asyncio.sleep(seconds)
            await step(self)

        return slow

    Conductor.maybe_wait_for_subscriptions = later(Conductor.maybe_wait_for_subscriptions)  # type: ignore[method-assign]
    ScoreConsumer.perform_seek = later(ScoreConsumer.perform_seek)  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.modules["scorer.load"] = free_engine()
    find.find_model = lambda *_: (Path(), FreeScorer.model)  # type: ignore[assignment]
    from streams import worker
    from streams.settings import load_settings
    from streams.worker_start import start_worker

    worker.SamplerPool = FreeChildren if CHILDREN else FreePool  # type: ignore[misc, assignment]
    if os.environ.get("FVQ_TEST_SINK") == "none":
        worker.parts.sink = lambda _: NoSink()
    if REBALANCE_SECONDS:
        slow_rebalances(REBALANCE_SECONDS)
    sys.exit(start_worker(load_settings()))
