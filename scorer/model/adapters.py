"""Adapters: LoRA on the vision encoder and the language model; projectors, standardisation and head held whole.

An adapter directory holds those weights, the configuration that they were trained with, the sampler's specification, and
the base that they belong to. `load_adapter` merges them into the base, so that a tuned model costs no more than the base.
This is the only module that imports peft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from torch import nn

from scorer.errors import ModelError
from scorer.model.bases import LOADING_ERRORS, META, Base, fingerprint, load_base
from scorer.model.configuration import FVQRaterConfig
from scorer.model.modeling import FVQRater
from scorer.model_files import check_patterns, share_weights

AdaptedRater: TypeAlias = PeftModel
"""An FVQ-Rater with an adapter attached, as `attach` returns it. It is called as an `FVQRater` is."""

WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Lora:
    """The low-rank part of an adapter (Hu et al., ICLR 2022)."""

    targets: str
    """Regular expression that the whole name of a module has to match: names differ by tower."""
    rank: int = 8
    alpha: float = 16.0
    """The update is multiplied by alpha / rank."""
    dropout: float = 0.05


def attach(network: FVQRater, lora: Lora) -> AdaptedRater:
    """The network with a fresh adapter, which alone is trainable; it scores as before until it is trained.

    The modules that an adapter holds whole become float32: half precision would lose small steps of training. Raises
    `ModelError` where the targets match nothing in the vision encoder or nothing in the language model.
    """
    whole = _whole_modules(network)
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
        adapted = get_peft_model(network, config)
    except ValueError as error:
        first, *rest = str(error).splitlines()  # between them peft prints all layers of the module
        raise ModelError(f"lora.targets: {first}{' ... ' + rest[-1] if rest else ''}") from error
    low_rank = [name for name, _ in adapted.named_parameters() if "lora_" in name]
    for tower in ("vision_model", "language_model"):
        if not any(f".{tower}." in name for name in low_rank):
            raise ModelError(f"lora.targets: {lora.targets!r} matches nothing in the {tower}")
    return adapted


def save_adapter(adapted: AdaptedRater, directory: Path, base: Base) -> None:
    """Write adapter, configuration and base (with its fingerprint) into a directory; the caller saves the sampler's spec."""
    network = network_of(adapted)
    adapted.peft_config["default"].base_model_name_or_path = base.model
    adapted.peft_config["default"].inference_mode = True
    # save_embedding_layers=False: embeddings are never trained, and to find that out peft would ask the hub for the base.
    adapted.save_pretrained(directory, save_embedding_layers=False)
    # peft writes an empty model card; training writes its own.
    (directory / "README.md").unlink(missing_ok=True)
    network.config.save_pretrained(directory)
    share_weights(directory)
    replace(base, fingerprint=fingerprint(network)).save(directory)


def load_adapter(directory: Path, dtype: torch.dtype = torch.float32) -> FVQRater:
    """The base of an adapter with the adapter merged into it, in eval mode.

    Raises `ModelError` where the base is not the one that the adapter was trained on, or weights are missing.
    """
    base = Base.load(directory)
    config = FVQRaterConfig.from_pretrained(directory) if (directory / "config.json").exists() else None
    # The maker of the directory chose the base: it must be on this machine, and nothing is fetched that nobody asked for by name.
    network = load_base(base, dtype, config, local=True)
    try:
        _check_config(PeftConfig.from_pretrained(directory, local_files_only=True), network)
        adapted = PeftModel.from_pretrained(network, directory, local_files_only=True, use_safetensors=True)
        with safe_open(directory / WEIGHTS_FILE, "pt") as weights:
            # peft does not refuse a file without some of the low-rank weights: they would stay random.
            wrong = sorted(set(get_peft_model_state_dict(adapted, save_embedding_layers=False)) ^ set(weights.keys()))
    except LOADING_ERRORS as error:
        raise ModelError(f"adapter {directory}: {error}") from error
    if wrong:
        raise ModelError(f"adapter {directory}: its weights do not fit its configuration: {wrong[:3]}")
    merged: FVQRater = adapted.merge_and_unload()
    return merged.to(dtype).eval()


