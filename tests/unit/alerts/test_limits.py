"""Limits at the edges of what a policy may say: an alert that fires can end, and nothing fires for nothing."""

from __future__ import annotations

import pytest

from streams.alerts.policy import default_limits, parse_policy
from tests.support.alerts import fold, kinds_and_states, make_score, stream_of


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
