"""Measures decoded sound as it comes: levels of stretches of 100 ms, the peak, clipped samples and, if asked, loudness."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.audio.loudness import HOP_SECONDS, Samples, Values, weighted

CHUNK_SECONDS = 1.2
"""Sound that is measured at once: its arrays fit into a processor's cache, and the memory needed does not grow with the file."""

FULL_SCALE = 0.9999
"""From here on a sample is at full scale; the largest of 16 bits is 0.99997."""

RUN = 3
"""So many samples at full scale in a row are clipped. A loud sound that is not clipped touches full scale with one or two."""

LARGEST = 16.0
"""No decoder gives out larger samples of sound that anybody recorded; NaN and larger ones come from damage."""

QUIETEST_PEAK = -120.0
"""Told as the peak of digital silence, dBFS."""


@dataclass(frozen=True)
class Measured:
    """What a meter found. powers: (N,) mean squares of each hop, of the loudest channel. energies: (N,) K-weighted mean squares,
    summed over the channels; empty where no loudness was asked for. peak: largest absolute sample. clipped, samples: how many,
    of all channels together.
    """

    powers: Values
    energies: Values
    peak: float
    clipped: int
    samples: int


class Meter:
    """Measures samples of one rate and one set of channels.

    rate: Hz. weights: (C,) of the channels for loudness, None to leave it out.
    """

    def __init__(self, rate: int, channels: int, weights: Values | None) -> None:
        self._rate, self._channels, self._weights = rate, channels, weights
        self._hop = HOP_SECONDS * rate
        self._lead: Samples = np.zeros((channels, round(self._hop)), np.float32)
        """The last hop before what waits: the filters go on from it."""
        self._waiting: list[Samples] = []
        self._count = 0
        """Samples of one channel that wait."""
        self._powers: list[Values] = [np.zeros(0)]
        self._energies: list[Values] = [np.zeros(0)]
        self._peak, self._clipped, self._samples = 0.0, 0, 0

    def add(self, samples: Samples) -> None:
        """Take in (C, N) samples; 1.0 is full scale."""
        self._waiting.append(samples)
        self._count += samples.shape[1]
        if self._count >= CHUNK_SECONDS * self._rate:
            self._measure(int(self._count / self._hop), is_last=False)

    def finish(self) -> Measured:
        """What was found. A rest of less than half a hop has a peak, but no level."""
        self._measure(round(self._count / self._hop), is_last=True)
        return Measured(np.concatenate(self._powers), np.concatenate(self._energies), self._peak, self._clipped, self._samples)

    def _measure(self, hops: int, is_last: bool) -> None:
        """Measure what waits in so many hops; what is left over waits for more, unless this is the last call."""
        if not self._count:
            return
        samples = _finite(np.concatenate([self._lead, *self._waiting], axis=1))
        lead = self._lead.shape[1]
        edges = np.minimum(np.round(np.arange(hops + 1) * self._hop).astype(int), self._count)
        taken = self._count if is_last else int(edges[-1])
        new = samples[:, lead : lead + taken]
        peak = _peak(new)
        self._peak = max(self._peak, peak)
        self._samples += new.size
        if peak >= FULL_SCALE:
            self._clipped += _clipped(samples[:, : lead + taken], lead)
        if hops:
            self._powers.append(_mean_squares(new, edges).max(axis=0))
        if hops and self._weights is not None:
            self._energies.append(self._weights @ _mean_squares(weighted(samples, self._rate)[:, lead:], edges))
        self._lead = samples[:, taken : taken + lead].copy()
        self._waiting, self._count = [samples[:, lead + taken :].copy()], self._count - taken


def decibels(amplitude: float) -> float:
    """dBFS of an amplitude, at least `QUIETEST_PEAK`."""
    return max(QUIETEST_PEAK, 20 * float(np.log10(max(amplitude, 1e-9))))


def _peak(samples: Samples) -> float:
    """The largest absolute sample; NaN where one is."""
    return float(max(samples.max(), -samples.min()))  # Python's max keeps a NaN that comes first


def _mean_squares(samples: Samples, edges: NDArray[np.int64]) -> Values:
    """(C, N) mean squares of (C, S) samples between one edge and the next."""
    parts = (samples[:, begin:end] for begin, end in pairwise(edges))
    return np.stack([np.einsum("cn,cn->c", part, part) / max(1, part.shape[1]) for part in parts], axis=1).astype(np.float64)


def _clipped(samples: Samples, lead: int) -> int:
    """How many samples after the lead are in a run at full scale."""
    full = np.abs(samples) >= FULL_SCALE
    starts = np.logical_and.reduce([full[:, i : full.shape[1] - RUN + 1 + i] for i in range(RUN)])
    in_run = np.zeros_like(full)
    for i in range(RUN):
        in_run[:, i : full.shape[1] - RUN + 1 + i] |= starts
    return int(in_run[:, lead:].sum())


def _finite(samples: Samples) -> Samples:
    """The samples without what is no number or larger than any sound."""
    if _peak(samples) <= LARGEST:  # false for NaN
        return samples
    return np.clip(np.nan_to_num(samples), -LARGEST, LARGEST)
