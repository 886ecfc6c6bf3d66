"""What a training step shows of each clip: one picture of each stream, mirrored and lit a little differently every time.

The vision encoder is trained, so nothing that it says can be kept. One picture in place of all makes a step several times
cheaper, and a clip that is drawn again is not the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorer.model.modeling import ClipBatch, FVQRater
from training.recipe import NanoRecipe

PICTURES = ("frames", "portrait", "faces")
"""Streams of pictures that go through the vision encoder."""

LIGHT = 0.1
"""Standard deviation of the factor on a content's light; that of what is added to it is so many times `LEVELS`."""
LEVELS = 40.0
"""8-bit levels."""


@dataclass(frozen=True)
class _Change:
    """What is done to the pictures of each clip. mirrored: (B,) bool. factor, added: (B,) float32, one for a content."""

    mirrored: Tensor
    factor: Tensor
    added: Tensor

    def of(self, images: Tensor, clips: Tensor) -> Tensor:
        """(n, S, S, 3) uint8 pictures of those clips -> float32 0-255."""
        mirrored = self.mirrored[clips, None, None, None]
        factor, added = (values[clips, None, None, None] for values in (self.factor, self.added))
        return (torch.where(mirrored, images.flip(2), images).float() * factor + added).clamp(0, 255)


def drawn_streams(
    network: FVQRater, batch: ClipBatch, contents: Sequence[str], recipe: NanoRecipe, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Streams for `FVQRater.answer`, with the recipe's noise and dropout.

    contents: of each clip of the batch. rng: draws the pictures; torch's generator draws the noise.
    """
    change = _draw_change(contents, rng)
    known: dict[str, Tensor] = {}
    for name in network.config.streams:
        if name in PICTURES:
            masks = None if name == "frames" else getattr(batch, f"{name}_mask")
            chosen = _choose(getattr(batch, name).shape[:2], masks, recipe.image_dropout, rng)
            known[name] = _tokens(network, getattr(batch, name), chosen, change, recipe.image_noise)
    return with_noise(network.encode(batch, known), recipe)


def with_noise(streams: dict[str, Tensor], recipe: NanoRecipe) -> dict[str, Tensor]:
    """Encoded streams with the recipe's noise on the statistics, and its share of clips without statistics and motion."""
    if "statistics" in streams:
        streams["statistics"] = _noisy(streams["statistics"], recipe.statistics_noise)
    # In this order always: a set's depends on the process, and each draw moves the generator on.
    for name in ("statistics", "motion"):
        if name not in streams:
            continue
        streams[name] = streams[name] * (torch.rand(len(streams[name]), 1, 1, 1) >= recipe.stream_dropout)
    return streams


def _draw_change(contents: Sequence[str], rng: np.random.Generator) -> _Change:
    # One light for a content: between its clips a difference of light may be the damage.
    lights = {content: (1 + LIGHT * rng.normal(), LIGHT * LEVELS * rng.normal()) for content in dict.fromkeys(contents)}
    factor, added = torch.tensor([lights[content] for content in contents], dtype=torch.float32).unbind(1)
    return _Change(torch.from_numpy(rng.random(len(contents)) < 0.5), factor, added)


def _choose(shape: Sequence[int], masks: Tensor | None, dropout: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) clip and place of the picture that is shown of it; of a clip that drops out or has none, nothing."""
    chosen = []
    for clip in range(shape[0]):
        present = np.arange(shape[1]) if masks is None else np.flatnonzero(masks[clip].numpy())
        if rng.random() >= dropout and len(present):
            chosen.append((clip, int(rng.choice(present))))
    return np.array(chosen, np.int64).reshape(-1, 2)


def _tokens(network: FVQRater, images: Tensor, chosen: NDArray[Any], change: _Change, noise: float) -> Tensor:
    """(B, N, 1, width): the chosen picture's token in all places of its clip, zeros in clips without one."""
    tokens = torch.zeros(*images.shape[:2], 1, network.config.vision_config.hidden_size)
    if not len(chosen):
        return tokens
    clips, places = torch.from_numpy(chosen).unbind(1)
    shown = change.of(images[clips, places], clips)
    encoded = network.vision_model(network.normalise(shown, network.config.vision_normalisation)).last_hidden_state
    return tokens.index_put((clips,), _noisy(encoded, noise)[:, None].expand(-1, images.shape[1], -1, -1))


def _noisy(tokens: Tensor, deviation: float) -> Tensor:
    return tokens + deviation * torch.randn_like(tokens)


def balanced_batches(
    contents: Sequence[str], index: NDArray[np.int64], rng: np.random.Generator, groups: int, each: int
) -> Iterator[Tensor]:
    """Endless batches of places (B,): `each` clips of each of `groups` contents, drawn at random without repeats.

    contents: content of every place. index: the places to draw from. A content with fewer clips gives all that it has.
    """
    by_content: dict[str, list[int]] = {}
    for place in index:
        by_content.setdefault(contents[place], []).append(int(place))
    names = sorted(by_content)
    while True:
        chosen = rng.choice(names, min(groups, len(names)), replace=False)
        yield torch.tensor(
            [
                int(place)
                for name in chosen
                for place in rng.choice(by_content[name], min(each, len(by_content[name])), replace=False)
            ]
        )
