"""The figures of a benchmark, on clips whose answers are known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from training.evaluation.agreement import without_nan
from training.evaluation.judged import FIGURES, Judged

TRUTHS = {"reference": [97.0], "blur": [80.0, 60.0, 40.0, 20.0], "x264@noise-2": [50.0]}
PEOPLE = ("ada", "grace", "mary")


def row(person: str, kind: str, step: int, mos: float) -> dict[str, Any]:
    return {"person": person, "content": person, "scene": "plain 360p", "kind": kind, "step": step, "mos": mos}


ROWS = [row(person, kind, step, mos) for person in PEOPLE for kind, truths in TRUTHS.items() for step, mos in enumerate(truths)]
TRUE = np.array([row["mos"] for row in ROWS])


def test_the_truth_itself_is_perfect() -> None:
    figures = Judged(ROWS, TRUE.tolist(), [1.0] * len(ROWS), in_points=True).figures()
    order = ("pairs_15_30", "pairs_30_50", "pairs_50_100", "ladders", "within_median", "within_worst", "srcc", "coverage")
    assert [figures[name] for name in order] == pytest.approx([1.0] * len(order))
    assert figures["reference_sd"] == figures["mae"] == figures["double_mae"] == 0
    assert figures["reference_lowest"] == 97
    assert figures["drop"] == 77


def test_a_person_who_is_judged_lower_is_seen_between_people_only() -> None:
    shift = np.array([-25.0 if row["person"] == "mary" else 0.0 for row in ROWS])
    judged = Judged(ROWS, (TRUE + shift).tolist(), np.abs(shift).tolist(), in_points=True)
    figures = judged.figures()
    assert figures["reference_lowest"] == 72
    assert figures["reference_sd"] == pytest.approx(np.std([97, 97, 72], ddof=1))
    assert figures["within_worst"] == figures["ladders"] == 1
    # Six pairs of truths are 17 to 30 points apart. Where Mary is the better one, the four under 25 points are in wrong order.
    assert figures["pairs_15_30"] == pytest.approx((12 + 8 + 8) / 36)
    assert figures["pairs_30_50"] == figures["pairs_50_100"] == 1
    assert figures["double_mae"] == pytest.approx(25 / 3)
    assert figures["coverage"] == 1
    assert figures["error_certain_fifth"] == 0
    assert judged.by_person()["mary"] == {"reference": 72.0, "within": 1.0}
    scene = {"clips": len(ROWS), "reference": pytest.approx(266 / 3), "mae": pytest.approx(25 / 3)}
    assert judged.by_scene() == {"plain": scene, "360p": scene}


def test_equal_scores_are_in_no_order() -> None:
    judged = Judged(ROWS, [50.0] * len(ROWS), None, in_points=True)
    figures = judged.figures()
    assert figures["ladders"] == figures["pairs_50_100"] == figures["srcc"] == figures["drop"] == 0
    assert math.isnan(figures["coverage"])
    assert judged.by_ladder() == {"blur": {"order": 0.0, "drop": 0.0}}


def test_the_worst_person_has_a_place_in_the_table() -> None:
    scores = [100 - row["mos"] if row["person"] == "grace" else row["mos"] for row in ROWS]
    figures = Judged(ROWS, scores, None, in_points=True).figures()
    assert (figures["within_median"], figures["within_worst"]) == (1.0, -1.0)
    assert figures["ladders"] == pytest.approx(2 / 3)


def test_scores_of_another_scale_have_an_order_only() -> None:
    judged = Judged(ROWS, (TRUE / 1000).tolist(), None, in_points=False)
    figures = judged.figures()
    assert [figures["srcc"], figures["pairs_15_30"]] == pytest.approx([1, 1])
    assert all(math.isnan(figures[name]) for name in ("reference_sd", "drop", "mae", "double_mae"))
    assert math.isnan(judged.by_ladder()["blur"]["drop"])
    assert math.isnan(judged.by_scene()["plain"]["mae"])


def test_intervals_are_over_people() -> None:
    scores = TRUE + np.array([-25.0 if row["person"] == "mary" else 0.0 for row in ROWS])
    spread = Judged(ROWS, scores.tolist(), None, in_points=True).intervals(repeats=100)
    assert set(spread) == set(FIGURES)
    assert spread["mae"] == (0.0, 25.0)
    assert spread["reference_lowest"] == (72.0, 97.0)
    assert spread["ladders"] == (1.0, 1.0)


def test_a_person_without_an_undamaged_clip_takes_no_figure_from_the_others() -> None:
    rows = [row for row in ROWS if row["person"] != "mary" or row["kind"] != "reference"]
    figures = Judged(rows, [row["mos"] for row in rows], None, in_points=True).figures()
    assert (figures["reference_sd"], figures["reference_lowest"]) == (0.0, 97.0)
    of_mary = [row for row in rows if row["person"] == "mary"]
    assert math.isnan(Judged(of_mary, [row["mos"] for row in of_mary], None, in_points=True).figures()["reference_lowest"])


def test_of_one_person_nothing_is_said_between_people() -> None:
    rows = ROWS[: len(ROWS) // 3]
    judged = Judged(rows, TRUE[: len(rows)].tolist(), None, in_points=True)
    figures = judged.figures()
    assert math.isnan(figures["pairs_15_30"])
    assert math.isnan(figures["reference_sd"])
    assert all(math.isnan(end) for end in judged.intervals(repeats=5)["pairs_50_100"])
    assert without_nan({"figures": [figures["reference_sd"], 1.0]}) == {"figures": [None, 1.0]}
