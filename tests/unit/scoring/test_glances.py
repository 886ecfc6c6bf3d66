"""Glances in the pipeline: one answer for each segment, in order, and a glance's rests on a full look that may be rested on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Container, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError, ModelError
from scorer.sampling.glance import Glance
from scorer.spec import ClipScore, ModelId, SampledClip
from streams.alerts.course import Courses
from streams.alerts.policy import load_policy, parse_policy
from streams.events import SegmentEvent, SegmentScore
from streams.letter import DeadLetter, Message
from streams.media.fetch import LocalMedia
from streams.scoring.glances import Tiers
from streams.scoring.pipeline import SegmentPipeline
from streams.scoring.tiers import TierLimits
from tests.support.doubles import BrightnessScorer
from tests.support.glances import make_glance
from tests.support.segments import Media

BEGIN = datetime.now(UTC)


class Seen(Media):
    """Media whose glances differ by their brightness, which is the score too. glances: of files, by whether with a picture.
    heard: files whose sound a glance heard.

    slow: URIs whose fetch ends late: when `over` is set, or after `patience` seconds. unread: URIs that a glance cannot read.
    black: share of black pixels.
    """

    def __init__(self, inbox: Path | None = None) -> None:
        super().__init__(inbox)
        self.glances: list[tuple[str, bool]] = []
        self.heard: list[str] = []
        self.slow: set[str] = set()
        self.over, self.patience = asyncio.Event(), 0.05
        self.unread: set[str] = set()
        self.black = 0.0

    async def fetch_segment(self, segment: SegmentEvent) -> LocalMedia:
        if segment.segment_id in self.slow:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), self.patience)
        return await super().fetch_segment(segment)

    def glance(self, path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        self.glances.append((path.name, picture))
        self.heard += [path.name] * sound
        answer: Future[Glance] = Future()
        if path.name in self.unread or not path.name.isdigit():
            answer.set_exception(MediaError("no packets", kind="undecodable"))
            return answer
        away = (int(path.name) - 150) / 5
        seen = make_glance(packets=away, picture=away, black=self.black)
        seen = seen if picture else Glance(seen.bitstream, audio=seen.audio)
        answer.set_result(seen if sound else replace(seen, audio=None))
        return answer


def segment(sequence: int, light: int | str = 150, stream: str = "s", **changes: object) -> Message:
    """A segment's message; light is its brightness, or what happens to it (see `Media`)."""
    event = {
        "stream_id": stream, "segment_id": f"{stream}/{sequence}", "sequence": sequence, "uri": str(light),
        "start": (BEGIN + timedelta(seconds=2 * sequence)).isoformat(), "duration": 2,
    }  # fmt: skip
    return Message(stream.encode(), json.dumps(event | changes).encode(), "video-segments", 0, sequence)


@asynccontextmanager
async def pipeline_of(
    media: Seen,
    scorer: BrightnessScorer,
    limits: TierLimits | None = None,
    courses: Courses | None = None,
    shed: Container[int] = (),
    batch_size: int = 8,
) -> AsyncIterator[Any]:
    """What answers messages that come together, with glances. shed: numbers of segments for which there is too much to do."""
    double: Any = media
    tiers = Tiers(double, courses or Courses(load_policy(None)), lambda: scorer.model, limits or TierLimits())
    pipeline = SegmentPipeline(double, double, scorer, tiers=tiers, batch_size=batch_size)
    pipeline._freshness.shed = lambda event, _: "too much" if event.sequence in shed else None  # type: ignore[method-assign]

    async def answer(*messages: Message) -> list[SegmentScore | DeadLetter]:
        answered = await pipeline.finish(await pipeline.score(await pipeline.sample(messages)))
        assert [row.message for row in answered] == list(messages)
        return [row.answer for row in answered]

    try:
        yield answer
    finally:
        pipeline.close()


def tiers_of(answers: Sequence[Any]) -> list[tuple[str, str | None]]:
    return [(answer.tier, answer.tier_reason) for answer in answers]


