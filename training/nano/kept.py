"""Tokens of all pictures, kept where the vision encoder stays as it is: a step of training then takes a fifth of the time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from scorer.model.modeling import FVQRater
from training.data.samples import ENCODE_BATCH, Samples
from training.nano.draw import PICTURES
from training.recipe import NanoRecipe

KeptTokens = Mapping[str, Tensor]
"""By stream of pictures: (N, 2, K, 1, width), the tokens of each clip's K pictures, as they are and mirrored."""


@torch.inference_mode()
def kept_tokens(network: FVQRater, samples: Samples) -> KeptTokens:
    """The vision encoder's tokens of all samples."""
    network.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in PICTURES}
    for first in tqdm(range(0, len(samples), ENCODE_BATCH), desc="pictures", disable=None):
        batch = samples.batch(range(first, min(first + ENCODE_BATCH, len(samples))))
        for name, tokens in found.items():
            images = getattr(batch, name)
            both = torch.stack([images, images.flip(3)], dim=1)
            tokens.append(network._vision(both.flatten(0, 1), network.config.vision_normalisation).unflatten(0, (-1, 2)))
    # A copy, because what is made in inference mode cannot be trained through.
    return {name: torch.cat(tokens).clone() for name, tokens in found.items()}


def drawn_tokens(kept: KeptTokens, places: Tensor, recipe: NanoRecipe) -> dict[str, Tensor]:
    """The tokens of those samples with the recipe's noise and dropout, for `FVQRater.encode`; torch's generator draws.

    Half of the clips have one of their pictures in all places, so that the network does not need the others.
    """
    count = len(places)
    mirrored = torch.randint(2, (count,))
    known = {}
    for name, tokens in kept.items():
        shown = tokens[places, mirrored]
        shown = shown + recipe.image_noise * torch.randn_like(shown)
        if recipe.image_dropout:
            one = shown[torch.arange(count), torch.randint(shown.shape[1], (count,))][:, None].expand_as(shown)
            shown = torch.where(torch.rand(count, 1, 1, 1) < 0.5, one, shown)
        known[name] = shown * (torch.rand(count, 1, 1, 1) >= recipe.image_dropout)
    return known
