"""The losses of score and uncertainty; scores and labels are (B,) on the scale 0-100."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def within_content_rank(prediction: Tensor, label: Tensor, content: Tensor, margin: float = 2.0, scale: float = 8.0) -> Tensor:
    """Mean softplus of how far pairs of one content are from the right order; 0 without a pair.

    content: (B,) integers. Only pairs of the same content whose labels differ by more than `margin` points count: labels of
    different contents cannot be compared where VMAF judged each against its own reference. scale: points.
    """
    better = label[:, None] - label[None, :] > margin
    pairs = better & (content[:, None] == content[None, :])
    if not pairs.any():
        return prediction.new_zeros(())
    difference = prediction[:, None] - prediction[None, :]
    return functional.softplus(-difference[pairs] / scale).mean()


def across_content_rank(
    prediction: Tensor, label: Tensor, content: Tensor, absolute: Tensor, margin: float = 15.0, scale: float = 8.0
) -> Tensor:
    """Mean softplus of how far pairs of different contents are from the right order; 0 without a pair.

    content: (B,) integers. absolute: (B,) bool, whether a label is against a flawless reference (`training.data.labels`): only
    those mean the same for all contents. margin: points by which the labels of a pair must differ, more than measures err
    from one content to another. scale: points.
    """
    better = label[:, None] - label[None, :] > margin
    pairs = better & (content[:, None] != content[None, :]) & absolute[:, None] & absolute[None, :]
    if not pairs.any():
        return prediction.new_zeros(())
    difference = prediction[:, None] - prediction[None, :]
    return functional.softplus(-difference[pairs] / scale).mean()


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
    """The paper's L1 of stage II in levels (20 points), plus the losses of order and of correlation within each content."""
    return (
        functional.l1_loss(prediction, label) / 20
        + within_content_rank(prediction, label, content)
        + 0.5 * within_content_correlation(prediction, label, content)
    )


def unsteadiness(prediction: Tensor, clip: Tensor) -> Tensor:
    """Mean over the clips of the standard deviation of their windows' scores, in levels (20 points).

    clip: (B,) integers, the clip of each window. A deviation rather than a mean difference: one window far from the others is
    what raises an alert.
    """
    deviations = []
    for number in clip.unique():
        scores = prediction[clip == number]
        # The root has no gradient at 0, where all windows score alike.
        deviations.append((scores.var(correction=0) + 0.01).sqrt())
    return torch.stack(deviations).mean() / 20


def laplace_spread(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Negative log likelihood of absolute errors under a Laplace distribution, without its constant.

    uncertainty: (B,) the distribution's mean absolute error, points. error: (B,) absolute errors, points.
    """
    return (error / uncertainty + uncertainty.log()).mean()