async def one_by_one(answer: Any, messages: Sequence[Message]) -> list[Any]:
    return [(await answer(message))[0] for message in messages]


async def test_a_steady_stream_has_two_full_looks_and_then_glances_that_rest_on_the_second(tmp_path: Path) -> None:
    media, scorer = Seen(tmp_path), BrightnessScorer()
    async with pipeline_of(media, scorer) as answer:
        answers = await one_by_one(answer, [segment(number) for number in range(6)])
        assert media.files() == 0
    assert tiers_of(answers) == [("full", "start"), ("full", "again"), *[("glance", None)] * 4]
    assert scorer.batches == [1, 1]
    full, last = answers[1], answers[-1]
    assert {score.rests_on for score in answers[2:]} == {full.segment_id}
    assert (last.score, last.level, last.level_probs, last.model) == (full.score, full.level, full.level_probs, full.model)
    assert last.uncertainty > full.uncertainty
    assert (last.faces, last.signals) == (full.faces, full.signals)
    assert (full.audio.silent, full.audio.loudness) == (0.25, -23.0)
    assert (last.audio.silent, last.audio.loudness) == (0.5, None), "a glance hears the segment itself"
    assert last.fingerprint is None, "that is of a picture which nobody decoded"
    assert {"fetch_ms", "glance_ms", "lag_s"} == set(last.timing)
    assert media.glances[-1] == ("150", False)


async def test_no_sound_is_heard_twice() -> None:
    media = Seen()
    async with pipeline_of(media, BrightnessScorer(), TierLimits(seen=2)) as answer:
        answers = await one_by_one(answer, [segment(number) for number in range(7)])
    assert tiers_of(answers) == [("full", "start"), ("full", "again"), *[("glance", None)] * 5]
    assert len(media.heard) == 5, "each glance once, also where its keyframe was decoded after its packets"
    assert ("150", True) in media.glances[3:]
    assert [score.audio.silent for score in answers[2:]] == [0.5] * 5


async def test_full_looks_after_glances_are_scored_in_batches_too(tmp_path: Path) -> None:
    media, scorer = Seen(tmp_path), BrightnessScorer()
    async with pipeline_of(media, scorer, batch_size=4) as answer:
        # The score of each stream's first segment asks for a full look at the second, which has had its glance by then.
        answers = await answer(*(segment(number, stream=f"s{stream}") for number in range(2) for stream in range(6)))
        assert media.files() == 0
    assert tiers_of(answers) == [("full", "start")] * 6 + [("full", "again")] * 6
    assert scorer.batches == [6, 4, 2], "the first are as many as came together"


async def test_a_degraded_segment_gets_a_full_look_at_once_and_the_next_one_a_second() -> None:
    async with pipeline_of(Seen(), BrightnessScorer()) as answer:
        answers = await one_by_one(answer, [segment(n, 200) for n in range(5)] + [segment(n, 160) for n in range(5, 10)])
    assert tiers_of(answers)[5:7] == [("full", "changed"), ("full", "alert")]
    assert answers[5].score < answers[4].score - 10


@pytest.mark.parametrize("limits", [{"low_quality": {"threshold": 100}}, {"black": {"threshold": 0.4}}])
async def test_a_policy_that_is_read_again_during_glances_asks_for_full_looks(limits: dict[str, Any]) -> None:
    media, courses = Seen(), Courses(load_policy(None))
    media.black = 0.5
    async with pipeline_of(media, BrightnessScorer(), TierLimits(seen=1), courses) as answer:
        before = await one_by_one(answer, [segment(number) for number in range(5)])
        courses.use(parse_policy({"alerts": limits}))
        after = await one_by_one(answer, [segment(number) for number in range(5, 8)])
    assert tiers_of(before)[-1] == ("glance", None)
    assert tiers_of(after)[:2] == [("glance", None), ("full", "alert")]


async def test_a_low_score_is_never_rested_on() -> None:
    async with pipeline_of(Seen(), BrightnessScorer()) as answer:
        answers = await one_by_one(answer, [segment(number, 90) for number in range(12)])
    assert {score.tier for score in answers} == {"full"}
    assert answers[-1].tier_reason == "alert"


