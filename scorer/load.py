"""Loads a model: its exported graph on a CPU, and its network in torch where there is a GPU or no graph."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Protocol

from scorer import model_check
from scorer.errors import ModelError
from scorer.find import SHIPPED, find_model
from scorer.registry import Registry
from scorer.runtime.graph import GRAPH_FILE, load_graph
from scorer.spec import ModelId, Scorer

GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Files in /dev that a GPU's driver makes: NVIDIA's, AMD's, and that of Windows' subsystem."""


class LoadedModel(Scorer, Protocol):
    """A model in this process. Its methods may be called from any thread, one at a time."""

    @property
    def statistics(self) -> int:
        """How many statistics of a clip the model takes."""

    def check(self) -> None:
        """Score a test clip; raises `ModelError` where the model cannot."""


def load_engine(model: str = "nano", device: str = "auto", registry: Registry | None = None) -> LoadedModel:
    """A model, after it has scored a test clip.

    model, registry: see `find_model`. device: "cpu", "cuda", or "auto" for the GPU where there is one. Raises `ModelError`
    that says what is wrong with the model or the device.
    """
    directory, identity = find_model(model, registry)
    loaded = _load(directory, identity, device)
    loaded.check()
    return loaded


def _load(directory: Path, identity: ModelId, device: str) -> LoadedModel:
    has_graph = (directory / GRAPH_FILE).exists()
    if not has_graph or device == "cuda" or (device == "auto" and may_have_gpu()):
        try:
            from scorer.engine import chosen_device, load_network
        except ImportError as error:
            reason = f"it has no {GRAPH_FILE}" if device != "cuda" else "device is set to cuda"
            need = f"so it needs torch, and {error.name} is not installed: pip install 'fvq-monitor[serve]'"
            raise ModelError(f"model {directory}: {reason}, {need}") from error
        chosen = chosen_device(device)
        if chosen.type != "cpu" or not has_graph:
            _check(directory, chosen.type)
            # What has a graph scores by it on a CPU, and gets the same scores on a GPU.
            return load_network(directory, identity, chosen, exact=has_graph)
    _check(directory, "graph")
    return load_graph(directory, identity)


def _check(directory: Path, how: str) -> None:
    if directory not in SHIPPED.values():
        # A second set of libraries takes seconds to load; the shipped models are as trusted as this code.
        model_check.check_model(directory, how)


def may_have_gpu() -> bool:
    """Whether it is worth to load torch to look for a GPU: that takes seconds, and the libraries may not be installed."""
    if importlib.util.find_spec("torch") is None:
        return False
    return any(True for pattern in GPU_DEVICES for _ in Path("/dev").glob(pattern))
