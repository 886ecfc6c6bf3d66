"""The score agent's steps, without Kafka."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError, ModelError
from streams import score as score_module
from streams.events import SegmentScore
from streams.media import LocalMedia
from streams.score import DeadLetter, Message, SegmentPipeline
from streams.settings import Settings
from tests.doubles import BrightnessScorer, make_clip


class Media:
    """A fetcher and a pool in one: answers by what the URI says."""

    setups = 2

    async def fetch(self, uri: str, init_uri: str | None = None) -> LocalMedia:
        if uri == "gone":
            raise MediaError("not there", kind="not-found")
        return LocalMedia(Path(uri), temporary=False)

    def submit(self, path: Path, **_: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        if path.name == "broken":
            answer.set_exception(MediaError("damaged", kind="undecodable"))
        elif path.name == "unlucky" and self.setups:
            self.setups -= 1
            answer.set_exception(MediaError("no child can start", kind="setup"))
        elif path.name == "bug":
            answer.set_exception(KeyError("oops"))
        else:
            answer.set_result([(None, make_clip(100 if path.name == "unlucky" else int(path.name)))])
        return answer


def message(uri: str, ago: float = 0.0, segment: str = "s/1") -> Message:
    start = datetime.now(UTC) - timedelta(seconds=ago + 2)
    event = {"stream_id": "s", "segment_id": segment, "sequence": 1, "uri": uri, "start": start.isoformat(), "duration": 2}
    return Message(b"s", json.dumps(event).encode(), "video-segments", 3, 42)


async def answers(
    messages: list[Message], scorer: BrightnessScorer | None = None, **settings: Any
) -> list[SegmentScore | DeadLetter]:
    media: Any = Media()
    # The messages of a parametrised test are made long before it runs.
    pipeline = SegmentPipeline(Settings(**({"live_window": None} | settings)), media, media, scorer or BrightnessScorer())
    try:
        return await pipeline.score(await pipeline.sample(messages))
    finally:
        pipeline.close()


async def test_segments_are_scored_in_one_batch_and_in_order() -> None:
    scorer = BrightnessScorer()
    found = await answers([message(str(light), segment=str(light)) for light in (200, 50, 120)], scorer)
    assert [one.segment_id for one in found if isinstance(one, SegmentScore)] == ["200", "50", "120"]
    assert found[0].score > found[2].score > found[1].score
    assert scorer.batches == [3]
    assert {"fetch_ms", "sample_ms", "score_ms", "lag_s"} == set(found[0].timing)
    assert found[0].model.name == "brightness"


@pytest.mark.parametrize(
    ("sent", "kind", "reason"),
    [
        (message("gone"), "not-found", "not there"),
        (message("broken"), "undecodable", "damaged"),
        (message("bug"), "internal", "oops"),
        (Message(b"k", b"\xff not json"), "event", "JSON"),
        (Message(None, b""), "event", "empty"),
        (Message(b"k", b'{"stream_id": "s"}'), "event", "segment_id"),
    ],
)
async def test_what_cannot_be_scored_is_a_dead_letter_with_its_bytes(sent: Message, kind: str, reason: str) -> None:
    good = message("100")
    found = await answers([sent, good])
    letter = found[0]
    assert isinstance(letter, DeadLetter)
    assert (letter.key, letter.value) == (sent.key, sent.value)
    assert letter.headers["kind"] == kind
    assert reason in letter.headers["reason"]
    assert isinstance(found[1], SegmentScore)


async def test_a_dead_letter_says_where_it_came_from() -> None:
    (letter,) = await answers([message("gone")])
    assert {name: letter.headers[name] for name in ("topic", "partition", "offset", "segment_id")} == {
        "topic": "video-segments", "partition": "3", "offset": "42", "segment_id": "s/1",
    }  # fmt: skip


async def test_old_segments_are_skipped_only_within_a_live_window() -> None:
    late, fresh = message("100", ago=100), message("100")
    first, second = await answers([late, fresh], live_window=60)
    assert (first.status, second.status) == ("skipped", "scored")
    assert "live window of 60 s" in first.reason
    assert first.score is None
    (scored,) = await answers([late], live_window=None)
    assert scored.status == "scored"


async def test_a_scorer_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_module, "FIRST_WAIT", 0.01)
    (found,) = await asyncio.wait_for(answers([message("100")], BrightnessScorer(failures=3)), 5)
    assert found.status == "scored"


async def test_a_worker_that_cannot_sample_keeps_the_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_module, "FIRST_WAIT", 0.01)
    (found,) = await asyncio.wait_for(answers([message("unlucky")]), 5)
    assert found.status == "scored"


async def test_a_clip_that_the_model_cannot_answer_costs_its_batch_nothing() -> None:
    class Picky(BrightnessScorer):
        def score(self, clips: Any) -> Any:
            if any(clip.frames.mean() > 190 for clip in clips):
                raise ModelError("no number")
            return super().score(clips)

    first, second, third = await asyncio.wait_for(answers([message("100"), message("200"), message("50")], Picky()), 5)
    assert (first.status, third.status) == ("scored", "scored")
    assert isinstance(second, DeadLetter)
    assert (second.headers["kind"], second.headers["reason"]) == ("model", "no number")
