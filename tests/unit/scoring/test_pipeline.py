"""The pipeline of the score agent, without Kafka: every message gets a score, a `skipped` or a dead letter."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import ModelError, ScorerError, SpecChangedError
from streams import retry
from streams.events import AudioSummary, BitstreamSummary, SegmentEvent, SegmentScore
from streams.letter import DeadLetter, Message, dead_letter
from streams.scoring.answer import Sampled
from streams.scoring.pipeline import SegmentPipeline
from tests.support.doubles import SPEC, BrightnessScorer
from tests.support.segments import Media, message


async def answers_of(
    messages: list[Message], scorer: BrightnessScorer | None = None, live_window: float | None = None
) -> list[SegmentScore | DeadLetter]:
    """What a new pipeline answers to these messages."""
    media: Any = Media()
    pipeline = SegmentPipeline(media, media, scorer or BrightnessScorer(), live_window=live_window)
    try:
        answered = await pipeline.score(await pipeline.sample(messages))
        assert [answer.message for answer in answered] == messages
        return [answer.answer for answer in answered]
    finally:
        pipeline.close()


async def test_segments_are_scored_in_one_batch_and_in_order() -> None:
    scorer = BrightnessScorer()
    answers = await answers_of([message(str(light), segment=str(light)) for light in (200, 50, 120)], scorer)
    assert [score.segment_id for score in answers if isinstance(score, SegmentScore)] == ["200", "50", "120"]
    bright, dark, medium = answers
    assert bright.score > medium.score > dark.score
    assert scorer.batches == [3]
    assert {"fetch_ms", "sample_ms", "score_ms", "lag_s"} == set(bright.timing)
    assert bright.model.name == "brightness"
    assert bright.bitstream == BitstreamSummary(codec="h264", width=64, height=48, fps=25, bitrate=100_000, qp_mean=24.5)
    measured = {"loudness": -23.0, "peak": -6.02, "silent": 0.25, "clipped": 0.0, "offset_ms": 21.3}
    assert bright.audio == AudioSummary(present=True, codec="aac", sample_rate=48_000, channels=2, **measured)


@pytest.mark.parametrize(
    ("sent", "kind", "reason"),
    [
        (message("gone"), "not-found", "not there"),
        (message("broken"), "undecodable", "damaged"),
        (message("bug"), "internal", "oops"),
        (Message(b"k", b"\xff not json"), "event", "JSON"),
        (Message(None, b""), "event", "empty"),
        (Message(b"k", b'{"stream_id": "s"}'), "event", "segment_id"),
        (message("1", start="0001-01-01T00:00:00+05:00"), "event", "start"),
        (message("1", sequence=2**63), "event", "sequence"),
        (message("1", stream_id="\ud800"), "event", "JSON"),
        (message("1", labels={"note": "x" * 600_000}), "event", "600"),
    ],
)
async def test_a_message_that_cannot_be_scored_becomes_a_dead_letter_with_its_bytes(
    sent: Message, kind: str, reason: str
) -> None:
    letter, good = await answers_of([sent, message("100")])
    assert isinstance(letter, DeadLetter)
    assert (letter.key, letter.value) == (sent.key, sent.value)
    assert letter.headers["kind"] == kind
    assert reason in letter.headers["reason"]
    assert isinstance(good, SegmentScore)


async def test_a_value_out_of_range_is_a_bug_report_and_no_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        (answer,) = await answers_of([message("out-of-range")])
    assert isinstance(answer, SegmentScore)
    assert answer.signals is not None
    assert answer.faces is not None
    assert (answer.signals.freeze, answer.signals.luma, answer.faces.area) == (0, 0, 1)
    assert "-0.02" in caplog.text
    assert "2.93" in caplog.text
    assert "bug" in caplog.text


async def test_the_sampler_knows_how_long_the_event_says_that_the_segment_lasts() -> None:
    media: Any = Media()
    pipeline = SegmentPipeline(media, media, BrightnessScorer())
    try:
        await pipeline.sample([message("100", duration=6.4)])
    finally:
        pipeline.close()
    assert media.durations == [6.4]


async def test_a_fetched_file_is_kept_until_its_segment_is_answered(tmp_path: Path) -> None:
    media: Any = Media(tmp_path)
    pipeline = SegmentPipeline(media, media, BrightnessScorer())
    sampled = await pipeline.sample([message("100"), message("broken"), message("200")])
    assert media.files() == 2, "the file of a segment that cannot be sampled is deleted at once"
    await pipeline.score(sampled)
    assert media.files() == 0
    pipeline.close()


async def test_a_fetched_file_is_deleted_where_no_answer_comes(tmp_path: Path) -> None:
    release = threading.Event()

    class HangingScorer(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            release.wait(20)
            return super().score(clips)

    media: Any = Media(tmp_path)
    pipeline = SegmentPipeline(media, media, HangingScorer())
    scoring = asyncio.create_task(pipeline.score(await pipeline.sample([message("100")])))
    sampling = asyncio.create_task(pipeline.sample([message("50"), message("slow")]))
    await pipeline.sample([message("200")])
    await asyncio.sleep(0.05)
    assert media.files() == 4
    for task in (scoring, sampling):
        task.cancel()
    await asyncio.gather(scoring, sampling, return_exceptions=True)
    assert media.files() == 2, "what was sampled already waits for the end of the pipeline"
    pipeline.close()
    release.set()
    assert media.files() == 0


async def test_a_segment_is_sampled_again_by_another_specification_without_a_second_fetch(tmp_path: Path) -> None:
    media: Any = Media(tmp_path)
    pipeline = SegmentPipeline(media, media, BrightnessScorer())
    (segment,) = await pipeline.sample([message("100")])
    assert isinstance(segment, Sampled)
    assert (segment.spec, segment.clip.frames.shape[1]) == (SPEC, SPEC.frame_size)
    other = replace(SPEC, frame_size=32)
    assert (await pipeline.sample_again(segment, other)).frames.shape[1] == 32
    assert (media.fetched, media.files()) == (1, 1)
    (answered,) = await pipeline.score([segment])
    assert answered.answer.status == "scored"
    assert media.files() == 0
    pipeline.close()


class ChangingScorer(BrightnessScorer):
    """Scores by brightness; takes clips by another specification when it is asked for the n-th time, n in `changes`."""

    def __init__(self, *changes: int) -> None:
        super().__init__()
        self.spec, self.asked, self.changes = SPEC, 0, changes

    def score(self, clips: Any) -> Any:
        self.asked += 1
        if self.asked in self.changes:
            self.spec = replace(self.spec, frame_size=self.spec.frame_size + 8)
            raise SpecChangedError("another one")
        assert {clip.frames.shape[1] for clip in clips} == {self.spec.frame_size}
        return super().score(clips)


async def test_a_batch_is_sampled_again_where_the_scorer_takes_another_specification(tmp_path: Path) -> None:
    scorer = ChangingScorer(1, 2)
    media: Any = Media(tmp_path)
    pipeline = SegmentPipeline(media, media, scorer)
    batch = await pipeline.sample([message("200"), message("gone"), message("50")])
    later = await pipeline.sample([message("100")])
    answers = [answered.answer for answered in await pipeline.score(batch)]
    assert answers[0].score > answers[2].score
    assert answers[1].headers["kind"] == "not-found"
    assert scorer.batches == [2], "each segment is scored once"
    assert len(media.durations) == 2 + 1 + 4
    await pipeline.score(later)
    assert len(media.durations) == 2 + 1 + 4 + 1, "what was sampled before the change is sampled again"
    await pipeline.score(await pipeline.sample([message("100")]))
    assert len(media.durations) == 2 + 1 + 4 + 1 + 1, "what comes later is sampled by it at once"
    assert (media.fetched, media.files()) == (5, 0)
    pipeline.close()


async def test_a_segment_that_cannot_be_sampled_again_is_a_dead_letter_and_its_batch_is_scored(tmp_path: Path) -> None:
    media: Any = Media(tmp_path)
    pipeline = SegmentPipeline(media, media, ChangingScorer(1))
    batch = await pipeline.sample([message("200"), message("50")])
    media.broken = "50"
    first, second = [answered.answer for answered in await pipeline.score(batch)]
    assert first.status == "scored"
    assert (second.headers["kind"], second.headers["reason"]) == ("undecodable", "damaged")
    assert media.files() == 0
    pipeline.close()


async def test_a_served_scorer_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise ScorerError("enough to do", retry_after=0.05)
            return super().score(clips)

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=sleep))
    (score,) = await asyncio.wait_for(answers_of([message("100")], Busy(failures=4)), 60)
    assert score.status == "scored"
    assert waits == [0.05] * 4, "not twice as long each time: the scorer itself does that"


async def test_a_score_says_that_the_fallback_made_it() -> None:
    class Fallback(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            return [replace(score, fallback=True) for score in super().score(clips)]

    (score,) = await answers_of([message("100")], Fallback())
    assert json.loads(score.to_bytes())["fallback"] is True
    (score,) = await answers_of([message("100")])
    assert json.loads(score.to_bytes())["fallback"] is False


async def test_a_dead_letter_names_topic_partition_offset_and_segment() -> None:
    (letter,) = await answers_of([message("gone")])
    assert {name: letter.headers[name] for name in ("topic", "partition", "offset", "segment_id")} == {
        "topic": "video-segments", "partition": "3", "offset": "42", "segment_id": "s/1",
    }  # fmt: skip


async def test_a_late_segment_is_skipped_with_a_live_window_and_scored_without_one() -> None:
    late, fresh = message("100", ago=100), message("100")
    first, second = await answers_of([late, fresh], live_window=60)
    assert (first.status, second.status) == ("skipped", "scored")
    assert "live window of 60 s" in first.reason
    assert first.score is None
    (scored,) = await answers_of([late], live_window=None)
    assert scored.status == "scored"


async def test_a_queue_that_is_too_long_costs_ordinary_segments_before_those_with_priority() -> None:
    # In hours, so that a machine that stops for seconds does not bring them nearer to the window's end.
    queued = [message("100", ago=4500, segment=f"s/{number}") for number in range(20)]
    urgent = [message("100", ago=4500, segment=f"u/{number}", stream_id="u", labels={"priority": "high"}) for number in range(20)]

    answers = await answers_of(queued + urgent, live_window=6000)

    scored = [isinstance(answer, SegmentScore) and answer.status == "scored" for answer in answers]
    assert 2 <= sum(scored[:20]) <= 8
    assert all(scored[20:])
    skipped = next(answer for answer in answers if isinstance(answer, SegmentScore) and answer.status == "skipped")
    assert skipped.reason is not None
    assert "the workers cannot keep up" in skipped.reason


async def test_a_stream_whose_clock_is_behind_is_not_taken_for_a_long_queue() -> None:
    behind = [replace(message("100", ago=45), sent=time.time() - 1) for _ in range(20)]

    answers = await answers_of(behind, live_window=60)

    assert all(isinstance(answer, SegmentScore) and answer.status == "scored" for answer in answers)


async def test_a_scorer_that_fails_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    (score,) = await asyncio.wait_for(answers_of([message("100")], BrightnessScorer(failures=3)), 60)
    assert score.status == "scored"


async def test_a_segment_is_sampled_again_where_no_child_process_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    (score,) = await asyncio.wait_for(answers_of([message("unlucky")]), 60)
    assert score.status == "scored"


async def test_a_clip_that_the_model_refuses_is_a_dead_letter_and_its_batch_is_scored() -> None:
    class RefusesBright(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            if any(clip.frames.mean() > 190 for clip in clips):
                raise ModelError("no number")
            return super().score(clips)

    scorer = RefusesBright()
    first, second, third = await asyncio.wait_for(answers_of([message("100"), message("200"), message("50")], scorer), 5)
    assert scorer.batches == [1, 1], "the batch is halved until the clip is found"
    assert (first.status, third.status) == ("scored", "scored")
    assert isinstance(second, DeadLetter)
    assert (second.headers["kind"], second.headers["reason"]) == ("model", "no number")


@pytest.mark.parametrize("value", [float("nan"), -1.0])
async def test_an_invalid_score_of_the_model_is_a_dead_letter_and_its_batch_is_scored(value: float) -> None:
    class InvalidForBright(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            return [replace(score, uncertainty=value) if score.score > 50 else score for score in super().score(clips)]

    invalid, valid = await answers_of([message("200"), message("50")], InvalidForBright())
    assert isinstance(invalid, DeadLetter)
    assert invalid.headers["kind"] == "internal"
    assert valid.status == "scored"


async def test_a_scorer_that_returns_too_few_scores_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class TooFewAtFirst(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            return super().score(clips)[len(self.batches) == 1 :]

    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    scores = await asyncio.wait_for(answers_of([message("100"), message("50")], TooFewAtFirst()), 5)
    assert [score.status for score in scores] == ["scored", "scored"]


def test_a_dead_letter_of_a_huge_message_fits_into_one_message() -> None:
    letter = dead_letter(Message(b"k" * 10**6, b"v" * 2 * 10**6), kind="event", reason="r" * 10**6)
    size = len(letter.key or b"") + len(letter.value) + sum(map(len, letter.headers.values()))
    assert size < 2**20
    assert letter.headers["truncated"] == "2000000"


times = st.datetimes().map(datetime.isoformat) | st.sampled_from(["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-14:00"])
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | times,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
any_fields = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*SegmentEvent.model_fields, "unknown"), any_json) | {"start": times | any_json}
)

GOOD = {"stream_id": "s", "segment_id": "s/1", "sequence": 1, "uri": "1", "start": "2026-01-31T20:15:04Z", "duration": 2.0}


@given(st.binary(max_size=100) | any_fields.map(lambda changes: json.dumps(GOOD | changes).encode()))
def test_every_message_is_answered(value: bytes) -> None:
    """No message may make the agent raise: Faust would lose the message, and stop."""
    for live_window in (None, 60.0):
        answer, other = asyncio.run(answers_of([Message(b"k", value), message("100")], live_window=live_window))
        if isinstance(answer, DeadLetter):
            assert (answer.key, answer.value) == (b"k", value)
            assert answer.headers["kind"] != "internal"
        else:
            assert SegmentScore.from_bytes(answer.to_bytes()) == answer
        assert isinstance(other, SegmentScore)


async def test_the_time_of_a_hanging_scorer_call_is_reported_until_it_ends() -> None:
    at_work, release = threading.Event(), threading.Event()

    class HangingScorer(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            at_work.set()
            release.wait(20)
            return super().score(clips)

    media: Any = Media()
    pipeline = SegmentPipeline(media, media, HangingScorer())
    sampled = await pipeline.sample([message("100")])
    assert pipeline.scoring_seconds() == 0
    scoring = asyncio.create_task(pipeline.score(sampled))
    assert await asyncio.to_thread(at_work.wait, 20)
    await asyncio.sleep(0.2)
    assert pipeline.scoring_seconds() >= 0.1
    release.set()
    await scoring
    assert pipeline.scoring_seconds() == 0
    pipeline.close()
