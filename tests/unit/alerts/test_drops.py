"""Drops against what is usual for a stream: noise, the first minutes, another model, and what lasts."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import default_limits, parse_policy
from streams.alerts.state import MODEL_BEFORE, from_json, to_json
from streams.events import ModelRef, SegmentScore
from tests.support.alerts import BEGIN, fold, kinds_and_states, make_score, stream_of

LIMITS = default_limits()


def by_model(version: str, stretches: list[tuple[int, float]], first: int = 0) -> list[SegmentScore]:
    """As `stream_of`, from a number on, by a version of the model."""
    return [
        score.model_copy(update={"model": ModelRef(name="nano", version=version)})
        for score in (
            make_score(first + number, value)
            for number, value in enumerate(value for count, value in stretches for _ in range(count))
        )
    ]


def test_another_models_scores_are_no_drop_and_its_own_drops_are_found() -> None:
    scores = [*by_model("1", [(30, 90)]), *by_model("2", [(30, 72), (20, 50)], first=30)]
    alerts = fold(scores)[1]
    assert kinds_and_states(alerts) == [("quality-drop", "firing")]
    assert alerts[0].baseline == pytest.approx(72, abs=1)
    assert kinds_and_states(fold([*by_model("1", [(30, 90), (30, 72)])])[1])[0] == ("quality-drop", "firing")


def test_a_drop_ends_where_another_model_takes_over_because_nobody_knows_what_is_usual_for_it() -> None:
    scores = [*by_model("1", [(30, 90), (10, 50)]), *by_model("2", [(20, 50)], first=40)]
    assert kinds_and_states(fold(scores)[1]) == [("quality-drop", "firing"), ("quality-drop", "resolved")]


def test_a_drop_that_lasts_is_told_again_where_the_model_before_comes_back_soon() -> None:
    """As where a worker's own model answers while the served one is away."""
    scores = [*by_model("1", [(30, 90), (10, 50)]), *by_model("own", [(60, 40)], first=40), *by_model("1", [(20, 50)], first=100)]
    alerts = fold(scores)[1]
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved"), ("quality-drop", "firing")]
    assert alerts[2].baseline == pytest.approx(90, abs=1)
    later = by_model("1", [(20, 50)], first=40 + 600)
    assert len(fold([*scores[:40], *by_model("own", [(600, 45)], first=40), *later])[1]) == 2, "nobody knows what is usual by now"


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("apart", [15, 40])
def test_drops_are_found_and_end_while_two_models_answer_by_turns(every: int, apart: int) -> None:
    """As of replicas behind one address while they are replaced. apart: points between the scores of both."""

    def turns(value: float, first: int, count: int) -> list[SegmentScore]:
        return [
            score
            for number in range(first, first + count)
            for score in by_model(str(number // every % 2), [(1, value - apart * (number // every % 2))], first=number)
        ]

    scores = [*turns(90, 0, 120), *turns(65, 120, 20), *turns(90, 140, 20)]
    alerts = fold(scores)[1]
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert alerts[0].started_at == scores[120].start


def test_a_state_without_a_model_is_of_the_one_that_was_shipped_then() -> None:
    scores = by_model(MODEL_BEFORE, [(30, 90), (10, 70)])
    assert kinds_and_states(fold(scores)[1]) == [("quality-drop", "firing")]
    before, _ = fold(scores[:30])
    assert b"model" not in to_json(before)
    assert from_json(to_json(before)) == before


def test_a_drop_of_one_segment_raises_no_alert() -> None:
    assert fold(stream_of((30, 70), (1, 20), (30, 70)))[1] == []


def test_a_drop_of_15_points_in_a_calm_stream_fires_within_three_segments() -> None:
    state, alerts = fold(stream_of((60, 80), (10, 65)))
    assert kinds_and_states(alerts) == [("quality-drop", "firing")]
    assert alerts[0].started_at == BEGIN + timedelta(seconds=120)
    assert int(alerts[0].segment_id.split("/")[1]) - 60 + 1 <= 3
    assert alerts[0].baseline == pytest.approx(80, abs=1)
    assert [alert.alert_id for alert in open_alerts(state)] == [alerts[0].alert_id]


def test_a_noisy_stream_fires_only_for_a_drop_beyond_its_own_noise() -> None:
    dice = random.Random(3)
    noisy = [make_score(i, 60 + dice.choice((-15, 15)) + dice.uniform(-5, 5)) for i in range(3000)]
    assert fold(noisy)[1] == []
    dropped = [make_score(3000 + i, 15 + dice.uniform(-5, 5)) for i in range(30)]
    assert ("quality-drop", "firing") in kinds_and_states(fold([*noisy, *dropped])[1])


def test_a_noisy_stream_fires_nothing_in_its_first_minutes_either() -> None:
    """The first few scores alone are a bad guess at what is usual, and at the noise."""
    fired = 0
    for seed in range(100):
        dice = random.Random(seed)
        fired += len(fold(make_score(i, 60 + dice.gauss(0, 8)) for i in range(150))[1])
    assert fired <= 2


@pytest.mark.parametrize(("depth", "seconds"), [(30, 16), (20, 30), (15, 60)])
def test_a_drop_in_the_first_minute_is_found_where_it_is_deep_for_what_is_known_by_then(depth: float, seconds: int) -> None:
    for seed in range(20):
        dice = random.Random(seed)
        values = [82 + dice.gauss(0, 3.5) - (depth if second >= seconds else 0) for second in range(0, seconds + 120, 2)]
        alerts = fold(make_score(number, value) for number, value in enumerate(values))[1]
        assert kinds_and_states(alerts)[:1] == [("quality-drop", "firing")]
        assert alerts[0].started_at >= BEGIN + timedelta(seconds=seconds)


def test_a_long_baseline_goes_on_getting_slower_however_short_the_noise_is() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"baseline": 86400, "noise": 60}}}).of({})
    state, _ = fold(stream_of((1800, 80), (50, 76)), limits)
    assert state.renditions[""].baseline == pytest.approx((1800 * 80 + 50 * 76) / 1850)


FORMER = parse_policy({"alerts": {"quality_drop": {"noise_slack": 1.5, "noise_limit": 4}}}).of({})
"""The default limits before."""


@pytest.mark.parametrize("seconds", [20, 600, 3600])
def test_a_noisy_stream_that_runs_on_when_the_defaults_change_has_no_alert_by_it(seconds: int) -> None:
    for seed in range(5):
        dice = random.Random(seed)
        scores = [make_score(i, 60 + dice.gauss(0, 6)) for i in range(seconds // 2 + 100)]
        state, before = fold(scores[: seconds // 2], FORMER)
        state = from_json(to_json(state))
        for score in scores[seconds // 2 :]:
            state, alerts = step(state, score, LIMITS)
            before += alerts
        assert before == []


def test_a_drop_that_is_open_when_the_defaults_change_resolves_once_it_is_over() -> None:
    state, alerts = fold(stream_of((60, 80), (20, 60)), FORMER)
    state = from_json(to_json(state))
    for score in stream_of((60, 80), (40, 60), (30, 80))[80:]:
        state, more = step(state, score, LIMITS)
        alerts += more
    assert kinds_and_states(alerts) == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert alerts[0].alert_id == alerts[1].alert_id


def test_a_drop_that_lasts_becomes_the_baseline_and_its_alert_resolves() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"adapt": 60}}}).of({})
    assert kinds_and_states(fold(stream_of((60, 80), (600, 62)), limits)[1]) == [
        ("quality-drop", "firing"),
        ("quality-drop", "resolved"),
    ]
