"""Limits at the edges of what a policy may say: an alert that fires can end, and nothing fires for nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.alerts.detector import step, tick
from streams.alerts.policy import AlertPolicy, default_limits, parse_policy
from streams.alerts.replay import Replay
from streams.alerts.state import StreamState
from streams.events import QualityAlert, SegmentScore
from tests.support.alerts import BEGIN, fold, kinds_and_states, make_score, stream_of


def long_segments(seconds: float, count: int, first: int = 0) -> list[SegmentScore]:
    """Segments of so many seconds, one after another."""
    places = range(first, first + count)
    longer = [{"start": BEGIN + timedelta(seconds=seconds * place), "duration": seconds} for place in places]
    return [make_score(place).model_copy(update=changes) for place, changes in zip(places, longer, strict=True)]


def live(scores: list[SegmentScore], silent_after: int) -> list[QualityAlert]:
    """The alerts of a stream whose segments come when they are over, and that is judged each second; it ends in silence."""
    limits, state, alerts = default_limits(), StreamState("channel"), []
    for place, score in enumerate(scores):
        arrived = score.start + timedelta(seconds=score.duration + 1)
        state, more = step(state, score, limits, arrived)
        alerts += more
        for second in range(1, int(scores[place + 1].duration) if place + 1 < len(scores) else silent_after + 1):
            ticked, more = tick(state, arrived + timedelta(seconds=second), second, limits)
            assert ticked is not None
            state = ticked
            alerts += more
    return alerts


@pytest.mark.parametrize("threshold", [84.0, 93.0, 99.0])
def test_low_quality_resolves_however_high_its_threshold_is(threshold: float) -> None:
    limits = parse_policy({"alerts": {"low_quality": {"threshold": threshold}, "quality_drop": {"enabled": False}}}).of({})
    alerts = fold(stream_of((10, 100), (20, 20), (20, 100)), limits)[1]
    assert kinds_and_states(alerts) == [("low-quality", "firing"), ("low-quality", "resolved")]


@pytest.mark.parametrize("kind", ["black", "frozen"])
def test_a_signal_that_is_gone_resolves_its_alert_however_low_its_threshold_is(kind: str) -> None:
    limits = parse_policy({"alerts": {kind: {"threshold": 0.05}}}).of({})
    shown = {"black": 0.3} if kind == "black" else {"freeze": 0.3}
    scores = [make_score(i, 75, **(shown if 10 <= i < 20 else {})) for i in range(40)]
    assert kinds_and_states(fold(scores, limits)[1]) == [(kind, "firing"), (kind, "resolved")]


def test_usual_thresholds_have_their_whole_hysteresis() -> None:
    limits = default_limits()
    assert limits.low_quality.good_from == 48
    assert {limits.black.good_under, limits.frozen.good_under, limits.silent.good_under} == {0.95 - 0.1}


@pytest.mark.parametrize("seconds", [6.0, 20.0, 21.0, 30.0, 60.0, 3600.0])
def test_a_stream_is_not_silent_while_its_next_segment_lasts(seconds: float) -> None:
    assert live(long_segments(seconds, 4), 0) == []


@pytest.mark.parametrize("short", [(12.0,), (30.0,), (12.0, 5.0)])
def test_a_stream_is_not_silent_after_a_segment_that_was_cut_short(short: tuple[float, ...]) -> None:
    """As where a recorder of a file each minute begins a new one when its camera comes back."""
    start, scores = BEGIN, []
    for place, seconds in enumerate((60.0, 60.0, *short, 60.0, 60.0)):
        scores.append(make_score(place).model_copy(update={"start": start, "duration": seconds}))
        start += timedelta(seconds=seconds)
    assert live(scores, 0) == []


def test_a_rendition_is_not_given_up_while_its_next_segment_lasts() -> None:
    limits, state = parse_policy({"alerts": {"no_segments": {"forget_after": 60}}}).of({}), StreamState("channel")
    for score in long_segments(300, 3):
        for name in ("720p", "480p"):
            state, _ = step(state, score.model_copy(update={"rendition": name}), limits)
    assert {rendition.baseline_seconds for rendition in state.renditions.values()} == {900}


@pytest.mark.parametrize(("seconds", "after"), [(2.0, 20), (10.0, 20), (30.0, 40), (60.0, 70)])
def test_a_stream_is_silent_when_its_next_segment_is_overdue(seconds: float, after: int) -> None:
    assert live(long_segments(seconds, 3), after - 1) == []
    (firing,) = live(long_segments(seconds, 3), after)
    assert (firing.kind, firing.value, firing.threshold) == ("no-segments", after, after)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_replay_takes_long_segments_as_a_worker_does(missing: int) -> None:
    scores = long_segments(30, 3) + long_segments(30, 3, first=3 + missing)
    replay = Replay("channel", AlertPolicy(), {})
    for score in scores:
        replay.add(score)
    kinds = [alert.kind for alert in replay.alerts(BEGIN)]
    assert kinds == ["no-segments"] * missing
