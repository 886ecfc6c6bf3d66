"""The evaluation of alerts: its streams have what they say, and its figures keep what docs/alerts.md promises."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streams.alerts.backtest import Evaluation, Incident, judge, load_ladders, make_stream
from streams.alerts.policy import default_limits, parse_policy
from tests.support.processes import fvq

CALM = np.full(2000, 80.0)


def test_an_incident_has_its_depth() -> None:
    ladder = load_ladders()[0]
    scores, incidents = make_stream(ladder, 2, np.random.default_rng(1))
    inside = np.zeros(len(scores), bool)
    for one in incidents:
        inside[one.first : one.end] = True
    usual = scores[~inside].mean()
    for depth in {one.depth for one in incidents}:
        found = np.mean([scores[one.first : one.end].mean() for one in incidents if one.depth == depth])
        assert usual - found == pytest.approx(depth, abs=3)


def test_the_same_seed_makes_the_same_stream() -> None:
    first, second = (make_stream(load_ladders()[1], 0.2, np.random.default_rng(7))[0] for _ in range(2))
    assert (first == second).all()


def test_delays_misses_and_false_alarms_are_counted() -> None:
    scores = CALM.copy()
    scores[500:600] = 50.0  # an incident that is found
    scores[1000:1050] = 50.0  # one that nobody told of
    result = Evaluation()
    judge(scores, [Incident(500, 600, 30.0), Incident(1500, 1550, 30.0)], default_limits(), result)
    (row,) = result.report()["incidents"]  # type: ignore[misc]
    assert row == {"depth": 30.0, "incidents": 2, "missed": 1, "median_delay_segments": 2, "p95_delay_segments": 2}
    assert result.false_alarms == {"quality-drop": 1}
    assert result.stream_days == pytest.approx(4000 / 86400)


def test_a_deaf_policy_misses_everything() -> None:
    limits = parse_policy({"alerts": {"quality_drop": {"enabled": False}, "low_quality": {"enabled": False}}}).of({})
    result = Evaluation()
    judge(CALM - 40, [Incident(500, 600, 30.0)], limits, result)
    assert (result.by_depth[30.0].missed, result.false_alarms.total()) == (1, 0)


def test_the_defaults_find_a_drop_of_15_points_within_3_segments_and_hardly_ever_cry_wolf() -> None:
    done = fvq("alerts", "evaluate", "--days", "6", "--seed", "3", "--json", seconds=200, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = [one for one in report["incidents"] if one["depth"] == 15]
    assert row["incidents"] > 50
    assert row["median_delay_segments"] <= 3
    assert row["missed"] < 0.15 * row["incidents"]
    # Too few days for a rate: the 70 of docs/alerts.md have one alarm in five weeks. Without the noise there were hundreds.
    assert sum(report["false_alarms"].values()) <= 1
