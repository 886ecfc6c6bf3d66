"""What a whole small model is to answer of its training clips, and how far its answers are from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorer.model.modeling import FVQRater, RaterOutput
from training.evaluation.agreement import Floats
from training.losses import across_content_rank, laplace_spread, level_of, score_loss
from training.nano.teacher import level_loss, level_targets

Row = dict[str, Any]


@dataclass(frozen=True)
class Targets:
    """What the samples are to be answered with. label: (N,) points; content: (N,) numbers; absolute: (N,) bool, as of
    `across_content_rank`; errors: (N,) points, or None; levels: (N, 5) a teacher's, or None; contents: the names of `content`."""

    label: Tensor
    content: Tensor
    absolute: Tensor
    errors: Tensor | None
    levels: Tensor | None
    contents: Sequence[str]

    @classmethod
    def of(cls, rows: Sequence[Row], errors: Floats | None) -> Targets:
        """Those of the label rows, one for each sample."""
        contents = [row["content"] for row in rows]
        number = {name: i for i, name in enumerate(sorted(set(contents)))}
        return cls(
            torch.tensor([row.get("target", row["mos"]) for row in rows], dtype=torch.float32),
            torch.tensor([number[name] for name in contents]),
            torch.tensor([row["absolute"] for row in rows]),
            None if errors is None else torch.as_tensor(errors, dtype=torch.float32),
            level_targets(rows),
            contents,
        )


def loss_of(network: FVQRater, streams: dict[str, Tensor], targets: Targets, places: Tensor, stage: int) -> Tensor:
    """The loss of a batch: the samples at those places, drawn as `streams`. stage: 1 teaches the level alone, 2 the score too."""
    label = targets.label[places]
    output: RaterOutput = network.answer(streams, level_of(label))
    assert output.answer_loss is not None
    loss = output.answer_loss
    if targets.levels is not None:
        loss = loss + level_loss(output.level_logits, targets.levels[places])
    if stage == 2:
        content, absolute = targets.content[places], targets.absolute[places]
        loss = loss + score_loss(output.score, label, content) + across_content_rank(output.score, label, content, absolute)
        if targets.errors is not None:
            loss = loss + 0.2 * laplace_spread(output.uncertainty, targets.errors[places])
    return loss
