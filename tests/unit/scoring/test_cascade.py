"""The cascade in the pipeline: one answer for each segment, in order, whatever the large model does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from scorer.errors import ScorerError
from scorer.spec import ClipScore, ModelId, ModelInput, SamplerSpec
from streams.alerts.course import Courses
from streams.alerts.policy import load_policy
from streams.events import SegmentScore
from streams.letter import DeadLetter, Message
from streams.scoring import deep, deep_plan
from streams.scoring.answer import Answered, Sampled
from streams.scoring.batcher import Batcher
from streams.scoring.cascade import BATCHES_AHEAD, Cascade
from streams.scoring.deep import DeepScorer
from streams.scoring.deep_plan import DeepLimits, DeepPlan
from streams.scoring.glances import Tiers
from streams.scoring.pipeline import SegmentPipeline
from streams.scoring.tiers import TierLimits
from tests.support.doubles import SPEC, BrightnessScorer
from tests.support.segments import Media, message
from tests.support.waiting import wait_for
from tests.unit.scoring.test_glances import Seen, segment


@pytest.fixture(autouse=True)
def no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks only where the quality asks for them."""
    monkeypatch.setattr(deep_plan, "CONTROL_PART", 1e-6)


class Large(BrightnessScorer):
    """The large model: 10 points over the small one, on pictures of its own size. gate: its batches wait for it."""

    spec = replace(SPEC, frame_size=32)
    model = ModelId("large", "7")

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        self.gate.wait(300)
        assert all(clip.frames.shape[1] == self.spec.frame_size for clip in clips)
        return [replace(score, score=min(100.0, score.score + 10), model=self.model) for score in super().score(clips)]


@asynccontextmanager
async def opened(
    large: Large,
    media: Any,
    share: float = 1.0,
    seconds: float = 20.0,
    live_window: float | None = None,
    courses: Courses | None = None,
    tiers: Tiers | None = None,
) -> AsyncIterator[SegmentPipeline]:
    courses = courses or Courses(load_policy(None))
    cascade = Cascade(DeepScorer(large, seconds, 8), DeepPlan(DeepLimits(share)), courses, live_window)
    pipeline = SegmentPipeline(media, media, BrightnessScorer(), live_window=live_window, cascade=cascade, tiers=tiers)
    try:
        yield pipeline
    finally:
        large.gate.set()
        pipeline.close()


async def answer_all(pipeline: SegmentPipeline, messages: list[Message]) -> list[SegmentScore | DeadLetter]:
    answers = await pipeline.finish(await pipeline.score(await pipeline.sample(messages)))
    assert [answered.message for answered in answers] == messages
    return [answered.answer for answered in answers]


def segments(*lights: int) -> list[Message]:
    """Segments of as many streams, of these brightnesses. 50 has about 20 points, 200 about 78."""
    return [message(str(light), segment=f"s{place}", stream_id=f"s{place}") for place, light in enumerate(lights)]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def save_tokens(pipeline: SegmentPipeline) -> None:
    """Good segments, which need no look, fill the bucket."""
    await answer_all(pipeline, [message("200", stream_id=f"good-{place}") for place in range(6)])


async def test_a_low_segment_has_the_large_models_score_and_keeps_the_small_ones(tmp_path: Path) -> None:
    media = Media(tmp_path)
    async with opened(Large(), media) as pipeline:
        await save_tokens(pipeline)
        before = counted("fvq_tier_segments_total", tier="deep", reason="low")
        fetched = media.fetched
        low, good, broken = await answer_all(pipeline, [*segments(50, 200), message("broken")])
        assert isinstance(low, SegmentScore)
        assert isinstance(good, SegmentScore)
        assert isinstance(broken, DeadLetter)
        assert low.shallow is not None
        assert low.score == pytest.approx(low.shallow.score + 10, abs=0.5)
        assert (low.tier, low.tier_reason, str(low.model), str(low.shallow.model)) == (
            "deep", "low", "name='large' version='7'", "name='brightness' version='1'",
        )  # fmt: skip
        assert low.shallow.uncertainty == 5.0
        assert low.small_score == low.shallow.score
        assert low.timing["deep_ms"] > 0
        assert (good.tier, good.tier_reason, good.shallow, good.small_score) == ("full", None, None, good.score)
        assert SegmentScore.from_bytes(low.to_bytes()) == low
        assert media.fetched == fetched + 3, "its media was not fetched again"
        assert media.files() == 0
        assert counted("fvq_tier_segments_total", tier="deep", reason="low") == before + 1
        assert 0 < counted("fvq_deep_share") < 0.5


