"""What a training that is started again does not do again: each part of it is kept in a file once it is through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scorer.model.modeling import FVQRater


def kept_weights(file: Path, training: Callable[[], FVQRater]) -> dict[str, Tensor]:
    """The weights of a training, by their names in the network."""
    if not file.exists():
        weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in training().state_dict().items()}
        part = file.with_suffix(".part")
        save_file(weights, part)
        part.rename(file)
    return load_file(file)


def kept_scores(file: Path, scores: Callable[[], Iterable[float]]) -> list[float]:
    """The scores of a model, in points, in the order in which it gave them."""
    if not file.exists():
        part = file.with_suffix(".part")
        part.write_text(json.dumps(list(scores())))
        part.rename(file)
    return list(json.loads(file.read_text()))
