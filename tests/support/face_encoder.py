"""A face encoder as on a hub: a directory with timm's configuration and random weights."""

from __future__ import annotations

import json
from pathlib import Path

import timm
from safetensors.torch import save_file

ARCHITECTURE = "vit_tiny_patch16_224"


def save_face_encoder(folder: Path, side: int, width: int, depth: int, heads: int) -> str:
    """Make a vision transformer for crops of side x side px, in patches of 8 px, in a new folder; returns the folder."""
    shape = {"img_size": side, "patch_size": 8, "embed_dim": width, "depth": depth, "num_heads": heads}
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "model_args": shape,
        "pretrained_cfg": {"input_size": [3, side, side], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    network = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **shape)
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)
