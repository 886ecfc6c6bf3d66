"""Adapters: all of peft. LoRA on the vision encoder and the language model, with projectors, statistics and head whole.

An adapter directory holds those weights, the configuration that they were trained with, the sampler's specification, and
which base they belong to; `load_adapter` merges them into the base, so that a tuned model costs no more than the base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from torch import nn

from scorer.errors import ModelError
from scorer.model.bases import LOADING_ERRORS, Base, fingerprint, load_base
from scorer.model.configuration import FVQRaterConfig
from scorer.model.modeling import FVQRater

WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Lora:
    """The low-rank part of an adapter (Hu et al., ICLR 2022)."""

    targets: str
    """Regular expression that the whole name of a module has to match: names differ by tower."""
    rank: int = 8
    alpha: float = 16.0
    """The update counts alpha / rank times."""
    dropout: float = 0.05


def attach(network: FVQRater, lora: Lora) -> PeftModel:
    """The network with a fresh adapter, which alone is trainable; it scores as before until it is trained.

    What an adapter holds whole becomes float32, for sums of small steps are lost in half precision. Raises `ModelError`
    where the targets match nothing in the vision encoder or nothing in the language model.
    """
    whole = whole_parts(network)
    for name in whole:
        network.get_submodule(name).float()
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        modules_to_save=whole,
    )
    try:
        tuned = get_peft_model(network, config)
    except ValueError as error:
        raise ModelError(f"lora.targets: {error}") from error
    adapted = [name for name, _ in tuned.named_parameters() if "lora_" in name]
    for tower in ("vision_model", "language_model"):
        if not any(f".{tower}." in name for name in adapted):
            raise ModelError(f"lora.targets: {lora.targets!r} matches nothing in the {tower}")
    return tuned


def whole_parts(network: FVQRater) -> list[str]:
    """Names of the modules that an adapter holds whole. Of the statistics those are a batch norm's running figures."""
    # peft takes every module whose name ends so: plain "head" would be the language model's "lm_head" as well.
    layers = [f"head.{place}" for place, layer in enumerate(network.head) if list(layer.parameters())]
    return [*layers, "standardise", *(f"projectors.{name}" for name in network.config.streams)]


def keep_norms(network: nn.Module) -> None:
    """Put the batch norms into eval mode: what they run along is not in an adapter, and the base would drift away from it."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def save_adapter(tuned: PeftModel, directory: Path, base: Base) -> None:
    """Write adapter, configuration and base (with its fingerprint) into a directory; the sampler's spec is the caller's."""
    network: FVQRater = tuned.get_base_model()
    tuned.peft_config["default"].base_model_name_or_path = base.model
    tuned.peft_config["default"].inference_mode = True
    # The embeddings are never trained; peft would ask the hub for the base's configuration to make sure.
    tuned.save_pretrained(directory, save_embedding_layers=False)
    # peft's own card has nothing to say; ours is written beside the metrics.
    (directory / "README.md").unlink(missing_ok=True)
    network.config.save_pretrained(directory)
    replace(base, fingerprint=fingerprint(network)).save(directory)


def load_adapter(directory: Path, dtype: torch.dtype = torch.float32) -> FVQRater:
    """The base of an adapter with the adapter merged into it, in eval mode.

    Raises `ModelError` where the base is not the one that the adapter was trained on, or weights are missing.
    """
    base = Base.load(directory)
    config = FVQRaterConfig.from_pretrained(directory) if (directory / "config.json").exists() else None
    network = load_base(base, dtype, config)
    try:
        tuned = PeftModel.from_pretrained(network, directory, local_files_only=True, use_safetensors=True)
        with safe_open(directory / WEIGHTS_FILE, "pt") as weights:
            # peft says little of low-rank weights that are not there: they would be left to chance.
            wrong = sorted(set(get_peft_model_state_dict(tuned, save_embedding_layers=False)) ^ set(weights.keys()))
    except LOADING_ERRORS as error:
        raise ModelError(f"adapter {directory}: {error}") from error
    if wrong:
        raise ModelError(f"adapter {directory}: its weights do not fit its configuration: {wrong[:3]}")
    merged: FVQRater = tuned.merge_and_unload()
    return merged.to(dtype).eval()
