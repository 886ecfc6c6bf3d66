"""Clips as the outputs of the frozen encoders: with those cached, the rest of `nano` trains in minutes on a CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from scorer.model.modeling import FVQRater
from training.data.samples import ENCODE_BATCH, Samples

CACHED = ("frames", "portrait", "portrait_mask", "faces", "faces_mask")
"""Streams whose encoder is frozen, and their masks."""


@dataclass
class Features:
    """Encoded clips. tensors: stream name -> (N, ...) tensor; row: (N,) the label row of each clip."""

    tensors: dict[str, Tensor]
    row: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: Tensor) -> dict[str, Tensor]:
        """The tensors at those places."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}


def encode(network: FVQRater, samples: Samples, kept: Path) -> Features:
    """The samples, run through the network's frozen encoders.

    The temporal clip and the statistics stay as they were sampled, because the parts of the network that read them are
    trained. kept: folder for the encoders' outputs, in a file named after the vision encoder's fingerprint; a later call
    reads that file, because encoding takes much of an experiment's time.
    """
    file = kept / f"encoded-{_fingerprint(network)}.safetensors"
    if not file.exists():
        part = file.with_suffix(".part")
        save_file(_encoded(network, samples), part)
        os.replace(part, file)
    tensors = load_file(file) | {name: torch.from_numpy(np.array(samples.arrays[name])) for name in ("clip", "statistics")}
    return Features(tensors, torch.from_numpy(samples.rows))


@torch.no_grad()
def _encoded(network: FVQRater, samples: Samples) -> dict[str, Tensor]:
    network.eval()
    parts: dict[str, list[Tensor]] = {}
    for start in tqdm(range(0, len(samples), ENCODE_BATCH), desc="encoding", disable=None):
        batch = samples.batch(np.arange(start, min(start + ENCODE_BATCH, len(samples))))
        encoded = network.encode(batch, {name: torch.empty(0) for name in ("motion", "statistics")})
        for name in CACHED:
            if name in encoded:
                parts.setdefault(name, []).append(encoded[name])
    return {name: torch.cat(values).contiguous() for name, values in parts.items()}


def _fingerprint(network: FVQRater) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.vision_model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


def balanced_batches(
    contents: Sequence[str], index: np.ndarray[Any, Any], rng: np.random.Generator, groups: int, each: int
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