async def test_the_small_model_goes_on_while_the_large_one_works_and_the_order_is_kept(tmp_path: Path) -> None:
    large, media = Large(), Media(tmp_path)
    answers: list[SegmentScore | DeadLetter] = []
    async with opened(large, media) as pipeline:
        await save_tokens(pipeline)
        large.gate.clear()
        scored: list[int] = []

        async def score(sampled: list[Answered | Sampled]) -> list[Answered]:
            scored.append(len(sampled))
            return await pipeline.score(sampled)

        async def finish(messages: list[Message], answered: list[Answered]) -> None:
            finished = await pipeline.finish(answered)
            assert [answer.message for answer in finished] == messages
            answers.extend(answer.answer for answer in finished)

        batcher = Batcher(2, 2, pipeline.sample, pipeline.count_clips, score, finish, pipeline.batches_ahead)
        for place in range(10):
            await asyncio.wait_for(
                batcher.add([message("50" if place == 0 else "200", segment=str(place), stream_id=str(place))]), 20
            )
        assert answers == []
        assert sum(scored) >= 9, "the large model has answered nothing yet"
        large.gate.set()
        await asyncio.to_thread(wait_for, "10 answers", lambda: len(answers) == 10, 20, 0.005)
        batcher.close()
    assert [answer.segment_id for answer in answers if isinstance(answer, SegmentScore)] == [str(place) for place in range(10)]
    assert [answer.tier for answer in answers if isinstance(answer, SegmentScore)] == ["deep"] + ["full"] * 9
    assert pipeline.batches_ahead == BATCHES_AHEAD


async def test_a_large_model_that_hangs_or_fails_leaves_the_small_ones_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep, "FIRST_PAUSE", 60.0)
    large, media = Large(), Media(tmp_path)
    async with opened(large, media, seconds=0.2) as pipeline:
        await save_tokens(pipeline)
        large.gate.clear()
        before = counted("fvq_deep_unanswered_total", why="timeout")
        started = time.monotonic()
        (answer,) = await answer_all(pipeline, segments(50))
        assert time.monotonic() - started < 60, "the model itself answers after 300 s"
        assert isinstance(answer, SegmentScore)
        assert (answer.tier, answer.shallow, answer.model and answer.model.name) == ("full", None, "brightness")
        assert counted("fvq_deep_unanswered_total", why="timeout") == before + 1
        assert answer.timing["lag_s"] >= 0.2, "what it waited is in its lag"
        await answer_all(pipeline, segments(50))
        assert counted("fvq_deep_unanswered_total", why="timeout") == before + 1, "there is a pause: the next ones do not wait"
        assert media.files() == 0


async def test_a_deep_score_is_no_fallback_though_the_small_one_was(tmp_path: Path) -> None:
    async with opened(Large(), Media(tmp_path)) as pipeline:
        await save_tokens(pipeline)
        (small,) = await pipeline.score(await pipeline.sample(segments(50)))
        assert isinstance(small.answer, SegmentScore)
        (final,) = await pipeline.finish([replace(small, answer=small.answer.model_copy(update={"fallback": True}))])
        assert isinstance(final.answer, SegmentScore)
        assert (final.answer.tier, final.answer.fallback) == ("deep", False)


async def test_the_lag_of_a_segment_has_the_wait_for_all_looks_before_its_answer(tmp_path: Path) -> None:
    large = Large()
    async with opened(large, Media(tmp_path)) as pipeline:
        await save_tokens(pipeline)
        large.gate.clear()
        good, low, after = message("200", ago=1.0), message("50", stream_id="low"), message("200", ago=1.0, stream_id="after")
        batches = [await pipeline.score(await pipeline.sample(batch)) for batch in ([good, low], [after])]
        asyncio.get_running_loop().call_later(0.3, large.gate.set)
        answers = [answered.answer for batch in batches for answered in await pipeline.finish(batch)]
    lags = [answer.timing["lag_s"] for answer in answers if isinstance(answer, SegmentScore)]
    assert lags[0] >= 1.3
    assert lags[1] >= 0.3
    assert lags[2] >= 1.3
    assert counted("fvq_event_lag_last_seconds") == lags[2]


async def test_no_look_that_the_live_window_has_no_time_for(tmp_path: Path) -> None:
    async with opened(Large(), Media(tmp_path), seconds=1500, live_window=2000) as pipeline:
        await save_tokens(pipeline)
        waited, fresh = await answer_all(pipeline, [message("50", ago=600), message("50", ago=100, stream_id="t")])
        assert isinstance(waited, SegmentScore)
        assert isinstance(fresh, SegmentScore)
        assert (waited.tier, fresh.tier) == ("full", "deep")


async def test_a_clip_that_fits_both_models_is_not_sampled_again(tmp_path: Path) -> None:
    class AsSmall(Large):
        spec = SPEC

        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            return BrightnessScorer.score(self, clips)

    media = Media(tmp_path)
    async with opened(AsSmall(), media) as pipeline:
        await save_tokens(pipeline)
        sampled = len(media.durations)
        (answer,) = await answer_all(pipeline, segments(50))
        assert isinstance(answer, SegmentScore)
        assert answer.tier == "deep"
        assert len(media.durations) == sampled + 1


