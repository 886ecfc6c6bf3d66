"""Agreement figures and losses, on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.evaluate import ladder_order, logistic_fit, summary
from training.losses import laplace_spread, within_content_correlation, within_content_rank

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


def test_correlation_leaves_out_the_kinds_that_vmaf_is_blind_to_but_ladders_do_not() -> None:
    scores = [row["mos"] if row["kind"] == "x264" else 50 + row["step"] for row in ROWS]
    report = summary(ROWS, scores)
    assert report["srcc"] == pytest.approx(1)
    assert report["by_kind"]["noise"] == {"right": 0, "steps": 6}
    assert report["ladders"] == 0.5


def test_ties_are_not_in_order() -> None:
    rows = [{"content": "a", "kind": "x264", "step": step} for step in range(3)]
    assert ladder_order(rows, [50, 50, 40]) == (1, 2)


def test_the_logistic_undoes_a_logistic() -> None:
    scores = np.linspace(0, 100, 40)
    labels = 10 + 80 / (1 + np.exp(-(scores - 50) / 12))
    assert np.abs(logistic_fit(scores, labels) - labels).max() < 0.5


@given(st.lists(st.floats(0, 100), min_size=2, max_size=12))
def test_rank_loss_prefers_the_right_order(labels: list[float]) -> None:
    label = torch.tensor(labels)
    content = torch.zeros(len(labels), dtype=torch.long)
    right, wrong = within_content_rank(label, label, content), within_content_rank(100 - label, label, content)
    assert right <= wrong
    assert within_content_rank(label, label, torch.arange(len(labels))) == 0


def test_correlation_loss_sees_through_scale_and_offset() -> None:
    label, content = torch.tensor([10.0, 40, 70, 90]), torch.zeros(4, dtype=torch.long)
    assert within_content_correlation(5 + 0.3 * label, label, content) < 1e-4
    assert within_content_correlation(-label, label, content) > 1.9


def test_the_spread_is_learned_as_the_mean_absolute_error() -> None:
    label = torch.zeros(4000)
    prediction = torch.distributions.Laplace(0, 7.0).sample((4000,))
    spread = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.Adam([spread], lr=0.1)
    for _ in range(800):
        optimizer.zero_grad()
        laplace_spread(spread.abs() + 0.1, prediction, label).backward()
        optimizer.step()
    assert float(spread.detach()) + 0.1 == pytest.approx(7.0, rel=0.1)
