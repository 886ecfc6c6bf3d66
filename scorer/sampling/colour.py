"""Colours as a viewer of SDR sees them: which matrix a picture was coded with, and what becomes of HDR and wide gamuts.

Everything is brought to the primaries of BT.709 and the curve of BT.1886, for which the scorer's model was made.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from numpy.typing import NDArray

from scorer.sampling.images import Image

Light = NDArray[np.float32]

UNSPECIFIED = 2
"""The number of "unspecified" in ISO/IEC 23091-2, for a matrix, for primaries and for a transfer curve."""

MATRICES = (0, 1, UNSPECIFIED, 4, 5, 6, 7, 9)
"""Matrices of ISO/IEC 23091-2 that FFmpeg's scaler converts; any other fails there, and is taken as unspecified."""

HD_WIDTH, HD_HEIGHT = 1280, 576
"""A picture at least that wide, or higher than this, px, is BT.709 where the file does not say; players have it so."""

PEAK = 1000.0
"""cd/m^2 of the brightest HDR light that is kept: HLG's nominal peak (BT.2100), and the usual mastering peak of PQ."""

WHITE = 203.0
"""cd/m^2 of HDR that become SDR's white: BT.2408's reference white."""

STEPS = 4096
"""Entries of the tables below: as many as a 12-bit signal has values."""

STRIP = 32
"""Lines of a picture that are mapped at a time."""

TO_709 = {
    # BT.2087, and for P3 the product of the matrices to and from XYZ of SMPTE EG 432-1 and BT.709, both with white D65.
    int(ColorPrimaries.BT2020): ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    int(ColorPrimaries.SMPTE432): ((1.2249, -0.2249, 0.0), (-0.0420, 1.0420, 0.0), (-0.0196, -0.0786, 1.0983)),
}
"""Primaries whose colours are more saturated than BT.709's -> the matrix for linear light."""

PQ, HLG = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)


def matrix_of(frame: Any) -> Colorspace | None:
    """The matrix by which the frame's YCbCr becomes RGB, where the frame does not name it; None where it does, or has none."""
    known = unknown_as_601(frame) is None
    if (known and frame.colorspace != UNSPECIFIED) or frame.format.is_rgb:
        return None
    if frame.color_trc in (PQ, HLG) or frame.color_primaries == ColorPrimaries.BT2020:
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.width >= HD_WIDTH or frame.height > HD_HEIGHT else unknown_as_601(frame)


def unknown_as_601(frame: Any) -> Colorspace | None:
    """BT.601's matrix for a frame with one that is not in `MATRICES`; None for any other frame."""
    return None if frame.colorspace in MATRICES else Colorspace.ITU601


def is_wide(frame: Any) -> bool:
    """Whether the frame has HDR light or colours outside of BT.709, so that `as_sdr` must map it."""
    return frame.color_trc in (PQ, HLG) or int(frame.color_primaries) in TO_709


def as_sdr(coded: NDArray[np.uint16], frame: Any) -> Image:
    """An (H, W, 3) 16-bit RGB picture with the frame's curve and primaries -> (H, W, 3) uint8 RGB as a viewer of SDR sees it.

    PQ and HLG: BT.2100's light of a display, then the EETF of BT.2390, section 5.4, on R, G and B, from `PEAK` to `WHITE`.
    Other curves are taken as BT.1886 (gamma 2.4). Then BT.2087's matrix to BT.709's primaries; what is still outside is cut.
    """
    # In strips that fit into the processor's cache: twice as fast as the whole picture.
    strips = [coded[i : i + STRIP] for i in range(0, len(coded), STRIP)]
    return np.concatenate([_strip_as_sdr(strip, frame.color_trc, int(frame.color_primaries)) for strip in strips])


def _strip_as_sdr(coded: NDArray[np.uint16], curve: int, primaries: int) -> Image:
    codes = coded >> 4
    if curve == HLG:
        scene = _hlg_scene()[codes]
        # BT.2100's OOTF with the system gamma of 1.2 at 1000 cd/m^2: the brightness of each pixel, not of each channel.
        luminance = cv2.transform(scene, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
        shown = scene * cv2.pow(luminance, 0.2)[..., None]
        linear = _toned_hlg()[_fourth_root(shown)]
    else:
        linear = (_toned_pq() if curve == PQ else _gamma())[codes]
    if primaries == UNSPECIFIED and curve in (PQ, HLG):
        primaries = int(ColorPrimaries.BT2020)
    if primaries in TO_709:
        linear = np.asarray(cv2.transform(linear, np.array(TO_709[primaries], np.float32)), np.float32)
    return _display_code()[_fourth_root(linear)]


def _fourth_root(light: Light | Any) -> NDArray[np.uint16]:
    """Light of 0-1 as an index into a table of `STEPS`; the fourth root gives dark light as many steps as it needs."""
    root = np.sqrt(np.sqrt(np.clip(light, 0, 1)))
    return np.asarray(root * (STEPS - 1) + 0.5, np.uint16)


def _codes() -> NDArray[np.float64]:
    return np.arange(STEPS) / (STEPS - 1)


@cache
def _display_code() -> NDArray[np.uint8]:
    """Fourth root of light, 0-1 of SDR's white -> 8-bit signal: the inverse of BT.1886 with a black of 0."""
    return np.asarray(255 * _codes() ** (4 / 2.4) + 0.5, np.uint8)


@cache
def _gamma() -> Light:
    return np.asarray(_codes() ** 2.4, np.float32)


@cache
def _toned_pq() -> Light:
    """PQ's signal -> light, 1 for SDR's white."""
    return np.asarray(_toned(_codes()), np.float32)


@cache
def _toned_hlg() -> Light:
    """Fourth root of light, 0-1 of `PEAK` -> light, 1 for SDR's white."""
    return np.asarray(_toned(_pq_signal(_codes() ** 4 * PEAK)), np.float32)


@cache
def _hlg_scene() -> Light:
    """HLG's signal -> light of the scene, 0-1: the inverse of BT.2100's OETF."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = _codes()
    return np.asarray(np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12), np.float32)


def _toned(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2390's EETF: below its knee light stays as it is, above it a Hermite spline leads from `PEAK` to `WHITE`."""
    peak = _pq_signal(np.array(PEAK))
    highest = _pq_signal(np.array(WHITE)) / peak
    knee = 1.5 * highest - 0.5
    relative = np.minimum(signal / peak, 1)
    t = np.maximum(relative - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * highest
    return _pq_light(np.where(relative < knee, relative, spline) * peak) / WHITE


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
"""The constants of PQ, SMPTE ST 2084 and BT.2100."""


def _pq_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m^2 -> PQ's signal, 0-1."""
    power = (light / 10000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """PQ's signal, 0-1 -> cd/m^2."""
    power = signal ** (1 / _M2)
    return 10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
