"""Windows of evenly damaged clips, between which a model's score is not to move.

Labelled segments say nothing about that: each is shown as one window. The better a model tells strangers apart, the more its
scores follow what a person does in front of the camera; alerts take that for a change of quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorer.model.modeling import FVQRater
from scorer.spec import SamplerSpec
from training.data.labels import read_labels
from training.data.samples import Samples, is_timed, kept_samples
from training.losses import unsteadiness
from training.nano.draw import balanced_batches
from training.nano.kept import Kept, kept_pictures

WINDOW = 2.0
"""Length of a window, seconds: that of most streams' segments."""
STARTS = (0.0, 1.0, 2.0)
"""Where the windows of a clip begin, seconds."""
CLIPS = 2
"""Clips in a training step, each with all of its windows."""


@dataclass(frozen=True)
class Steady:
    """Sampled windows. clips: (N,) the clip of each window. kept: what an encoder's frozen blocks say; None: they are asked."""

    samples: Samples
    clips: Sequence[str]
    kept: Kept | None = None

    @classmethod
    def read(cls, labels: Path, spec: SamplerSpec, jobs: int, folder: Path) -> Steady:
        """The windows of the clips in a labels file whose damage is the same at all times; the samples are kept in `folder`.

        spec, jobs: as of `training.data.samples.sample_all`. Raises ValueError where no clip is long enough for two windows.
        """
        rows = [row for row in read_labels(labels) if not is_timed(row["kind"])]
        windows = [(row, (WINDOW, start)) for row in rows for start in STARTS]
        samples = kept_samples(folder, [row for row, _ in windows], spec, jobs, [part for _, part in windows])
        clips = [str(windows[int(place)][0]["path"]) for place in samples.rows]
        if len(set(clips)) == len(clips):
            raise ValueError(f"{labels}: no clip has two windows: give clips of {WINDOW + STARTS[-1]:g} s (fvq synth --seconds)")
        return cls(samples, clips)

    def kept_by(self, network: FVQRater, blocks: int) -> Steady:
        """The same windows, with what the first `blocks` blocks of the network's vision encoder say of them."""
        return replace(self, kept=kept_pictures(network, self.samples, blocks))

    def batches(self, seed: int) -> Iterator[Tensor]:
        """Endless batches of places (B,): the windows of `CLIPS` clips."""
        rng = np.random.default_rng(seed)
        return balanced_batches(self.clips, np.arange(len(self.clips)), rng, CLIPS, len(STARTS))

    def losses(self, network: FVQRater, seed: int) -> Iterator[Tensor]:
        """Endless: how much the scores of one clip's windows differ, batch by batch. All of a window is seen, as it is served."""
        for places in self.batches(seed):
            clip = torch.from_numpy(self.samples.rows[places.numpy()] // len(STARTS))
            batch = self.samples.batch(places.numpy())
            known = None if self.kept is None else self.kept.served(network, places)
            yield unsteadiness(network(batch, known=known).score, clip)
