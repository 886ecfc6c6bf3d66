"""The weights of a training that is through are kept in a file: one that is started again does not train it anew."""

from __future__ import annotations

from collections.abc import Callable
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
