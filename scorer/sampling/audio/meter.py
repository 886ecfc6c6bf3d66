"""Measures samples: levels of stretches of 100 ms, the peak, clipped samples and, if asked, loudness."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.audio.loudness import HOP_SECONDS, Samples, Values, weighted

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
        self._rate, self._weights = rate, weights
        self._hop = HOP_SECONDS * rate
        self._rest: Samples = np.zeros((channels, 0), np.float32)
        """Samples that wait for the end of their hop."""
        self._lead: Samples = np.zeros((channels, round(self._hop)), np.float32)
        """The last hop before them: the filters go on from it."""
        self._hops = self._taken = 0
        """Hops that are measured, and samples of one channel in them."""
        self._powers: list[Values] = [np.zeros(0)]
        self._energies: list[Values] = [np.zeros(0)]
        self._peak, self._clipped, self._samples = 0.0, 0, 0

    def add(self, samples: Samples) -> None:
        """Measure (C, N) samples; 1.0 is full scale. A second at once takes least time; a run that is cut may not count."""
        if not samples.size:
            return
        peak = _peak(samples)
        if not peak <= LARGEST:  # NaN is not, either
            samples = np.clip(np.nan_to_num(samples), -LARGEST, LARGEST)
            peak = _peak(samples)
        self._peak = max(self._peak, peak)
        self._samples += samples.size
        if peak >= FULL_SCALE:
            self._clipped += _clipped(samples)
        self._rest = np.concatenate([self._rest, samples], axis=1)
        self._measure(int(self._count / self._hop))

    def finish(self) -> Measured:
        """What was found. A rest of less than half a hop has a peak, but no level."""
        self._measure(round(self._count / self._hop))
        return Measured(np.concatenate(self._powers), np.concatenate(self._energies), self._peak, self._clipped, self._samples)

    @property
    def _count(self) -> int:
        """Samples of one channel up to now."""
        return self._taken + self._rest.shape[1]

    def _measure(self, hops: int) -> None:
        """Measure the levels up to so many hops from the beginning."""
        if hops <= self._hops:
            return
        edges = np.round(np.arange(self._hops, hops + 1) * self._hop).astype(np.int64) - self._taken
        edges = np.minimum(edges, self._rest.shape[1])
        self._powers.append(_mean_squares(self._rest, edges).max(axis=0))
        lead, taken = self._lead.shape[1], int(edges[-1])
        samples = np.concatenate([self._lead, self._rest[:, :taken]], axis=1)
        if self._weights is not None:
            self._energies.append(self._weights @ _mean_squares(weighted(samples, self._rate)[:, lead:], edges))
        self._lead = samples[:, -lead:]
        self._hops, self._taken = hops, self._taken + taken
        self._rest = self._rest[:, taken:].copy()


def decibels(amplitude: float) -> float:
    """dBFS of an amplitude, at least `QUIETEST_PEAK`."""
    return max(QUIETEST_PEAK, 20 * float(np.log10(max(amplitude, 1e-9))))


def _peak(samples: Samples) -> float:
    """The largest absolute sample; NaN where one is."""
    return float(max(samples.max(), -samples.min()))  # Python's max keeps a NaN that comes first


def _mean_squares(samples: Samples, edges: NDArray[np.int64]) -> Values:
    """(C, N) mean squares of (C, S) samples between one edge and the next."""
    parts = (samples[:, begin:end] for begin, end in pairwise(edges))
    return np.stack([np.einsum("cn,cn->c", part, part) / part.shape[1] for part in parts], axis=1).astype(np.float64)


def _clipped(samples: Samples) -> int:
    """How many samples are in a run at full scale."""
    full = np.abs(samples) >= FULL_SCALE
    if full.shape[1] < RUN:
        return 0
    starts = np.logical_and.reduce([full[:, i : full.shape[1] - RUN + 1 + i] for i in range(RUN)])
    in_run = np.zeros_like(full)
    for i in range(RUN):
        in_run[:, i : full.shape[1] - RUN + 1 + i] |= starts
    return int(in_run.sum())