async def test_a_backlog_in_one_batch_is_answered_in_order_and_rests_on_nothing_that_is_not_scored() -> None:
    media, scorer = Seen(), BrightnessScorer()
    async with pipeline_of(media, scorer) as answer:
        first = await answer(*[segment(number) for number in range(6)])
        assert tiers_of(first) == [("full", "start"), *[("full", "again")] * 5], "the first score asks for another"
        second = await answer(*[segment(number) for number in range(6, 12)])
        third = await answer(*[segment(number, 150 if number < 15 else 220) for number in range(12, 18)])
    assert tiers_of(second) == [("full", "again"), *[("glance", None)] * 5]
    assert tiers_of(third)[:4] == [*[("glance", None)] * 3, ("full", "changed")]
    assert {tier for tier, _ in tiers_of(third)[4:]} == {"full"}
    assert {score.rests_on for score in second[1:]} == {"s/6"}


async def test_segments_are_planned_in_their_order_also_where_they_are_fetched_out_of_it() -> None:
    media = Seen()
    media.slow = {"s/4"}
    async with pipeline_of(media, BrightnessScorer()) as answer:
        await one_by_one(answer, [segment(number) for number in range(4)])
        answers = await answer(segment(4, 220), segment(5, 150), segment(6, 150))
    assert tiers_of(answers)[:2] == [("full", "changed"), ("full", "changed")], "each is held against the one before it"


@pytest.mark.parametrize("together", [1, 2, 3, 5])
@pytest.mark.parametrize("slow", [False, True])
async def test_segments_that_are_shed_while_those_before_them_are_sampled_are_no_gap(together: int, slow: bool) -> None:
    media, numbers = Seen(), range(6, 26)
    async with pipeline_of(media, BrightnessScorer(), shed=[number for number in numbers if number % 3]) as answer:
        await one_by_one(answer, [segment(number) for number in range(6)])
        media.slow = {f"s/{number}" for number in numbers[::6]} if slow else set()
        groups = [numbers[first : first + together] for first in range(0, len(numbers), together)]
        answers = [score for group in groups for score in await answer(*[segment(number) for number in group])]
    assert [score.status for score in answers] == ["skipped" if number % 3 else "scored" for number in numbers]
    assert {score.tier for score in answers[::3]} == {"glance"}


async def test_a_segment_that_is_shed_is_answered_before_those_that_came_before_it() -> None:
    media = Seen()
    async with pipeline_of(media, BrightnessScorer(), shed=[4]) as answer:
        await one_by_one(answer, [segment(number) for number in range(3)])
        media.slow, media.patience = {"s/3"}, 60.0
        slow = asyncio.create_task(answer(segment(3)))
        await asyncio.sleep(0)
        assert [score.status for score in await answer(segment(4))] == ["skipped"]
        assert not slow.done()
        media.over.set()
        await slow
        assert tiers_of(await answer(segment(5))) == [("glance", None)]


class Refusing(BrightnessScorer):
    """Refuses clips of one brightness."""

    refused = 90

    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        if any(abs(float(clip.frames.mean()) - self.refused) < 3 for clip in clips):
            raise ModelError("no score")
        return super().score(clips)


async def test_where_a_full_look_has_no_score_what_rests_on_it_is_looked_at_fully_and_the_stream_starts_anew() -> None:
    media, scorer = Seen(), Refusing()
    async with pipeline_of(media, scorer) as answer:
        await one_by_one(answer, [segment(number) for number in range(3)])
        scorer.refused = 200
        letter, refused_too = await answer(segment(3, 200), segment(4, 201))
        assert isinstance(letter, DeadLetter)
        assert isinstance(refused_too, DeadLetter), "its own full look has no score either"
        scorer.refused = 0
        after = await one_by_one(answer, [segment(5, 200), segment(6, 200), segment(7, 200)])
    assert tiers_of(after) == [("full", "start"), ("full", "again"), ("glance", None)]


