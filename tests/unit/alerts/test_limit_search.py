"""The search for the default limits: many limits at once raise the alerts that the detector raises, and the best are chosen."""

from __future__ import annotations

import numpy as np

from streams.alerts.backtest import firing
from streams.alerts.incidents import Incident, load_ladders, make_stream
from streams.alerts.policy import parse_policy
from tests.bench import many_limits
from tests.bench.alert_limits import Goal, Tallies, Tally, choose, counted

POLICIES: list[dict[str, object]] = [
    {},
    {"smoothing": 0, "quality_drop": {"slack": 3, "limit": 5, "noise_slack": 0.5, "noise_limit": 2, "noise": 120, "minimum": 0}},
    {
        "low_quality": {"threshold": 60, "minimum": 4},
        "quality_drop": {"baseline": 60, "adapt": 60, "cool_down": 10, "warm_up": 20},
    },
]


def test_the_same_alerts_fire_by_many_limits_at_once_as_one_by_one() -> None:
    limits = [parse_policy({"alerts": alerts}).of({}) for alerts in POLICIES]
    streams = [make_stream(ladder, 0.05, np.random.default_rng(1))[0] for ladder in load_ladders()[:3]]
    one_by_one = [
        (segment, place, stream, kind)
        for place, of_one in enumerate(limits)
        for stream, scores in enumerate(streams)
        for segment, kind in firing(scores, of_one)
    ]
    assert len(one_by_one) > 20
    assert sorted(many_limits.firing(np.array(streams).T, limits)) == sorted(one_by_one)


def test_alerts_in_a_drop_find_it_and_those_outside_of_all_incidents_are_false() -> None:
    incidents = [Incident(100, 120, 15.0), Incident(500, 600, 15.0), Incident(1000, 1100, 30.0)]
    tally = counted([50, 103, 110, 145, 151, 1001], incidents, 43200)
    assert (tally.delays, tally.false_alarms, tally.days) == ([4, None], 2, 1.0)


def test_the_limits_that_fall_least_short_of_the_goal_are_chosen_and_of_those_the_quickest() -> None:
    false, slow, quick = Tally(7, 5, [1, 1]), Tally(7, 1, [3, 3]), Tally(7, 1, [2, 3])
    other = Tally(7, 0, [2, 9])
    tallies: Tallies = {(0, "steady", "a"): [false, slow, quick], (0, "steady", "b"): [other] * 3}
    assert choose(tallies, 1, ["a", "b"], {"steady": Goal(weekly=1)}) == 2
    assert choose(tallies, 1, ["a"], {"steady": Goal(weekly=10)}) == 0
