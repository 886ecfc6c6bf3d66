"""Losses, on data whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import across_content_rank, laplace_spread, within_content_correlation, within_content_rank


@given(st.lists(st.floats(0, 100), min_size=2, max_size=12))
def test_rank_loss_is_lower_for_the_right_order(labels: list[float]) -> None:
    label = torch.tensor(labels)
    content = torch.zeros(len(labels), dtype=torch.long)
    right, wrong = within_content_rank(label, label, content), within_content_rank(100 - label, label, content)
    assert right <= wrong
    assert within_content_rank(label, label, torch.arange(len(labels))) == 0


def test_contents_are_ranked_where_their_labels_mean_the_same() -> None:
    label, content = torch.tensor([90.0, 30, 92]), torch.tensor([0, 1, 1])
    everywhere, nowhere = torch.ones(3, dtype=torch.bool), torch.tensor([True, False, False])
    right, wrong = (
        across_content_rank(label, label, content, everywhere),
        across_content_rank(100 - label, label, content, everywhere),
    )
    assert right < 0.1 < wrong
    # The first and the last differ by less than the margin, the last two are of one content: one pair is left.
    assert float(wrong) == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(60 / 8))))
    assert across_content_rank(100 - label, label, content, nowhere) == 0


def test_correlation_loss_ignores_scale_and_offset() -> None:
    label, content = torch.tensor([10.0, 40, 70, 90]), torch.zeros(4, dtype=torch.long)
    assert within_content_correlation(5 + 0.3 * label, label, content) < 1e-4
    assert within_content_correlation(-label, label, content) > 1.9


def test_the_spread_is_learned_as_the_mean_absolute_error() -> None:
    torch.manual_seed(0)
    error = torch.distributions.Laplace(0, 7.0).sample((4000,)).abs()
    spread = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.Adam([spread], lr=0.1)
    for _ in range(800):
        optimizer.zero_grad()
        laplace_spread(spread.abs() + 0.1, error).backward()
        optimizer.step()
    assert float(spread.detach()) + 0.1 == pytest.approx(7.0, rel=0.1)
