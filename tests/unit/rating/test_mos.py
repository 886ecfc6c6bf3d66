"""Mean opinion scores: the procedure of BT.500 on panels of raters whose result is known."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.rating.mos import LEVEL_POINTS, T_975, judge, opinions, screen, votes_of
from streams.rating.order import Key
from streams.rating.values import Rating

VOTES = st.dictionaries(
    st.sampled_from([f"rater-{i}" for i in range(9)]),
    st.dictionaries(st.sampled_from([("s", str(i)) for i in range(12)]), st.floats(0, 100), min_size=1),
    max_size=9,
)


def rating(rater: str, clip: str, points: float, number: int = 1) -> Rating:
    return Rating(rater, ("s", clip), number, points, "acr", 1.0, "")


def panel(raters: int, clips: int, seed: int = 0, spread: float = 8.0) -> dict[str, dict[Key, float]]:
    """The votes of honest raters: each is the clip's quality, plus the rater's own bias, plus noise."""
    random = np.random.default_rng(seed)
    quality = random.uniform(20, 80, clips)
    bias = random.normal(0, 4, raters)
    return {
        f"rater-{i}": {
            ("s", str(j)): float(np.clip(quality[j] + bias[i] + random.normal(0, spread), 0, 100)) for j in range(clips)
        }
        for i in range(raters)
    }


def test_the_points_of_a_level_are_the_middle_of_its_fifth() -> None:
    assert tuple((level + 0.5) * 20 for level in range(5)) == LEVEL_POINTS


def test_students_table_is_right() -> None:
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 31)], abs=5e-4) == T_975


@given(st.lists(st.floats(0, 100), min_size=2, max_size=40))
def test_mean_and_interval_are_those_of_scipy(points: list[float]) -> None:
    opinion = opinions({str(i): {("s", "c"): vote} for i, vote in enumerate(points)})["s", "c"]
    assert min(points) <= opinion.mos <= max(points)
    assert opinion.mos == pytest.approx(np.mean(points))
    quantile = stats.t.ppf(0.975, len(points) - 1) if len(points) <= 31 else 1.96
    assert opinion.ci == pytest.approx(stats.sem(points) * quantile, rel=1e-3, abs=1e-9)


def test_a_report_of_several_raters_is_json() -> None:
    ratings = [rating(rater, clip, points) for rater, clip, points in (("ada", "1", 20), ("bob", "1", 70), ("cy", "1", 90))]
    _, reports = judge(ratings, [("s", "1")])
    assert [json.loads(json.dumps(asdict(report)))["rater"] for report in reports] == ["ada", "bob", "cy"]


def test_one_rating_has_no_interval() -> None:
    assert opinions({"ada": {("s", "c"): 70.0}})["s", "c"].ci is None


def test_a_rater_who_votes_at_random_is_left_out_and_honest_raters_stay() -> None:
    votes = panel(15, 60)
    random = np.random.default_rng(1)
    votes["dice"] = {key: float(random.uniform(0, 100)) for key in votes["rater-0"]}
    screened = screen(votes)
    assert [rater for rater, (_, _, rejected) in screened.items() if rejected] == ["dice"]


def test_a_rater_who_is_only_stricter_stays() -> None:
    votes = panel(15, 60)
    votes["strict"] = {key: max(0.0, points - 35) for key, points in votes["rater-0"].items()}
    above, below, rejected = screen(votes)["strict"]
    assert below > 0.05 * 60
    assert above == 0
    assert not rejected


@settings(max_examples=60)
@given(VOTES)
def test_screening_reports_every_rater_and_needs_six_raters_for_a_clip(votes: dict[str, dict[Key, float]]) -> None:
    screened = screen(votes)
    assert set(screened) == set(votes)
    for rater, (above, below, rejected) in screened.items():
        assert 0 <= above + below <= len(votes[rater])
        assert not rejected or above + below > 0.05 * len(votes[rater])
    sizes = [sum(key in clips for clips in votes.values()) for key in {key for clips in votes.values() for key in clips}]
    if max(sizes, default=0) < 6:
        assert not any(above or below for above, below, _ in screened.values())


def test_a_rejected_rater_does_not_count_and_is_reported() -> None:
    votes = panel(15, 60)
    random = np.random.default_rng(1)
    votes["dice"] = {key: float(random.uniform(0, 100)) for key in votes["rater-0"]}
    ratings = [rating(rater, key[1], points) for rater, clips in votes.items() for key, points in clips.items()]
    by_clip, reports = judge(ratings, [("s", "3")])
    assert list(by_clip) == [("s", "3")]
    honest = [clips["s", "3"] for rater, clips in votes.items() if rater != "dice"]
    assert by_clip["s", "3"].mos == pytest.approx(np.mean(honest))
    assert by_clip["s", "3"].ratings == 15
    assert [report.rater for report in reports if report.rejected] == ["dice"]


def test_a_rater_who_gives_all_of_many_clips_one_vote_is_reported() -> None:
    ratings = [rating("same", str(clip), 50, number) for clip in range(10) for number in (1, 2)]
    ratings += [rating("few", str(clip), 50) for clip in range(9)]
    ratings += [rating("honest", str(clip), 70 if clip == 3 else 50) for clip in range(10)]
    assert [report.rater for report in judge(ratings, ())[1] if report.all_alike] == ["same"]


def test_a_rating_and_its_repeat_are_averaged() -> None:
    ratings = [rating("ada", "a", 30), rating("grace", "a", 90), rating("ada", "a", 50, 2), rating("ada", "b", 10)]
    assert votes_of(ratings)["ada"] == {("s", "a"): 40.0, ("s", "b"): 10.0}
    by_clip, reports = judge(ratings, [("s", "a"), ("s", "b")])
    assert (by_clip["s", "a"].mos, by_clip["s", "a"].ratings) == (65.0, 2)
    ada, grace = reports
    assert (ada.repeats, ada.self_difference) == (1, 20.0)
    assert (grace.repeats, grace.self_difference) == (0, None)
    assert ada.bias == pytest.approx((40 - 65) / 2)
