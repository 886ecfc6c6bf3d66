"""What the vision encoder's frozen blocks say of all pictures, kept: a training step then takes a fraction of the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scorer.model.modeling import FVQRater
from training.data.progress import Progress
from training.data.samples import ENCODE_BATCH, Samples
from training.nano.draw import PICTURES
from training.recipe import MOST_BLOCKS, NanoRecipe


@dataclass(frozen=True)
class Kept:
    """By stream of pictures, of each clip's K pictures in V views: as they are and, where all blocks are frozen, mirrored.

    blocks: how many of the encoder's blocks are frozen. pooled: (N, V, K, P) float32, their means and deviations. maps: (N, V, K,
    C, S, S) float16, the last one's output, from which the others go on: 0.4 MB a clip with 2 of 5 blocks.
    """

    blocks: int
    pooled: Mapping[str, Tensor]
    maps: Mapping[str, Tensor]

    def drawn(self, network: FVQRater, places: Tensor, recipe: NanoRecipe) -> dict[str, Tensor]:
        """Tokens of those samples with the recipe's noise and dropout, for `FVQRater.encode`; torch's generator draws.

        Half of the clips have one of their pictures in all places, so that the network does not need the others.
        """
        count = len(places)
        view = torch.randint(next(iter(self.pooled.values())).shape[1], (count,))
        known = {}
        for name, pooled in self.pooled.items():
            shown = self._tokens(network, pooled[places, view], self.maps[name][places, view])
            shown = shown + recipe.image_noise * torch.randn_like(shown)
            if recipe.image_dropout:
                one = shown[torch.arange(count), torch.randint(shown.shape[1], (count,))][:, None].expand_as(shown)
                shown = torch.where(torch.rand(count, 1, 1, 1) < 0.5, one, shown)
            known[name] = shown * (torch.rand(count, 1, 1, 1) >= recipe.image_dropout)
        return known

    def served(self, network: FVQRater, places: Tensor) -> dict[str, Tensor]:
        """Tokens of those samples as a model sees them that serves, for `FVQRater.encode`."""
        return {
            name: self._tokens(network, pooled[places, 0], self.maps[name][places, 0]) for name, pooled in self.pooled.items()
        }

    def _tokens(self, network: FVQRater, pooled: Tensor, maps: Tensor) -> Tensor:
        """(B, K, 1, width) of the pictures, through the blocks that are trained."""
        tokens: Tensor = network.vision_model.finish(maps.flatten(0, 1).float(), pooled.flatten(0, 1), self.blocks)
        return tokens.unflatten(0, pooled.shape[:2])


@torch.inference_mode()
def kept_pictures(network: FVQRater, samples: Samples, blocks: int) -> Kept:
    """What the first `blocks` blocks of a network's vision encoder say of all samples."""
    network.eval()
    # Maps of mirrored pictures too would take twice the memory; nothing goes on from those of the last block.
    views, is_end = (2, True) if blocks == MOST_BLOCKS else (1, False)
    pooled: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    for first in Progress(range(0, len(samples), ENCODE_BATCH), "pictures"):
        places = range(first, min(first + ENCODE_BATCH, len(samples)))
        batch = samples.batch(places)
        for name in PICTURES:
            images = getattr(batch, name)
            shown = torch.stack([images, images.flip(3)][:views], dim=1)
            flat = network.normalise(shown.flatten(0, 2), network.config.vision_normalisation)
            x, numbers = network.vision_model.begin(flat, blocks)
            for kept, said in ((pooled, numbers), (maps, (x[:, :0] if is_end else x).half())):
                if name not in kept:
                    # What is made in inference mode cannot be trained through.
                    with torch.inference_mode(mode=False):
                        kept[name] = torch.empty(len(samples), *shown.shape[1:3], *said.shape[1:], dtype=said.dtype)
                kept[name][first : first + len(places)] = said.unflatten(0, shown.shape[:3])
    return Kept(blocks, pooled, maps)