async def test_a_file_that_a_glance_cannot_read_is_sampled_and_a_broken_one_is_a_dead_letter(tmp_path: Path) -> None:
    media = Seen(tmp_path)
    async with pipeline_of(media, BrightnessScorer()) as answer:
        await one_by_one(answer, [segment(number) for number in range(3)])
        media.unread = {"151"}
        unread = await one_by_one(answer, [segment(3, 151), segment(4)])
        letters = await one_by_one(answer, [segment(5, "broken"), segment(6, "gone")])
        after = await one_by_one(answer, [segment(7), segment(8)])
        assert media.files() == 0
    assert tiers_of(unread) == [("full", "unread"), ("full", "start")]
    assert [letter.headers["kind"] for letter in letters] == ["undecodable", "not-found"]
    assert tiers_of(after)[0] == ("full", "start")


async def test_a_child_that_cannot_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.retry.FIRST_PAUSE", 0.01, raising=False)
    media = Seen()
    failures = [MediaError("no child", kind="setup")]
    look = media.glance

    def glance(path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        if failures:
            answer: Future[Glance] = Future()
            answer.set_exception(failures.pop())
            return answer
        return look(path, picture, sound)

    monkeypatch.setattr(media, "glance", glance)
    async with pipeline_of(media, BrightnessScorer()) as answer:
        answers = await one_by_one(answer, [segment(0), segment(1), segment(2)])
    assert tiers_of(answers) == [("full", "start"), ("full", "again"), ("glance", None)]


async def test_repeats_gaps_and_another_model_get_full_looks() -> None:
    scorer = BrightnessScorer()
    async with pipeline_of(Seen(), scorer) as answer:
        await one_by_one(answer, [segment(number) for number in range(3)])
        repeat, follows, gap, _ = await one_by_one(answer, [segment(1), segment(3), segment(9), segment(10)])
        scorer.model = ModelId("brightness", "2")
        swapped, rests = await one_by_one(answer, [segment(11), segment(12)])
    assert (repeat.tier, repeat.tier_reason) == ("full", "repeat")
    assert follows.tier == "glance", "a repeat does not disturb its stream"
    assert gap.tier_reason == "gap"
    assert swapped.tier_reason == "model"
    assert rests.rests_on == swapped.segment_id


async def test_renditions_are_looked_at_by_themselves_and_a_due_full_look_comes() -> None:
    async with pipeline_of(Seen(), BrightnessScorer(), TierLimits(due=4)) as answer:
        high = await one_by_one(answer, [segment(number, rendition="720p") for number in range(8)])
        low = await one_by_one(answer, [segment(0, 120, rendition="360p")])
    assert [score.tier_reason for score in high] == ["start", "again", None, None, None, "due", None, None]
    assert low[0].tier_reason == "start"


async def test_the_memory_of_streams_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.scoring.glances.MOST_STREAMS", 3)
    async with pipeline_of(Seen(), BrightnessScorer()) as answer:
        for stream in "abcd":
            await one_by_one(answer, [segment(0, stream=stream), segment(1, stream=stream)])
        forgotten, known = await one_by_one(answer, [segment(2, stream="a"), segment(2, stream="d")])
    assert (forgotten.tier_reason, known.tier) == ("start", "glance")


async def test_a_glance_is_not_taken_for_a_black_or_a_frozen_segment() -> None:
    media = Seen()
    frozen = make_glance(other_bytes=100.0)
    black = replace(make_glance(packets=5.0), black=1.0)
    look = media.glance

    def glance(path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        answer: Future[Glance] = Future()
        special = {"149": frozen, "148": black}.get(path.name)
        if special is None:
            return look(path, picture, sound)
        answer.set_result(special if picture else Glance(special.bitstream))
        return answer

    media.glance = glance  # type: ignore[method-assign]
    async with pipeline_of(media, BrightnessScorer()) as answer:
        await one_by_one(answer, [segment(number) for number in range(3)])
        still, _, dark = await one_by_one(answer, [segment(3, 149), segment(4), segment(5, 148)])
    assert still.tier_reason == "frozen"
    assert dark.tier_reason == "black"
