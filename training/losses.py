"""The losses of score and uncertainty; scores and labels are (B,) on the scale 0-100."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scorer.spec import LEVEL_WIDTH, LEVELS

RANK_SCALE = 8.0
"""Points. The difference of a pair's scores is divided by it before the softplus."""

WITHIN_MARGIN = 2.0
"""Points by which the labels of a pair of one content must differ to count."""

ACROSS_MARGIN = 15.0
"""The same for two contents: more than measures err from one content to another."""


def level_of(label: Tensor) -> Tensor:
    """The level of each label, 0-4."""
    return (label // LEVEL_WIDTH).clamp(max=len(LEVELS) - 1).long()


def within_content_rank(prediction: Tensor, label: Tensor, content: Tensor) -> Tensor:
    """Mean softplus of how far pairs of one content are from the right order; 0 without a pair.

    content: (B,) integers. Only pairs of the same content whose labels differ by more than `WITHIN_MARGIN` count: labels
    of different contents cannot be compared where VMAF judged each against its own reference.
    """
    better = label[:, None] - label[None, :] > WITHIN_MARGIN
    pairs = better & (content[:, None] == content[None, :])
    return _rank_loss(prediction, pairs)


def across_content_rank(prediction: Tensor, label: Tensor, content: Tensor, absolute: Tensor) -> Tensor:
    """Mean softplus of how far pairs of different contents are from the right order; 0 without a pair.

    content: (B,) integers. absolute: (B,) bool, whether a label is against a flawless reference (`training.data.labels`): only
    those mean the same for all contents. Only pairs whose labels differ by more than `ACROSS_MARGIN` count.
    """
    better = label[:, None] - label[None, :] > ACROSS_MARGIN
    pairs = better & (content[:, None] != content[None, :]) & absolute[:, None] & absolute[None, :]
    return _rank_loss(prediction, pairs)


def _rank_loss(prediction: Tensor, pairs: Tensor) -> Tensor:
    """pairs: (B, B) bool, True at [i, j] where clip i is better than clip j."""
    if not pairs.any():
        return prediction.new_zeros(())
    difference = prediction[:, None] - prediction[None, :]
    return functional.softplus(-difference[pairs] / RANK_SCALE).mean()


def within_content_correlation(prediction: Tensor, label: Tensor, content: Tensor) -> Tensor:
    """1 - Pearson correlation, the mean over contents with at least 3 clips; 0 without such a content."""
    losses = []
    for name in content.unique():
        x, y = prediction[content == name], label[content == name]
        if len(x) < 3 or y.std() < 1:
            continue
        x, y = x - x.mean(), y - y.mean()
        losses.append(1 - (x * y).sum() / (x.norm() * y.norm() + 1e-6))
    return torch.stack(losses).mean() if losses else prediction.new_zeros(())


def score_loss(prediction: Tensor, label: Tensor, content: Tensor) -> Tensor:
    """The paper's L1 of stage II in levels, plus the losses of order and of correlation within each content."""
    return (
        functional.l1_loss(prediction, label) / LEVEL_WIDTH
        + within_content_rank(prediction, label, content)
        + 0.5 * within_content_correlation(prediction, label, content)
    )


def unsteadiness(prediction: Tensor, clip: Tensor) -> Tensor:
    """Mean over the clips of the standard deviation of their windows' scores, in levels.

    clip: (B,) integers, the clip of each window. A deviation rather than a mean difference: one window far from the others is
    what raises an alert.
    """
    deviations = []
    for number in clip.unique():
        scores = prediction[clip == number]
        # The root has no gradient at 0, where all windows score alike.
        deviations.append((scores.var(correction=0) + 0.01).sqrt())
    return torch.stack(deviations).mean() / LEVEL_WIDTH


def laplace_spread(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Negative log likelihood of absolute errors under a Laplace distribution, without its constant.

    uncertainty: (B,) the distribution's mean absolute error, points. error: (B,) absolute errors, points.
    """
    return (error / uncertainty + uncertainty.log()).mean()
