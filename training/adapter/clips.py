"""The clips that an adapter is trained on and judged by.

They are sampled once, as they are served, and run once through the encoders that stay frozen.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorer.model.bases import fingerprint
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.spec import SamplerSpec
from training.data.digests import digests_of
from training.data.progress import Progress
from training.data.rated import RatedClip
from training.data.samples import ENCODE_BATCH, Samples, kept_samples
from training.data.tensors import kept_tensors


@dataclass(frozen=True)
class EncodedClips:
    """Rated clips that could be sampled. A clip's place, 0 to N - 1, is the same in all three fields."""

    samples: Samples
    rows: Sequence[RatedClip]
    known: dict[str, Tensor]
    """Streams that were encoded before, see `frozen_streams`."""

    def places(self, split: str) -> NDArray[np.int64]:
        """The places of the clips of one split."""
        return np.array([place for place, row in enumerate(self.rows) if row.split == split], np.int64)


def sampled(clips: Sequence[RatedClip], spec: SamplerSpec, work: Path) -> Samples:
    """The clips as the serving sampler sees them, kept in `work` in a folder of their own for each list and specification.

    A clip that was replaced under its path makes another list.
    """
    paths = [clip.path for clip in clips]
    about = [asdict(spec), [str(path) for path in paths], digests_of(paths)]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    return kept_samples(work / f"samples-{digest}", [{"path": clip.path} for clip in clips], spec, os.cpu_count() or 1)


@torch.inference_mode()
def frozen_streams(network: FVQRater, samples: Samples, work: Path, with_vision: bool) -> dict[str, Tensor]:
    """Outputs of the encoders that no stage trains, for every clip: stream name -> (N, ...) tensor on the CPU.

    with_vision: add the vision encoder's, which only stage I can use, because stage II trains that encoder. Kept in `work`,
    in a file named after the base's fingerprint and the clips.
    """
    streams = {"motion"} | ({"faces"} if network.face_model is not None else set())
    if with_vision:
        streams |= {"frames", "portrait", "faces"}
    wanted = sorted(streams & set(network.config.streams))
    about = [fingerprint(network), wanted, str(network.dtype), network.config.vision_tokens]
    about += [{name: list(array.shape) for name, array in samples.arrays.items()}]
    # No two clips have the same statistics.
    about += [hashlib.sha256(samples.arrays["statistics"].tobytes()).hexdigest()]
    file = work / f"frozen-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}.safetensors"

    def encode() -> dict[str, Tensor]:
        network.eval()
        known = {name: torch.zeros(0) for name in network.config.streams if name not in wanted}
        parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start in Progress(range(0, len(samples), ENCODE_BATCH), "encoding"):
            batch = on_device(samples.batch(np.arange(start, min(start + ENCODE_BATCH, len(samples)))), network.device)
            encoded = network.encode(batch, known)
            for name in wanted:
                parts[name].append(encoded[name].cpu())
        return {name: torch.cat(values) for name, values in parts.items()}

    return kept_tensors(file, encode)


def on_device(batch: ClipBatch, device: torch.device) -> ClipBatch:
    """The batch with its tensors on the device."""
    return ClipBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(batch).items()})
