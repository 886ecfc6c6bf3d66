"""Tensors that take long to make are kept in a file: a run that was killed and is started again does not make them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def kept_tensors(file: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in a `.safetensors` file; where there is none, they are made. It is whole or not there, also after a kill."""
    if not file.exists():
        part = file.with_suffix(".part")
        save_file(make(), part)
        part.rename(file)
    return load_file(file)
