"""Selection: which segments are worth a rating."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.load import load_engine
from scorer.sampling.sampler import sample
from streams.events import SecondOpinion
from streams.media.fingerprint import fingerprint
from streams.parts import deep_limits, harvest_limits
from streams.queue.selection import ALIKE_BITS, HarvestLimits, Memory, harvest_reason
from streams.scoring.deep_plan import DeepLimits
from streams.settings import Settings
from tests.support.media import face_picture, ffmpeg
from tests.support.processes import ROOT
from tests.support.queue import MODEL, scored

LIMITS = HarvestLimits()
NOW = datetime.now(UTC)


def differing_bits(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (scored(1, 80), None),
        (scored(1, 20), "low-score"),
        (scored(1, 80, uncertainty=30), "uncertain"),
        (scored(1, 80, second=SecondOpinion(score=50, model=MODEL)), "disagreement"),
        (scored(1, 80, second=SecondOpinion(score=75, model=MODEL)), None),
        (scored(1, 80, shallow=SecondOpinion(score=50, model=MODEL)), "disagreement"),
        (scored(1, 50, shallow=SecondOpinion(score=80, model=MODEL)), "disagreement"),
        (scored(1, 80, shallow=SecondOpinion(score=75, model=MODEL)), None),
        (scored(1, 5, black=1.0), None),
        (scored(1, 20, labels={"store": "no"}), None),
        (scored(1, 20, labels={"store": " No"}), None),
        (scored(1, 20, labels={"store": "FALSE"}), None),
        (scored(1, 20, labels={"store": "berlin-12"}), "low-score"),
        (scored(1, 20, labels={"store": "yes"}), "low-score"),
        (scored(1, None), None),
        (scored(1, 20, model=None), None),
        (scored(1, 20, tier="glance", rests_on="s/0"), None),
    ],
)
def test_a_segment_has_the_first_reason_that_holds_or_none(score: object, reason: str | None) -> None:
    assert harvest_reason(score, LIMITS, alerted=False) == reason


def test_an_alert_is_a_reason_unless_the_stream_must_not_be_stored() -> None:
    assert harvest_reason(scored(1, 70), LIMITS, alerted=True) == "alert"
    assert harvest_reason(scored(1, 70, labels={"store": "no"}), LIMITS, alerted=True) is None
    assert harvest_reason(scored(1, 70, tier="glance", rests_on="s/0"), LIMITS, alerted=True) is None


def test_blurred_and_recoded_pictures_keep_the_fingerprint_and_a_flipped_one_does_not() -> None:
    face = face_picture(128)
    blurred = cv2.GaussianBlur(face, (0, 0), 3)
    coded = cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_COLOR)
    assert differing_bits(fingerprint(face), fingerprint(blurred)) <= ALIKE_BITS
    assert differing_bits(fingerprint(face), fingerprint(coded)) <= ALIKE_BITS
    assert differing_bits(fingerprint(face), fingerprint(np.ascontiguousarray(face[::-1]))) > ALIKE_BITS


def test_a_scene_is_stored_once_a_day_at_each_quality() -> None:
    memory = Memory(per_hour=100)
    memory.add(scored(1, 20, picture=7), NOW)
    assert not memory.wants(scored(2, 25, picture=7), NOW)
    assert memory.wants(scored(3, 35, picture=7), NOW), "another quality"
    assert memory.wants(scored(4, 20, picture=8), NOW), "another scene"
    assert memory.wants(scored(5, 20, picture=7, stream="other"), NOW), "another stream"
    assert memory.wants(scored(6, 20, picture=7), NOW + timedelta(days=1, hours=1))


def test_a_stream_that_is_over_leaves_the_memory() -> None:
    memory = Memory(per_hour=4)
    for hour in range(100):
        memory.add(scored(hour, stream=f"broadcast {hour}"), NOW + timedelta(hours=hour))
        assert len(memory._stored) <= 25
    assert not memory.wants(scored(99, stream="broadcast 99"), NOW + timedelta(hours=100)), "what is of the last day stays"
    memory.forget(scored(99, stream="broadcast 99"))
    memory.add(scored(101), NOW + timedelta(hours=101))
    assert "broadcast 99" not in memory._stored


def test_clips_of_a_clock_that_was_ahead_keep_no_others_out() -> None:
    memory = Memory(per_hour=1)
    memory.add(scored(1, 20, picture=7), NOW + timedelta(days=3))
    memory.add(scored(2, stream="over"), NOW + timedelta(days=3))
    assert memory.wants(scored(3, 20, picture=7), NOW), "the clock is right again"
    memory.add(scored(3, 20, picture=7), NOW)
    assert not memory.wants(scored(4, 20, picture=8), NOW)
    assert "over" not in memory._stored


def test_clips_chosen_while_the_clock_was_days_ahead_take_no_others_from_the_memory() -> None:
    memory = Memory(per_hour=2)
    for stream in ("s", "other"):
        for picture in (1, 2):
            memory.add(scored(picture, 20, picture=picture, stream=stream), NOW - timedelta(minutes=10))
    for hour in range(3):
        memory.add(scored(3 + hour, 20, picture=3 + hour), NOW + timedelta(days=2, hours=hour))
    memory.add(scored(9, 20, stream="third"), NOW)  # the clock is right again
    for stream in ("s", "other"):
        assert not memory.wants(scored(8, 20, picture=8, stream=stream), NOW), "the hour is full"
        assert not memory.wants(scored(1, 20, picture=1, stream=stream), NOW + timedelta(hours=2)), "the scene is stored"


def test_a_clip_of_another_worker_whose_clock_is_a_little_ahead_counts() -> None:
    memory = Memory(per_hour=1)
    memory.add(scored(1), NOW + timedelta(seconds=20))
    assert not memory.wants(scored(2), NOW)


def test_a_segment_that_could_not_be_stored_leaves_its_place_to_another() -> None:
    memory = Memory(per_hour=1)
    score = scored(1, 20, picture=7)
    memory.add(score, NOW)
    sibling = scored(1, 20, picture=8).model_copy(update={"segment_id": "another rendition"})
    memory.forget(sibling)
    memory.forget(scored(1, 20, picture=8, rendition="360p"))
    assert not memory.wants(scored(9), NOW), "only the segment itself is forgotten, not one of the same start, nor of the same id"
    memory.forget(score)
    assert memory.wants(scored(9), NOW)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100), st.integers(0, 200), st.integers(-50, 50)), max_size=60),
    st.integers(1, 5),
)
def test_no_hour_has_more_clips_than_the_limit(segments: list[tuple[int, float, int, int]], per_hour: int) -> None:
    memory, times = Memory(per_hour), []
    for picture, points, minute, clock_error in sorted(segments, key=lambda segment: segment[2]):
        now = NOW + timedelta(minutes=minute)
        # A packager whose clock is wrong by days gets no more clips.
        score = scored(0, points, picture=picture, begin=now + timedelta(days=clock_error))
        if memory.wants(score, now):
            memory.add(score, now)
            times.append(now)
    for time in times:
        assert sum(1 for other in times if timedelta(0) <= other - time < timedelta(hours=1)) <= per_hour


def test_the_shipped_model_exceeds_the_limits_of_uncertainty_where_it_is_unsure_and_not_where_it_is_sure(tmp_path: Path) -> None:
    model, clear, starved = load_engine("nano", "cpu"), ROOT / "examples" / "face.mp4", tmp_path / "starved.mp4"
    ffmpeg("-t", "2", "-i", clear, "-an", "-c:v", "libx264", "-crf", "40", starved)
    sure, unsure = (
        model.score([next(clip for _, clip in sample(file, model.spec, window_seconds=2.0, limit=1))])[0].uncertainty
        for file in (clear, starved)
    )
    harvest, deep = harvest_limits(Settings()), deep_limits(Settings())
    assert (harvest, deep) == (LIMITS, DeepLimits())
    for limit in (harvest.uncertainty, deep.uncertain):
        assert sure < limit - 2
        assert unsure > limit
