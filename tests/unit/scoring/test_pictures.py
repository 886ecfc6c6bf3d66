"""Which segments get a picture, and that a picture never holds a score back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling.preview import FacesInPreviews
from scorer.spec import Preview, SampledClip
from streams import metrics
from streams.events import PICTURES_TOPIC, SegmentEvent, SegmentScore, Signals
from streams.pictures import StreamPicture
from streams.scoring.pictures import MOST_UNDER_WAY, PictureLimits, PicturePlan, Pictures, PictureSender
from streams.scoring.pipeline import SegmentPipeline
from tests.support.doubles import BrightnessScorer
from tests.support.segments import Media, message
from tests.support.sinks import make_score

PREVIEW = Preview(b"\xff\xd8\xff", 160, 90)


def segment(stream_id: str = "s", **changes: Any) -> SegmentEvent:
    fields = {
        "stream_id": stream_id,
        "segment_id": "1",
        "sequence": 1,
        "uri": "file:///a",
        "start": datetime.now(UTC),
        "duration": 2,
    }
    return SegmentEvent(**(fields | changes))


def scored(value: float, black: float = 0.0, freeze: float = 0.0, **changes: Any) -> SegmentScore:
    signals = Signals(black=black, freeze=freeze, blur=0, blockiness=0, noise=0, luma=100, contrast=40)
    return make_score(score=value, signals=signals, **changes)


def outcomes() -> Counter[str]:
    return Counter({outcome: metrics.PICTURES.labels(outcome)._value.get() for outcome in ("sent", "failed", "left-out")})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=200))
def test_a_stream_has_one_picture_in_its_time_at_most_and_never_waits_longer(segments: list[tuple[str, float]]) -> None:
    plan, now, last = PicturePlan(10.0), 0.0, {}
    for stream, pause in segments:
        now += pause
        due = plan.is_due(segment(stream), now)
        assert due == (stream not in last or now - last[stream] >= 10.0)
        if due:
            last[stream] = now


def changes(*scores: SegmentScore) -> list[bool]:
    plan = PicturePlan(10.0)
    return [plan.has_changed(score) for score in scores]


def test_each_change_of_state_is_seen_once() -> None:
    course = [scored(90), scored(39), scored(30), scored(47), scored(48), scored(41), scored(90, black=1.0), scored(5, black=1.0)]
    assert changes(*course) == [False, True, False, False, True, False, True, False]
    assert changes(scored(60), scored(60, freeze=0.95), scored(60, freeze=1.0), scored(60)) == [False, True, False, True]


def test_renditions_change_each_for_itself() -> None:
    course = [
        scored(90, rendition="720p"),
        scored(20, rendition="360p"),
        scored(90, rendition="720p"),
        scored(90, rendition="360p"),
    ]
    assert changes(*course) == [False, False, False, True]


def test_a_stream_of_which_nothing_is_stored_has_no_picture() -> None:
    plan, labels = PicturePlan(10.0), {"store": "no"}
    assert not plan.is_due(segment(labels=labels), 0.0)
    assert not plan.has_changed(scored(90, labels=labels))
    assert not plan.has_changed(scored(10, labels=labels))
    assert plan.is_due(segment(labels={"store": "yes"}), 0.0)


class Shown(list[StreamPicture]):
    """Keeps the pictures that a pipeline sends."""


async def run(media: Any, pictures: Pictures | None, lights: list[int], **event: Any) -> list[SegmentScore]:
    """Send segments of these brightnesses through a pipeline, one after the other; returns their scores."""
    pipeline = SegmentPipeline(media, media, BrightnessScorer(), pictures=pictures)
    try:
        scores = []
        for number, light in enumerate(lights):
            sampled = await pipeline.sample([message(str(light), segment=f"s/{number}", **event)])
            scores += [answered.answer for answered in await pipeline.score(sampled)]
        if pictures is not None and pictures._making is not None:
            await pictures._making
        return scores
    finally:
        pipeline.close()


async def test_pictures_are_made_when_they_are_due_and_at_each_change(tmp_path: Path) -> None:
    media, shown = Media(tmp_path), Shown()
    scores = await run(media, Pictures(PictureLimits(3600.0), shown.append), [200, 200, 50, 50, 200], rendition="720p")
    assert [(picture.segment_id, picture.kind) for picture in shown] == [
        ("s/0", "routine"),
        ("s/2", "changed"),
        ("s/4", "changed"),
    ]
    assert media.previews == 3, "no other segment has the work"
    assert [picture.score for picture in shown] == [scores[number].score for number in (0, 2, 4)]
    assert {(picture.stream_id, picture.rendition, picture.width) for picture in shown} == {("s", "720p", 160)}
    assert media.files() == 0


async def test_a_due_picture_of_a_change_is_made_once(tmp_path: Path) -> None:
    media, shown = Media(tmp_path), Shown()
    await run(media, Pictures(PictureLimits(0.0), shown.append), [200, 50])
    assert [picture.kind for picture in shown] == ["routine", "changed"]
    assert media.previews == 2


async def test_without_pictures_none_is_asked_for(tmp_path: Path) -> None:
    media = Media(tmp_path)
    assert len(await run(media, None, [200, 50])) == 2
    await run(media, Pictures(PictureLimits(0.0), Shown().append), [200, 50], labels={"store": "no"})
    assert media.previews == 0


async def test_a_change_whose_picture_cannot_be_made_has_its_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media, shown, before = Media(tmp_path), Shown(), outcomes()
    submit = media.submit

    def no_second_time(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if keywords["preview"] and path.name == "50":
            path = path.with_name("broken")
            path.touch()
        return submit(path, *arguments, **keywords)

    monkeypatch.setattr(media, "submit", no_second_time)
    scores = await run(media, Pictures(PictureLimits(3600.0), shown.append), [200, 50, 200])
    assert [score.status for score in scores] == ["scored"] * 3
    assert [picture.segment_id for picture in shown] == ["s/0", "s/2"]
    assert outcomes() - before == Counter({"failed": 1})


async def test_when_all_streams_change_at_once_few_are_sampled_again(tmp_path: Path) -> None:
    media, shown, before = Media(tmp_path), Shown(), outcomes()
    pictures = Pictures(PictureLimits(3600.0), shown.append)
    pipeline = SegmentPipeline(media, media, BrightnessScorer(), pictures=pictures)  # type: ignore[arg-type]
    for light in (200, 50):
        batch = [message(str(light), segment=f"{light}/{number}", stream_id=f"s{number}") for number in range(5)]
        answers = await pipeline.score(await pipeline.sample(batch))
        assert len(answers) == 5
    assert pictures._making is not None
    await pictures._making
    pipeline.close()
    assert [picture.kind for picture in shown] == ["routine"] * 5 + ["changed"]
    assert outcomes() - before == Counter({"left-out": 4})
    assert media.files() == 0


class Producer:
    """Stands for Faust's producer. error: what each send raises. held: acknowledgements do not come."""

    def __init__(self, error: Exception | None = None, held: bool = False) -> None:
        self.error, self.held = error, held
        self.messages: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []

    async def send(
        self, topic: str, key: bytes, value: bytes, *, partition: None, timestamp: None, headers: dict[str, bytes]
    ) -> Any:
        if self.error:
            raise self.error
        self.messages.append((topic, key, value, headers))
        acknowledgement: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.held:
            acknowledgement.set_result(None)
        return acknowledgement


