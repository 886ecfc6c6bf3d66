"""The made streams: their incidents have their depth, and a seed makes the same stream again."""

from __future__ import annotations

import numpy as np
import pytest

from streams.alerts.incidents import DEPTHS, Ladder, load_ladders, make_stream


def test_scores_inside_an_incident_are_lower_by_its_depth() -> None:
    ladder = load_ladders()[0]
    scores, incidents = make_stream(ladder, 2, np.random.default_rng(1))
    inside = np.zeros(len(scores), bool)
    for incident in incidents:
        inside[incident.first : incident.end] = True
    usual = scores[~inside].mean()
    for depth in {incident.depth for incident in incidents}:
        means = [scores[incident.first : incident.end].mean() for incident in incidents if incident.depth == depth]
        assert usual - np.mean(means) == pytest.approx(depth, abs=3)


def test_an_incident_has_its_depth_also_where_the_ladder_ends_above_it() -> None:
    narrow = Ladder("narrow", np.linspace(70, 56, 6)[None, None, :].repeat(2, axis=1), np.zeros(1))
    scores, incidents = make_stream(narrow, 1, np.random.default_rng(2))
    assert {incident.depth for incident in incidents} == set(DEPTHS)
    for incident in incidents:
        assert scores[incident.first - 1] - scores[incident.first : incident.end] == pytest.approx(incident.depth)


def test_the_same_seed_makes_the_same_stream() -> None:
    first, second = (make_stream(load_ladders()[1], 0.2, np.random.default_rng(7))[0] for _ in range(2))
    assert (first == second).all()
