"""Agreement figures, on data whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from training.evaluation.agreement import (
    agreement,
    calibration,
    cross_validated,
    intervals,
    krcc,
    ladder_order,
    logistic_fit,
    srcc,
    summary,
    without_nan,
)

ROWS = [
    {"content": content, "kind": kind, "step": step, "mos": 90 - 15 * step - offset}
    for content, offset in (("a", 0), ("b", 10))
    for kind in ("x264", "noise")
    for step in range(4)
]


def test_perfect_scores_agree_perfectly() -> None:
    report = summary(ROWS, [row["mos"] for row in ROWS])
    assert report["srcc"] == pytest.approx(1)
    assert report["srcc_within"] == pytest.approx(1)
    assert report["ladders"] == 1
    assert report["rmse"] == pytest.approx(0, abs=0.5)


def test_an_offset_per_content_lowers_the_overall_but_not_the_within_content_correlation() -> None:
    report = summary(ROWS, [row["mos"] + (60 if row["content"] == "b" else 0) for row in ROWS])
    assert report["srcc_within"] == pytest.approx(1)
    assert report["srcc"] < 0.7


def test_correlation_leaves_out_the_kinds_that_vmaf_cannot_judge_but_ladders_do_not() -> None:
    scores = [row["mos"] if row["kind"] == "x264" else 50 + row["step"] for row in ROWS]
    report = summary(ROWS, scores)
    assert report["srcc"] == pytest.approx(1)
    assert (report["by_kind"]["noise"]["right"], report["by_kind"]["noise"]["steps"]) == (0, 6)
    assert report["ladders"] == 0.5


def test_clips_of_unknown_kinds_count() -> None:
    rows = [{"content": str(i), "kind": "", "step": 0, "mos": mos} for i, mos in enumerate((10, 40, 60, 90))]
    assert summary(rows, [10, 40, 60, 90])["srcc"] == pytest.approx(1)
    assert summary(rows, [90, 60, 40, 10])["srcc"] == pytest.approx(-1)


def test_intervals_contain_the_figure_and_grow_with_disagreement_between_contents() -> None:
    rows = [{"content": str(c), "kind": "x264", "step": s, "mos": 90.0 - 12 * s} for c in range(6) for s in range(6)]
    steady = [row["mos"] + 3 * (row["step"] % 2) for row in rows]
    mixed = [row["mos"] + (0 if int(row["content"]) < 3 else 40) for row in rows]
    narrow, wide = intervals(rows, steady, 100), intervals(rows, mixed, 100)
    assert narrow["srcc"][0] <= summary(rows, steady)["srcc"] <= narrow["srcc"][1]
    assert np.diff(wide["srcc"]) > np.diff(narrow["srcc"])


def test_uncertainty_that_equals_the_error_correlates_with_it() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 100, 200)
    spread = rng.uniform(1, 20, 200)
    scores = labels + spread * rng.choice([-1, 1], 200)
    levels = [min(4, int(label // 20)) for label in labels]
    good = calibration(labels, scores, spread, levels)
    assert good["uncertainty_vs_error"] == pytest.approx(1)
    assert good["error_certain_fifth"] < good["error_rest"]
    assert good["level_accuracy"] == 1
    assert abs(calibration(labels, scores, rng.permutation(spread), levels)["uncertainty_vs_error"]) < 0.3


def test_cross_validation_never_scores_a_person_that_it_was_fitted_on() -> None:
    rows = [{"person": str(i % 7)} for i in range(40)]

    def fit_and_score(inside: list[int], outside: list[int]) -> list[float]:
        assert not {rows[i]["person"] for i in inside} & {rows[i]["person"] for i in outside}
        return [float(i) for i in outside]

    assert cross_validated(rows, fit_and_score, 5).tolist() == list(range(40))


def test_equal_scores_are_not_in_order() -> None:
    rows = [{"content": "a", "kind": "x264", "step": step} for step in range(3)]
    assert ladder_order(rows, [50, 50, 40]) == (1, 2)


def test_the_logistic_fit_undoes_a_logistic() -> None:
    scores = np.linspace(0, 100, 40)
    labels = 10 + 80 / (1 + np.exp(-(scores - 50) / 12))
    assert np.abs(logistic_fit(scores, labels) - labels).max() < 0.5


def test_no_fold_is_fitted_for_nobody() -> None:
    asked = []

    def fit_and_score(inside: list[int], outside: list[int]) -> list[float]:
        asked.append(len(outside))
        return [0.0] * len(outside)

    cross_validated([{"person": name} for name in "aabbc"], fit_and_score, 5)
    assert sorted(asked) == [1, 2, 2]
    with pytest.raises(ValueError, match="all clips are of one person"):
        cross_validated([{"person": "a"}] * 3, fit_and_score, 5)


def test_contents_of_few_clips_have_intervals_too() -> None:
    rows = [{"content": "one", "kind": "rated", "step": 0, "mos": 50.0}]
    rows += [{"content": "many", "kind": "rated", "step": 0, "mos": 10.0 * step} for step in range(8)]
    scores = [10.0 * step + 3 for step in range(9)]
    assert intervals(rows, scores)["srcc"][1] == pytest.approx(1)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_figures_that_a_few_clips_do_not_have_have_no_interval_and_no_warning() -> None:
    rows = [{"content": str(place), "kind": "rated", "step": 0, "mos": 10.0 * place} for place in range(3)]
    assert np.isnan(intervals(rows, [5.0, 6.0, 8.0], 20)["ladders"]).all()


@pytest.mark.parametrize("clips", [0, 1, 2, 3, 4])
def test_what_too_few_clips_cannot_tell_is_null_in_json(clips: int) -> None:
    rows = [{"content": str(place), "kind": "rated", "step": 0, "mos": 10.0 * place} for place in range(clips)]
    figures = json.loads(json.dumps(without_nan(summary(rows, [5.0] * clips)), allow_nan=False))
    assert (figures["plcc"], figures["rmse"], figures["srcc_within"], figures["ladders"]) == (None,) * 4
    assert [figures[name] for name in ("srcc", "krcc", "srcc_vmaf")] == ([None] * 3 if clips < 3 else [0.0] * 3)


def test_two_clips_of_a_kind_tell_nothing_about_order() -> None:
    rows = [{"content": "a", "kind": kind, "step": step, "mos": 90.0 - step} for kind in ("x264", "blur") for step in range(2)]
    by_kind = summary(rows, [80.0, 20.0, 20.0, 80.0])["by_kind"]
    assert [np.isnan(by_kind[kind]["srcc"]) for kind in ("x264", "blur")] == [True, True], "they were 1 and -1"
    assert [by_kind[kind]["right"] for kind in ("x264", "blur")] == [1, 0]


@pytest.mark.filterwarnings("error")
def test_constant_scores_and_labels_have_no_order_and_raise_no_warning() -> None:
    some = [3.0, 80.0, 20.0, 41.0, 55.0, 7.0]
    for scores, labels in ((some, [50.0] * 6), ([50.0] * 6, some), ([50.0] * 6, [50.0] * 6)):
        figures = agreement(scores, labels, ["a"] * 6)
        assert [figures[name] for name in ("srcc", "krcc", "plcc", "srcc_within")] == [0.0] * 4
        assert np.isfinite(list(figures.values())).all()


def test_rank_correlations_with_ties_are_those_of_scipy() -> None:
    scores, labels = [10.0, 10.0, 30.0, 40.0, 40.0, 60.0], [20.0, 5.0, 30.0, 30.0, 50.0, 41.0]
    assert srcc(scores, labels) == stats.spearmanr(scores, labels).statistic
    assert krcc(scores, labels) == stats.kendalltau(scores, labels).statistic


@pytest.mark.filterwarnings("error")
def test_one_clip_has_no_rest_and_no_order_of_its_errors() -> None:
    figures = calibration([50.0], [40.0], [5.0], [2])
    assert figures["error_certain_fifth"] == 10
    assert [name for name, value in figures.items() if np.isnan(value)] == ["uncertainty_vs_error", "error_rest"]
