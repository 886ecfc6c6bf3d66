"""Technical statistics of a clip, and the signals that people read.

A vector of named numbers: natural-scene statistics as in BRISQUE, edges, grids, noise, light, colour and change over
time, of native-resolution crops of the frame's centre and of the face. Plain numpy and OpenCV, a few ms per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""uint8 pictures; OpenCV's stubs promise no more than numbers."""
Plane = NDArray[Any]

CENTRE_SIDE, FACE_SIDE = 384, 192
"""Sides of the crops that are measured, px: enough pixels for stable moments, few enough for a live budget."""

SCALES = 3
BLACK_LUMA = 24
"""At or under this 8-bit luma a pixel is black: limited-range black is 16, and codecs add a few levels."""

FREEZE_DIFFERENCE = 0.02
"""Mean difference of small grey pictures, in levels, under which a frame repeats the one before."""

_SCENE = (
    "ggd_shape",
    "ggd_variance",
    *(f"{pair}_{name}" for pair in ("h", "v", "d1", "d2") for name in ("shape", "mean", "left", "right")),
)
_DETAIL = (
    "gradient_p50",
    "gradient_p75",
    "gradient_p90",
    "gradient_p99",
    "laplacian_p50",
    "laplacian_p90",
    "laplacian_p99",
    "laplacian_std",
)
_LEVELS = ("luma_mean", "luma_std", "dark_share", "bright_share")
_FRAME = (
    *(f"scene{s}_{name}" for s in range(SCALES) for name in _SCENE),
    *_DETAIL,
    "half_gradient_p90",
    "half_laplacian_std",
    "grid8",
    "grid16",
    "noise",
    *_LEVELS,
    "saturation",
    "colourfulness",
)
_FACE = ("face_ggd_shape", "face_ggd_variance", *(f"face_{n}" for n in (*_DETAIL, "grid8", "noise", *_LEVELS)))
_PAIR = ("change_mean", "change_p90", "change_still_share", "change_laplacian")
_TIME = ("freeze", "motion_mean", "motion_std", "motion_max", "motion_min", "flicker")
_SPREAD = ("laplacian_std", "grid8", "noise", "luma_mean", "scene0_ggd_variance")

NAMES: tuple[str, ...] = (
    *_FRAME,
    *_FACE,
    "face_present",
    *_PAIR,
    *_TIME,
    *(f"{name}_spread" for name in _SPREAD),
    "log_pixels",
    "fps",
)
"""The numbers of `clip_statistics`, in order."""


@dataclass(frozen=True)
class MeasuredFrame:
    """What the statistics need of one sampled frame.

    image: (H, W, 3) uint8 RGB, native size. following: the next frame, None at the end. face: (x, y, w, h) px, None without.
    """

    image: Image
    following: Image | None
    face: tuple[int, int, int, int] | None


def clip_statistics(
    measured: Sequence[MeasuredFrame], course: NDArray[np.float32], fps: float
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """The statistics (len(NAMES),) float32, finite, and the signals of one clip.

    course: (N, h, w) small grey pictures of every frame, 0-255. fps: frames per second.
    """
    frame_rows, face_rows, pair_rows, blacks = [], [], [], []
    for one in measured:
        crop = _centre(one.image, CENTRE_SIDE)
        luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        frame_rows.append(_frame_numbers(luma, crop))
        blacks.append(float((cv2.cvtColor(one.image[::2, ::2], cv2.COLOR_RGB2GRAY) <= BLACK_LUMA).mean()))
        if one.face is not None:
            face_rows.append(_face_numbers(_face_crop(one.image, one.face)))
        if one.following is not None:
            pair_rows.append(_pair_numbers(luma, cv2.cvtColor(_centre(one.following, CENTRE_SIDE), cv2.COLOR_RGB2GRAY)))
    over_frames = np.array(frame_rows)
    frame = over_frames.mean(axis=0)
    face = np.mean(face_rows, axis=0) if face_rows else np.zeros(len(_FACE))
    pair = np.mean(pair_rows, axis=0) if pair_rows else np.zeros(len(_PAIR))
    time = _time_numbers(course)
    spread = over_frames[:, [_FRAME.index(name) for name in _SPREAD]].std(axis=0)
    height, width = measured[0].image.shape[:2]
    values = np.concatenate([frame, face, [bool(face_rows)], pair, time, spread, [np.log(height * width), min(fps, 120.0)]])
    named = dict(zip(_FRAME, frame, strict=True))
    # A sharp face picture has a Laplacian deviation of ten and more, heavy blur of less than one.
    signals = {
        "black": float(np.mean(blacks)),
        "freeze": float(time[0]),
        "blur": float(1 / (1 + (named["laplacian_std"] / 4) ** 1.5)),
        "blockiness": float(max(0.0, named["grid8"])),
        "noise": float(named["noise"]),
        "luma": float(named["luma_mean"]),
        "contrast": float(named["luma_std"]),
    }
    return np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0), signals


