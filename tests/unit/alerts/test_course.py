"""The course of a stream: the same alerts as the alert agent finds, and what comes before them."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from streams.alerts import course
from streams.alerts.clock import end_of
from streams.alerts.course import Courses
from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import load_policy, parse_policy
from streams.alerts.state import StreamState
from streams.events import ModelRef, SecondOpinion, SegmentScore
from tests.support.alerts import BEGIN, fold, make_score, stream_of

POLICY = load_policy(None)


def courses_of(scores: Iterable[SegmentScore], courses: Courses | None = None) -> list[str]:
    courses = courses or Courses(POLICY)
    return [courses(score, end_of(score)) for score in scores]


def test_a_drop_is_changing_then_an_alert_until_it_is_over() -> None:
    courses = courses_of(stream_of((60, 80), (20, 55), (30, 80)))
    assert set(courses[:60]) == {"steady"}
    assert courses[60] == "changing", "the first bad segment, before any alert"
    assert courses[63:80] == ["alert"] * 17
    assert courses[80] == "alert", "it is not over before it has been good for a while"
    assert set(courses[-10:]) == {"steady"}


def test_an_alert_is_open_exactly_while_the_alert_agent_says_so() -> None:
    dice, state, courses = random.Random(5), StreamState("channel"), Courses(POLICY)
    open_ones = 0
    for number in range(3000):
        level = 80 if number // 100 % 3 else 30
        score = make_score(number, min(100.0, max(0.0, level + dice.gauss(0, 6))))
        state, _ = step(state, score, POLICY.of({}), end_of(score))
        fires = any(alert.kind in ("low-quality", "quality-drop") for alert in open_alerts(state))
        assert (courses(score, end_of(score)) == "alert") == fires
        open_ones += fires
    assert open_ones > 100


def test_a_calm_or_noisy_stream_is_steady() -> None:
    for spread in (1, 4, 10):
        dice = random.Random(spread)
        courses = courses_of(make_score(number, min(100, 75 + dice.gauss(0, spread))) for number in range(2000))
        assert courses.count("steady") > 0.97 * len(courses), "otherwise its noise would use up the share"


def test_black_and_frozen_pictures_have_no_course() -> None:
    assert courses_of(stream_of((3, 5.0), black=1.0)) == ["no-picture"] * 3
    assert courses_of(stream_of((3, 5.0), freeze=1.0)) == ["no-picture"] * 3


def test_the_policy_of_the_streams_labels_holds() -> None:
    policy = parse_policy(
        {"overrides": [{"labels": {"tier": "premium"}, "alerts": {"low_quality": {"threshold": 75, "minimum": 2}}}]}
    )
    scores = [make_score(number, 70, labels={"tier": "premium"}) for number in range(10)]
    assert courses_of(scores, Courses(policy))[-1] == "alert"
    assert courses_of(stream_of((10, 70)), Courses(policy))[-1] == "steady"


def test_a_policy_that_is_read_again_holds_from_the_next_score_on() -> None:
    courses, scores = Courses(POLICY), stream_of((40, 55))
    courses_of(scores[:20], courses)
    assert not courses.is_undecided(scores[19])
    assert courses.use(parse_policy({"alerts": {"low_quality": {"threshold": 60}}}))
    assert courses_of(scores[20:], courses)[-1] == "alert"
    assert courses.is_undecided(scores[-1])
    assert not courses.use(parse_policy({"alerts": {"low_quality": {"threshold": 60}}})), "the limits are the same"


def test_renditions_have_a_course_each() -> None:
    courses = Courses(POLICY)
    for number in range(40):
        low = courses(make_score(number, 20, rendition="240p"), end_of(make_score(number)))
        high = courses(make_score(number, 80, rendition="1080p"), end_of(make_score(number)))
    assert (low, high) == ("alert", "steady")


def test_the_streams_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "MOST_STREAMS", 10)
    courses = Courses(POLICY)
    for number in range(100):
        courses(make_score(number, stream=f"s{number}"), BEGIN)
    assert len(courses._streams) == 10


@pytest.mark.parametrize("offset", [-30.0, -12.0, 12.0])
def test_a_change_of_the_model_that_answers_raises_no_alert(offset: float) -> None:
    """The large model's scores differ from the small one's by an offset, and it answers some segments of a steady stream."""
    dice, model = random.Random(6), ModelRef(name="m", version="1")
    scores = []
    for number in range(3000):
        small = 65 + dice.gauss(0, 4)
        score = make_score(number, small)
        if number % 40 < 12 or dice.random() < 0.05:
            deep = {"score": small + offset, "tier": "deep", "shallow": SecondOpinion(score=small, model=model)}
            score = score.model_copy(update=deep)
        scores.append(score)
    assert fold(scores)[1] == []
    as_shown = [score.model_copy(update={"shallow": None}) for score in scores]
    assert offset > -30 or fold(as_shown)[1], "with the scores as they are shown there would be alerts"
