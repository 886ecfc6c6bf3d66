"""Exports a model's network as a graph that runs without torch, and compares the two.

    python -m scorer.runtime.export DIRECTORY

It is done where a model is made: at the end of a training, and at a promotion for a model that has no graph yet.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorer.answer import trial_clip
from scorer.engine import collate, load_network
from scorer.errors import ModelError
from scorer.find import version_of
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.runtime.graph import GRAPH_FILE, OUTPUTS, load_graph
from scorer.spec import ModelId, ModelInput

MOST_WEIGHTS = 50_000_000
"""A larger network is a large model's, which belongs on a GPU and gets no graph. nano has 1.2 million."""

OPSET = 18

TRIALS = 8
"""Made-up clips on which graph and network are compared."""

MOST_DIFFERENCE = 0.01
"""Points by which the scores of the graph and of the network may differ."""


class _Outputs(nn.Module):
    """The network with the outputs of a graph."""

    def __init__(self, network: FVQRater) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(ClipBatch(*inputs))
        return output.score, output.uncertainty, output.level_logits.softmax(dim=1)


def remove_results(directory: Path) -> None:
    """Remove a model's graph, figures and card before new weights are written.

    A run that is killed then leaves none of those before, which would be served and published as the new weights'.
    """
    for name in (GRAPH_FILE, "metrics.json", "README.md"):
        (directory / name).unlink(missing_ok=True)


def export_graph(directory: Path) -> Path | None:
    """Make sure that a model, or an adapter merged into its base, has a graph in its directory; returns the graph's path.

    A graph that is there is only compared with the network. None where the model is too large for a graph to be of use. Raises
    `ModelError` where the network cannot be exported, or the graph's scores are not the network's.
    """
    path = directory / GRAPH_FILE
    identity = ModelId(directory.name, version_of(directory))
    engine = load_network(directory, identity, torch.device("cpu"))
    if sum(weight.numel() for weight in engine.network.parameters()) > MOST_WEIGHTS:
        return None
    clips = [trial_clip(engine.spec, engine.statistics, seed) for seed in range(TRIALS)]
    expected = engine.score(clips)
    if not path.exists():
        partial = path.with_name(f".{GRAPH_FILE}")
        try:
            _export(engine.network, clips[0], partial)
        except Exception as error:  # what the exporter raises for an operation that it does not know
            partial.unlink(missing_ok=True)
            raise ModelError(f"model {directory}: its network cannot be exported as a graph: {error}") from error
        partial.replace(path)
    for made, known in zip(load_graph(directory, identity).score(clips), expected, strict=True):
        if max(abs(made.score - known.score), abs(made.uncertainty - known.uncertainty)) > MOST_DIFFERENCE:
            reason = f"its {GRAPH_FILE} scores {made.score} where its network scores {known.score}: remove it, it is made anew"
            raise ModelError(f"model {directory}: {reason}")
    return path


def _export(network: FVQRater, clip: ModelInput, path: Path) -> None:
    names = [field.name for field in fields(ClipBatch)]
    batch = collate([clip], network.device)
    # The exporter knows no attention but this one, which gives the same numbers up to rounding.
    network.language_model.set_attn_implementation("eager")
    hook = network.language_model.get_decoder().register_forward_pre_hook(_with_mask, with_kwargs=True)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter warns of shapes that it takes as constants. A clip's shapes are constant: its specification says them.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Outputs(network).eval(),
                tuple(getattr(batch, name) for name in names),
                path,
                input_names=names,
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=False,
            )
    finally:
        hook.remove()


def _with_mask(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The decoder's arguments with mask and positions: what transformers makes itself has an operation that no graph has."""
    length = options["inputs_embeds"].shape[1]
    mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
    return arguments, options | {"attention_mask": {"full_attention": mask}, "position_ids": torch.arange(length)[None]}


if __name__ == "__main__":
    print(export_graph(Path(sys.argv[1])))