def _frame_numbers(luma: Image, crop: Image) -> list[float]:
    plane = luma.astype(np.float32)
    numbers: list[float] = []
    scaled: Plane = plane
    for _ in range(SCALES):
        numbers += scene_statistics(scaled)
        half = cv2.resize(scaled, (max(8, scaled.shape[1] // 2), max(8, scaled.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        scaled = half
    half = cv2.resize(plane, (max(8, plane.shape[1] // 2), max(8, plane.shape[0] // 2)), interpolation=cv2.INTER_AREA)
    half_detail = detail(half)
    small = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_AREA).astype(np.float32)
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    opponent = red - green, (red + green) / 2 - blue
    # Colourfulness after Hasler and Suesstrunk, 2003.
    colourfulness = np.hypot(opponent[0].std(), opponent[1].std()) + 0.3 * np.hypot(opponent[0].mean(), opponent[1].mean())
    saturation = (small.max(axis=2) - small.min(axis=2)).mean()
    return [
        *numbers, *detail(plane), half_detail[2], half_detail[7], blockiness(luma, 8), blockiness(luma, 16), noise_level(plane),
        *_light(luma), float(saturation), float(colourfulness),
    ]  # fmt: skip


def _face_numbers(crop: Image) -> list[float]:
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    plane = luma.astype(np.float32)
    return [*_generalised_gaussian(normalised(plane)), *detail(plane), blockiness(luma, 8), noise_level(plane), *_light(luma)]


def scene_statistics(plane: Plane) -> list[float]:
    """Shape and variance of the normalised luma, and shape, mean, left and right variance of its neighbours' products.

    plane: (H, W) float32 luma 0-255, H and W >= 8. After Mittal, Moorthy and Bovik, BRISQUE, IEEE TIP 2012.
    """
    coefficients = normalised(plane)
    numbers = _generalised_gaussian(coefficients)
    c = coefficients
    for product in (c[:, :-1] * c[:, 1:], c[:-1] * c[1:], c[:-1, :-1] * c[1:, 1:], c[:-1, 1:] * c[1:, :-1]):
        numbers += _asymmetric_gaussian(product)
    return numbers


def normalised(plane: Plane) -> Plane:
    """Mean-subtracted, contrast-normalised luma: (plane - local mean) / (local deviation + 1), 7x7 Gaussian window."""
    mean = cv2.GaussianBlur(plane, (7, 7), 7 / 6)
    square = cv2.GaussianBlur(plane * plane, (7, 7), 7 / 6)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray((plane - mean) / (deviation + 1), np.float32)


@cache
def _shape_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ratio, shape): E[|x|]^2 / E[x^2] of a generalised Gaussian for each shape, both ascending."""
    from math import gamma

    shapes = np.arange(0.2, 10.0, 0.01)
    ratios = np.array([gamma(2 / a) ** 2 / (gamma(1 / a) * gamma(3 / a)) for a in shapes])
    return ratios, shapes


def _shape_of(ratio: float) -> float:
    ratios, shapes = _shape_table()
    return float(np.interp(ratio, ratios, shapes))


def _generalised_gaussian(values: Plane) -> list[float]:
    flat = np.ascontiguousarray(values).ravel()
    square = float(np.dot(flat, flat)) / flat.size
    if square < 1e-8:
        return [10.0, 0.0]
    absolute = float(np.abs(flat).mean())
    return [_shape_of(absolute * absolute / square), square]


def _asymmetric_gaussian(values: Plane) -> list[float]:
    flat = np.ascontiguousarray(values).ravel()
    negative = np.minimum(flat, 0)
    below = int(np.count_nonzero(negative))
    total, left_sum = float(np.dot(flat, flat)), float(np.dot(negative, negative))
    if total < 1e-8 * flat.size:
        return [10.0, 0.0, 0.0, 0.0]
    left = np.sqrt(left_sum / max(1, below))
    right = np.sqrt(max(0.0, total - left_sum) / max(1, flat.size - below))
    absolute = float(np.abs(flat).mean())
    balance = left / (right + 1e-8)
    ratio = absolute * absolute / (total / flat.size)
    ratio *= (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    shape = _shape_of(float(ratio))
    return [shape, float(flat.mean()), float(left), float(right)]


def detail(plane: Plane) -> list[float]:
    """Percentiles 50, 75, 90, 99 of the gradient's size, 50, 90, 99 of the Laplacian's, and the Laplacian's deviation."""
    dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3)
    size = cv2.magnitude(dx, dy).ravel()[::3]
    laplacian = cv2.Laplacian(plane, cv2.CV_32F)
    absolute = np.abs(laplacian).ravel()[::3]
    return [
        *np.log1p(np.percentile(size, (50, 75, 90, 99))).tolist(),
        *np.log1p(np.percentile(absolute, (50, 90, 99))).tolist(),
        float(laplacian.std()),
    ]


def blockiness(luma: Image, period: int) -> float:
    """Strength of a coding grid of that period, 0 (none) upwards; slightly under 0 by chance.

    How much larger the steps between neighbours are at the strongest phase of the grid than elsewhere, relative to the
    mean step. luma: (H, W) uint8, H and W >= 2 * period. After Wang, Bovik and Evans, ICIP 2000, in the pixel domain;
    the phase is searched because crops and scaled pictures do not start on the grid.
    """
    strengths = []
    for steps in (cv2.absdiff(luma[:, 1:], luma[:, :-1]).mean(axis=0), cv2.absdiff(luma[1:], luma[:-1]).mean(axis=1)):
        # Against both neighbours: an edge of the picture's content is wider than one step.
        excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        usable = len(excess) // period * period
        if usable < period:
            return 0.0
        phases = np.median(excess[:usable].reshape(-1, period), axis=0)
        strengths.append((phases.max() - np.median(phases)) / (steps.mean() + 0.5))
    return float(np.mean(strengths))


def noise_level(plane: Plane) -> float:
    """Standard deviation of noise, 8-bit levels, estimated in the flattest fifth of 8x8 blocks.

    The mask is Immerkaer's (Fast noise variance estimation, 1996), which does not see flat or evenly rising luma.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(plane, cv2.CV_32F, mask))
    height, width = (side // 8 * 8 for side in plane.shape)
    if height < 8 or width < 8:
        return 0.0
    blocks = response[:height, :width].reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3)).ravel()
    flattest = np.sort(blocks)[: max(1, len(blocks) // 5)]
    return float(np.sqrt(np.pi / 2) / 6 * flattest.mean())


def _light(luma: Image) -> list[float]:
    mean, deviation = cv2.meanStdDev(luma)
    return [float(mean[0, 0]), float(deviation[0, 0]), float((luma <= BLACK_LUMA).mean()), float((luma >= 240).mean())]


def _pair_numbers(luma: Image, following: Image) -> list[float]:
    change = cv2.absdiff(luma, following)
    laplacian = cv2.Laplacian(cv2.subtract(luma, following, dtype=cv2.CV_32F), cv2.CV_32F)
    return [
        float(np.log1p(change.mean())),
        float(np.log1p(np.percentile(change[::2, ::2], 90))),
        float((change == 0).mean()),
        float(np.log1p(laplacian.std())),
    ]


def _time_numbers(course: NDArray[np.float32]) -> list[float]:
    """Freeze ratio and the course of change between all neighbouring frames."""
    if len(course) < 2:
        return [0.0] * len(_TIME)
    motion = np.abs(np.diff(course, axis=0)).mean(axis=(1, 2))
    light = course.mean(axis=(1, 2))
    logarithm = np.log1p(motion)
    return [
        float((motion < FREEZE_DIFFERENCE).mean()),
        float(logarithm.mean()),
        float(logarithm.std()),
        float(logarithm.max()),
        float(logarithm.min()),
        float(np.abs(np.diff(light)).mean()),
    ]


def _centre(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    y, x = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return _at_least(image[y : y + side, x : x + side], 32)


def _face_crop(image: Image, box: tuple[int, int, int, int]) -> Image:
    x, y, w, h = box
    cx, cy = x + w // 2, y + h // 2
    half_w, half_h = min(w, FACE_SIDE) // 2 + 1, min(h, FACE_SIDE) // 2 + 1
    crop = image[max(0, cy - half_h) : cy + half_h, max(0, cx - half_w) : cx + half_w]
    return _at_least(crop, 32)


def _at_least(image: Image, side: int) -> Image:
    """Pad by reflection up to a side that every statistic can be taken of."""
    below, right = max(0, side - image.shape[0]), max(0, side - image.shape[1])
    if not below and not right:
        return np.ascontiguousarray(image)
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT)