async def test_a_score_that_no_event_can_hold_is_not_taken(tmp_path: Path) -> None:
    class Wrong(Large):
        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            return [replace(score, uncertainty=float("nan")) for score in super().score(clips)]

    async with opened(Wrong(), Media(tmp_path)) as pipeline:
        await save_tokens(pipeline)
        (answer,) = await answer_all(pipeline, segments(50))
        assert isinstance(answer, SegmentScore)
        assert answer.tier == "full"


async def test_a_share_of_0_asks_for_nothing(tmp_path: Path) -> None:
    large = Large()
    async with opened(large, Media(tmp_path), share=0.0) as pipeline:
        answers = await answer_all(pipeline, segments(50, 50, 50))
    assert [answer.tier for answer in answers if isinstance(answer, SegmentScore)] == ["full"] * 3
    assert large.batches == []


async def test_an_end_in_the_middle_of_a_look_leaves_no_file(tmp_path: Path) -> None:
    large, media = Large(), Media(tmp_path)
    async with opened(large, media) as pipeline:
        await save_tokens(pipeline)
        large.gate.clear()
        await pipeline.score(await pipeline.sample(segments(50)))
        pipeline.close()
        assert media.files() == 0


async def test_a_look_that_ends_before_it_samples_leaves_no_file(tmp_path: Path) -> None:
    def away() -> None:
        raise ScorerError("no address answers", retry_after=1)

    media = Media(tmp_path)
    looks = DeepScorer(Large(), 20.0, 8, connect=away)
    cascade = Cascade(looks, DeepPlan(DeepLimits(1.0)), Courses(load_policy(None)), None)
    pipeline = SegmentPipeline(media, media, BrightnessScorer(), cascade=cascade)
    try:
        await save_tokens(pipeline)
        (answer,) = await answer_all(pipeline, segments(50))
        assert isinstance(answer, SegmentScore)
        assert (answer.tier, media.files()) == ("full", 0)
    finally:
        pipeline.close()


class Noted(Courses):
    """Courses that note which segments they were given. alert: the one segment of which they say that an alert is open."""

    def __init__(self, alert: str = "") -> None:
        super().__init__(load_policy(None))
        self.noted: list[str] = []
        self.alert = alert

    def __call__(self, score: SegmentScore, now: datetime) -> Any:
        self.noted.append(score.segment_id)
        return "alert" if score.segment_id == self.alert else "steady"


def tiers_for(media: Any) -> Tiers:
    return Tiers(media, Courses(load_policy(None)), lambda: BrightnessScorer.model, TierLimits())


async def test_segments_that_had_a_glance_count_for_the_share_and_get_no_look(tmp_path: Path) -> None:
    media = Seen(tmp_path)
    async with opened(Large(), media, share=0.2, tiers=tiers_for(media)) as pipeline:
        for number in range(30):
            (answer,) = await answer_all(pipeline, [segment(number, 150)])
            assert isinstance(answer, SegmentScore)
            assert answer.tier == ("full" if number < 2 else "glance")
        (low,) = await answer_all(pipeline, [segment(0, 50, stream="low")])
        assert isinstance(low, SegmentScore)
        assert (low.tier, low.tier_reason) == ("deep", "low")
        assert counted("fvq_deep_share") == pytest.approx(1 / 31)
        assert media.files() == 0


async def test_the_cascade_sees_all_scores_of_a_stream_in_their_order(tmp_path: Path) -> None:
    media, courses = Seen(tmp_path), Noted()
    async with opened(Large(), media, courses=courses, tiers=tiers_for(media)) as pipeline:
        await answer_all(pipeline, [segment(number, 150) for number in range(6)])
        await answer_all(pipeline, [segment(number, 150) for number in range(6, 12)])
        answers = await answer_all(pipeline, [segment(number, 150 if number < 15 else 60) for number in range(12, 18)])
    tiers = [answer.tier for answer in answers if isinstance(answer, SegmentScore)]
    assert tiers[:3] == ["glance"] * 3
    assert set(tiers[3:]) <= {"full", "deep"}
    assert courses.noted == [f"s/{number}" for number in range(18)]


@pytest.mark.parametrize(("spec", "samples"), [(Large.spec, 2), (SPEC, 1)], ids=["another", "the same"])
async def test_a_segment_whose_glance_was_not_enough_can_get_a_look(tmp_path: Path, spec: SamplerSpec, samples: int) -> None:
    media, large = Seen(tmp_path), Large()
    large.spec = spec
    async with opened(large, media, courses=Noted(alert="s/4"), tiers=tiers_for(media)) as pipeline:
        for number in range(3):
            await answer_all(pipeline, [segment(number, 150)])
        media.durations.clear()
        # The score of the first, which has changed, asks for a full look at the second: that has had its glance by then.
        changed, looked = await answer_all(pipeline, [segment(3, 120), segment(4, 120)])
        assert isinstance(changed, SegmentScore)
        assert isinstance(looked, SegmentScore)
        assert (changed.tier, looked.tier, looked.tier_reason) == ("full", "deep", "alert")
        assert len(media.durations) == 1 + samples, "once for the first, and for the second by each specification"
        assert media.files() == 0