async def no_sampler(_: FacesInPreviews) -> SampledClip:
    raise AssertionError("the segment has a picture")


def show_all(sender: PictureSender, count: int) -> None:
    pictures = Pictures(PictureLimits(10.0), sender.send)
    for number in range(count):
        pictures.take(scored(50, segment_id=f"s/{number}"), PREVIEW, no_sampler)


async def test_a_picture_is_sent_with_its_stream_as_key() -> None:
    producer, before = Producer(), outcomes()
    show_all(PictureSender(producer, PICTURES_TOPIC), 1)
    await asyncio.sleep(0.01)
    ((topic, key, value, headers),) = producer.messages
    assert (topic, key, value) == (PICTURES_TOPIC, b"s", PREVIEW.jpeg)
    assert StreamPicture.from_message(key, value, list(headers.items())).score == 50.0
    assert outcomes() - before == Counter({"sent": 1})


async def test_a_broker_that_refuses_pictures_is_counted_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    before = outcomes()
    show_all(PictureSender(Producer(error=OSError("no leader")), PICTURES_TOPIC), 5)
    await asyncio.sleep(0.01)
    assert outcomes() - before == Counter({"failed": 5})
    assert caplog.text.count("pictures cannot be sent to stream-pictures: OSError: no leader") == 1


async def test_pictures_that_nobody_takes_do_not_pile_up() -> None:
    producer, before = Producer(held=True), outcomes()
    sender = PictureSender(producer, PICTURES_TOPIC)
    show_all(sender, MOST_UNDER_WAY + 7)
    await asyncio.sleep(0.01)
    assert len(producer.messages) == MOST_UNDER_WAY
    assert outcomes() - before == Counter({"left-out": 7})
    for task in sender._under_way:
        task.cancel()
