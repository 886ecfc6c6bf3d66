"""Loudness after ITU-R BS.1770-4 (EBU R 128): K-weighted energies of stretches of 100 ms, and the gated mean of them.

The recommendation gives its two filters for 48 kHz, and for other rates their frequency response. So samples are filtered in the
frequency domain, with that response, at any rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

HOP_SECONDS = 0.1
"""Energies are taken of so much sound at a time: gating blocks are so far apart."""

BLOCK_HOPS = 4
"""Hops in one gating block of 400 ms."""

QUIETEST = -70.0
"""The absolute gate, LUFS. All that is quieter is told as this."""

RELATIVE_GATE = -10.0
"""Blocks quieter than the mean by more than this, LU, are left out of the second mean."""

OFFSET = -0.691
"""With it a sine of 997 Hz at 0 dBFS in one front channel is -3.01 LUFS."""

REFERENCE_RATE = 48_000
SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
HIGH_PASS = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
"""The coefficients (numerator, denominator) of the filters at the reference rate: tables 1 and 2 of the recommendation."""

BESIDE = 1.41
"""The weight of a channel at the side of or behind the listener; a channel of low frequency effects counts nothing."""


def weights_of(channels: Sequence[str]) -> Values:
    """(C,) the weight of each channel in the sum. channels: FFmpeg's short names, as FL, LFE, SR."""
    weights = {"LFE": 0.0, "LFE2": 0.0} | dict.fromkeys(("SL", "SR", "BL", "BR"), BESIDE)
    return np.array([weights.get(name, 1.0) for name in channels])


def weighted(samples: Samples, rate: int) -> Samples:
    """(C, N) K-weighted samples. What was before the first sample is taken for silence; the first hop forgets all of it.

    OpenCV transforms three times as fast as numpy.
    """
    hop = math.ceil(HOP_SECONDS * rate)
    # A hop of zeros at the end, or the end would be filtered into the beginning. Whole hops: there are few responses then.
    size = cv2.getOptimalDFTSize((math.ceil(samples.shape[1] / hop) + 1) * hop)
    rows = np.zeros((len(samples), size), np.float32)
    rows[:, : samples.shape[1]] = samples
    spectra = cv2.dft(rows, flags=cv2.DFT_ROWS)
    response = np.broadcast_to(_response(rate, size), rows.shape).copy()
    filtered = cv2.mulSpectrums(spectra, response, cv2.DFT_ROWS)
    return np.asarray(cv2.idft(filtered, flags=cv2.DFT_ROWS | cv2.DFT_SCALE), np.float32)[:, : samples.shape[1]]


def loudness_of(energies: Values) -> float | None:
    """Integrated loudness, LUFS, at least `QUIETEST`; None where the hops are shorter than one gating block.

    energies: (N,) weighted mean squares of hops, summed over the channels.
    """
    if len(energies) < BLOCK_HOPS:
        return None
    blocks = np.convolve(energies, np.full(BLOCK_HOPS, 1 / BLOCK_HOPS), "valid")
    heard = blocks[_levels(blocks) > QUIETEST]
    if not len(heard):
        return QUIETEST
    gate = _levels(heard.mean(keepdims=True)) + RELATIVE_GATE
    return max(QUIETEST, _levels(heard[_levels(heard) > gate].mean(keepdims=True)).item())


def _levels(energies: Values) -> Values:
    """LUFS of mean squares; far under `QUIETEST` for no sound at all."""
    return OFFSET + 10 * np.log10(np.maximum(energies, 1e-20))


@lru_cache(maxsize=16)
def _response(rate: int, size: int) -> Samples:
    """(size,) the filters' response at the frequencies of a real transform, as OpenCV packs it.

    Packed are the real part of the mean, real and imaginary part of each frequency, and of even sizes one more real part.
    """
    # A sound over the reference's highest frequency is weighted like that one.
    frequencies = np.minimum(np.arange(size // 2 + 1) * (rate / size), REFERENCE_RATE / 2)
    delay = np.exp(-2j * np.pi * frequencies / REFERENCE_RATE)
    response = np.ones(len(delay), np.complex128)
    for numerator, denominator in (SHELF, HIGH_PASS):
        response *= np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    parts = response.astype(np.complex64).view(np.float32)
    return np.concatenate([parts[:1], parts[2 : size + 1]])