def adapter_shapes(directory: Path) -> FVQRater:
    """As `load_adapter`, with shapes and no numbers: the base and the adapter's layers on the device "meta", not merged."""
    base = Base.load(directory)
    config = FVQRaterConfig.from_pretrained(directory) if (directory / "config.json").exists() else None
    network = load_base(base, config=config, local=True, device=META)
    lora = PeftConfig.from_pretrained(directory, local_files_only=True)
    _check_config(lora, network)
    with torch.device(META):
        adapted = get_peft_model(network, lora)
    wanted = {
        name: list(tensor.shape) for name, tensor in get_peft_model_state_dict(adapted, save_embedding_layers=False).items()
    }
    with safe_open(directory / WEIGHTS_FILE, "pt") as weights:
        stored = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - it is no dictionary
    if wrong := sorted(name for name in wanted.keys() | stored.keys() if wanted.get(name) != stored.get(name)):
        raise ModelError(
            f"its weights do not fit base {base.model} ({wrong[0]}): it was trained on another version of the base, or its "
            "configuration is not its own; train it again on this base"
        )
    return network_of(adapted).eval()


def _check_config(config: PeftConfig, network: FVQRater) -> None:
    """Raise ValueError or `ModelError` where an adapter is of a kind that is not made here, or its patterns do not end."""
    # Other kinds load a tokenizer from the hub, or a module by its name.
    if not isinstance(config, LoraConfig) or config.megatron_config is not None:
        raise ValueError(f"it is of the kind {config.peft_type}; only LoRA is loaded")
    if not isinstance(config.init_lora_weights, bool):
        # Other beginnings are computed before the adapter's weights take their place: pissa's take half an hour on a large base.
        raise ValueError(f"its init_lora_weights is {config.init_lora_weights!r}; only true and false are loaded")
    patterns = [*(config.rank_pattern or {}), *(config.alpha_pattern or {})]
    for named in (config.target_modules, config.exclude_modules, config.layers_pattern):
        patterns += [named] if isinstance(named, str) else list(named or ())
    check_patterns(patterns, [name for name, _ in network.named_modules()])


def network_of(adapted: AdaptedRater) -> FVQRater:
    """The FVQ-Rater to which the adapter is attached, with the adapter's layers in it."""
    network: FVQRater = adapted.get_base_model()
    return network


def is_adapter_weight(name: str) -> bool:
    """Whether the parameter or buffer of this name in an `AdaptedRater` belongs to the adapter and not to the base."""
    return "lora_" in name or "modules_to_save" in name


def train_only(adapted: AdaptedRater, whole: Sequence[str], lora: bool) -> None:
    """Let only some of the adapter's parameters require gradients.

    whole: the attributes of `FVQRater` whose trained copies do ("projectors", "head"). lora: whether the low-rank ones do.
    """
    for name, parameter in adapted.named_parameters():
        in_whole = "modules_to_save" in name and any(f".{part}." in name for part in whole)
        parameter.requires_grad_(in_whole or (lora and "lora_" in name))


def trained_copy(module: nn.Module) -> nn.Module:
    """The copy that is trained of a module that the adapter holds whole, e.g. of `network_of(adapted).head[-1]`."""
    copies: nn.ModuleDict = module.modules_to_save  # type: ignore[assignment]
    return copies["default"]


def keep_norms(network: nn.Module) -> None:
    """Put the batch norms into eval mode while the rest trains.

    Their running means are no part of an adapter: if they moved, the merged model would differ from the trained one.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _whole_modules(network: FVQRater) -> list[str]:
    """Names of the modules that an adapter holds whole. `standardise` is among them for its running mean and variance."""
    # peft takes every module whose name ends like this: plain "head" would match the language model's "lm_head" too.
    layers = [f"head.{place}" for place, layer in enumerate(network.head) if list(layer.parameters())]
    return [*layers, "standardise", *(f"projectors.{name}" for name in network.config.streams)]
