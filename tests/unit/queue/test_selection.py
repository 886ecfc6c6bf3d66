"""What is worth a rating."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events import SecondOpinion
from streams.media.fingerprint import fingerprint
from streams.queue.selection import ALIKE_BITS, HarvestLimits, Memory, why
from tests.support.media import face_picture
from tests.support.queue import MODEL, scored

LIMITS = HarvestLimits()
NOW = datetime.now(UTC)


def bits(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        (scored(1, 80), None),
        (scored(1, 20), "low-score"),
        (scored(1, 80, uncertainty=30), "uncertain"),
        (scored(1, 80, second=SecondOpinion(score=50, model=MODEL)), "disagreement"),
        (scored(1, 80, second=SecondOpinion(score=75, model=MODEL)), None),
        (scored(1, 5, black=1.0), None),
        (scored(1, 20, labels={"store": "no"}), None),
        (scored(1, 20, labels={"store": "yes"}), "low-score"),
        (scored(1, None), None),
    ],
)
def test_reasons(score: object, wanted: str | None) -> None:
    assert why(score, LIMITS, alerted=False) == wanted


def test_an_alert_is_a_reason_but_for_streams_that_are_not_stored() -> None:
    assert why(scored(1, 70), LIMITS, alerted=True) == "alert"
    assert why(scored(1, 70, labels={"store": "no"}), LIMITS, alerted=True) is None


def test_pictures_that_look_alike_have_fingerprints_alike() -> None:
    face = face_picture(128)
    blurred = cv2.GaussianBlur(face, (0, 0), 3)
    coded = cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_COLOR)
    assert bits(fingerprint(face), fingerprint(blurred)) <= ALIKE_BITS
    assert bits(fingerprint(face), fingerprint(coded)) <= ALIKE_BITS
    assert bits(fingerprint(face), fingerprint(np.ascontiguousarray(face[::-1]))) > ALIKE_BITS


def test_a_scene_is_stored_once_at_a_quality() -> None:
    memory = Memory(per_hour=100)
    memory.add(scored(1, 20, picture=7), NOW)
    assert not memory.wants(scored(2, 25, picture=7), NOW)
    assert memory.wants(scored(3, 35, picture=7), NOW), "another quality"
    assert memory.wants(scored(4, 20, picture=8), NOW), "another scene"
    assert memory.wants(scored(5, 20, picture=7, stream="other"), NOW), "another stream"
    assert memory.wants(scored(6, 20, picture=7), NOW + timedelta(days=1, hours=1))


def test_what_could_not_be_stored_is_forgotten() -> None:
    memory = Memory(per_hour=1)
    score = scored(1, 20, picture=7)
    memory.add(score, NOW)
    sibling = scored(1, 20, picture=8).model_copy(update={"segment_id": "another rendition"})
    memory.forget(sibling)
    assert not memory.wants(scored(9), NOW), "of the same start, but not the same"
    memory.forget(score)
    assert memory.wants(scored(9), NOW)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100), st.integers(0, 200), st.integers(-50, 50)), max_size=60),
    st.integers(1, 5),
)
def test_never_more_than_so_many_in_an_hour(parts: list[tuple[int, float, int, int]], per_hour: int) -> None:
    memory, times = Memory(per_hour), []
    for picture, score, minute, wrong in sorted(parts, key=lambda one: one[2]):
        now = NOW + timedelta(minutes=minute)
        # A packager whose clock jumps by days gets no more.
        one = scored(0, score, picture=picture, begin=now + timedelta(days=wrong))
        if memory.wants(one, now):
            memory.add(one, now)
            times.append(now)
    for time in times:
        assert sum(1 for other in times if timedelta(0) <= other - time < timedelta(hours=1)) <= per_hour
