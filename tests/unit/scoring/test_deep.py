"""The large model's looks: each within its time, bounded in number, and none of their failures goes further than itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from scorer.errors import MediaError, ModelError, SpecChangedError
from scorer.spec import ClipScore, ModelInput, SampledClip, SamplerSpec
from streams.scoring import deep
from streams.scoring.deep import MOST_LOOKS, DeepScorer, Sample
from tests.support.doubles import SPEC, BrightnessScorer, make_clip
from tests.support.waiting import wait_for

WIDE = replace(SPEC, frame_size=32)


class Large(BrightnessScorer):
    """Stands for the large model, which takes larger pictures. Clips darker than 20 have no score.

    gate: a batch waits for it. broken: raises at every batch.
    """

    spec = WIDE

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        self.gate.wait(300)
        if self.broken:
            raise ConnectionError("no route")
        assert all(clip.frames.shape[1] == 32 for clip in clips)
        if any(clip.frames.mean() < 20 for clip in clips):
            raise ModelError("not a finite number")
        return super().score(clips)


def of(light: int) -> Sample:
    """Samples a segment of this brightness."""

    async def sample(spec: SamplerSpec) -> SampledClip:
        return make_clip(light, spec=spec)

    return sample


@asynccontextmanager
async def opened(scorer: Large, seconds: float = 20.0) -> AsyncIterator[DeepScorer]:
    looks = DeepScorer(scorer, seconds, 4)
    try:
        yield looks
    finally:
        scorer.gate.set()
        looks.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; the test fails after 60 s."""
    await asyncio.to_thread(wait_for, "the condition", condition, 60, 0.005)


async def test_looks_are_scored_together_by_the_large_models_own_sampling() -> None:
    large = Large()
    async with opened(large) as looks:
        large.gate.clear()
        first = looks.start(of(50))
        await until(lambda: bool(looks._running))
        rest = [looks.start(of(light)) for light in (100, 150, 200)]
        await until(lambda: len(looks._waiting) == 3)
        large.gate.set()
        scores = [await look for look in (first, *rest)]
    assert large.batches == [1, 3]
    assert [round(score.score.score / 10) for score in scores if score] == [2, 4, 6, 8]
    assert all(score.seconds > 0 for score in scores if score)


async def test_a_clip_without_a_score_costs_the_others_nothing() -> None:
    large = Large()
    async with opened(large) as looks:
        scores = await asyncio.gather(*(looks.start(of(light)) for light in (100, 0, 200)))
        assert [score is not None for score in scores] == [True, False, True]
        assert looks.room == MOST_LOOKS, "it is the segment's fault, not the model's"


async def test_a_segment_that_cannot_be_sampled_again_has_no_deep_score() -> None:
    async def broken(spec: SamplerSpec) -> SampledClip:
        raise MediaError("damaged", kind="undecodable")

    async with opened(Large()) as looks:
        assert await looks.start(broken) is None
        assert looks.room == MOST_LOOKS


async def test_a_model_that_hangs_delays_a_segment_by_its_time_only_and_gets_no_more() -> None:
    large = Large()
    async with opened(large, seconds=0.1) as looks:
        large.gate.clear()
        async with asyncio.timeout(60):
            assert [await look for look in [looks.start(of(100)) for _ in range(6)]] == [None] * 6
        assert looks.room == 0
        looks._open_at = 0.0
        assert looks.room == 0, "the pause is over, but its thread still hangs"
        assert looks._waiting == [], "and keeps no clip in memory but those of its batch"
        large.gate.set()
        await until(lambda: not looks._running)
        assert looks.room == 1, "one look tries it"
        looks.seconds = 60.0  # the model answers now, however busy the machine is
        assert await looks.start(of(100)) is not None
        assert looks.room == MOST_LOOKS


async def test_a_model_that_fails_is_left_alone_for_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(deep, "time", SimpleNamespace(monotonic=lambda: now[0]))
    large = Large()
    large.broken = True
    async with opened(large) as looks:
        assert looks.room == MOST_LOOKS
        assert await asyncio.gather(*(looks.start(of(100)) for _ in range(4))) == [None] * 4
        for pause in (1, 2, 4):
            now[0] += pause - 0.01
            assert looks.room == 0
            now[0] += 0.01
            assert looks.room == 1, "one look tries it"
            large.broken = pause < 4
            if large.broken:
                assert await looks.start(of(100)) is None
        assert await looks.start(of(100)) is not None
        assert looks.room == MOST_LOOKS


async def test_looks_are_bounded() -> None:
    large = Large()
    async with opened(large) as looks:
        large.gate.clear()
        started = [looks.start(of(100)) for _ in range(looks.room)]
        assert looks.room == 0
        large.gate.set()
        assert None not in await asyncio.gather(*started)
        assert looks.room == MOST_LOOKS


async def test_clips_by_another_specification_than_the_models_are_not_given_to_it() -> None:
    class Replaced(Large):
        """Takes another sampling from its second batch on, with pictures of the same size."""

        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            scores = super().score(clips)
            if len(self.batches) == 2:
                self.spec = replace(WIDE, searched="crops")
                raise SpecChangedError("another specification")
            return scores

    large = Replaced()
    async with opened(large) as looks:
        assert await looks.start(of(100)) is not None
        large.gate.clear()
        first = looks.start(of(50))
        await until(lambda: bool(looks._running))
        waiting = looks.start(of(100))
        await until(lambda: len(looks._waiting) == 1)
        large.gate.set()
        assert [await first, await waiting] == [None, None]
        assert large.batches == [1, 1], "a clip by the old sampling has no score by the new one"
        assert looks.room == MOST_LOOKS, "that is no failure of the model"
        assert await looks.start(of(100)) is not None
