"""Technical statistics of a clip, and the signals that people read.

A vector of named numbers: natural-scene statistics as in BRISQUE, edges, grids, noise, light, colour and change over
time, of native-resolution crops of the frame's centre and of the face. Plain numpy and OpenCV, a few ms per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import gamma
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""uint8 pictures; OpenCV's stubs promise no more than numbers."""
Plane = NDArray[Any]
"""float32 luma, 0-255."""

CENTRE_SIDE, FACE_SIDE = 384, 192
"""Sides of the crops that are measured, px: enough pixels for stable moments, few enough for a live budget."""

SCALES = 3
BLACK_LUMA = 24
"""At or under this 8-bit luma a pixel is black: limited-range black is 16, and codecs add a few levels."""

FREEZE_DIFFERENCE = 0.02
"""Mean difference of small grey pictures, in levels, under which a frame repeats the one before."""

LONGEST_HOLD = 0.25
"""A frame shown longer than this, s, is a freeze too: some encoders drop repeated frames instead of coding them."""

STRIDE = 13
"""Percentiles look at every 13th pixel: prime, so that it is in step with no coding grid and no crop's side."""

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
    "red_green",
    "yellow_blue",
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


@dataclass
class MeasuredFrame:
    """What the statistics keep of one sampled frame: crops at native size, so that the picture itself can go.

    centre: (h, w, 3) uint8 RGB, at most `CENTRE_SIDE` a side. face: the face's, at most `FACE_SIDE`, None without.
    black: share of black pixels in the whole picture, 0-1. pixels: of the whole picture.
    following: (h, w) uint8 luma of the next frame at `centre`'s place, None at the end.
    """

    centre: Image
    face: Image | None
    black: float
    pixels: int
    following: Image | None = None


def measured_frame(image: Image, face: tuple[int, int, int, int] | None) -> MeasuredFrame:
    """Cut from an (H, W, 3) uint8 RGB picture what the statistics need. face: (x, y, w, h) px of the largest, None without."""
    step = max(1, min(image.shape[:2]) // 240)
    luma = _luma(image[::step, ::step])
    return MeasuredFrame(
        centre=centre_crop(image),
        face=None if face is None else _face_crop(image, face),
        black=np.count_nonzero(luma <= BLACK_LUMA) / luma.size,
        pixels=image.shape[0] * image.shape[1],
    )


def following_luma(image: Image) -> Image:
    """The luma that `MeasuredFrame.following` takes, of the (H, W, 3) uint8 RGB picture after the measured one."""
    return _luma(centre_crop(image))


def clip_statistics(
    measured: Sequence[MeasuredFrame], course: NDArray[np.uint8], times: NDArray[np.float64], fps: float
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """The statistics (len(NAMES),) float32, finite, and the signals of one clip.

    measured: one or more sampled frames. course: (N, h, w) uint8 small grey pictures of every frame. times: (N + 1,)
    seconds of these frames and of the clip's end, ascending. fps: frames per second.
    """
    frame_rows, face_rows, pair_rows = [], [], []
    for one in measured:
        luma = _luma(one.centre)
        frame_rows.append(_frame_numbers(luma, one.centre))
        if one.face is not None:
            face_rows.append(_face_numbers(one.face))
        if one.following is not None:
            pair_rows.append(_pair_numbers(luma, one.following))
    over_frames = np.array(frame_rows)
    frame = over_frames.mean(axis=0)
    face = np.mean(face_rows, axis=0) if face_rows else np.zeros(len(_FACE))
    pair = np.mean(pair_rows, axis=0) if pair_rows else np.zeros(len(_PAIR))
    time = _time_numbers(course, times)
    spread = over_frames[:, [_FRAME.index(name) for name in _SPREAD]].std(axis=0)
    values = np.concatenate([frame, face, [bool(face_rows)], pair, time, spread, [np.log(measured[0].pixels), min(fps, 120.0)]])
    named = dict(zip(_FRAME, frame, strict=True))
    # A sharp face picture has a Laplacian deviation of ten and more, heavy blur of less than one.
    signals = {
        "black": float(np.mean([one.black for one in measured])),
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
    scales: list[Plane] = [plane]
    while len(scales) < SCALES:
        height, width = scales[-1].shape
        scales.append(cv2.resize(scales[-1], (max(8, width // 2), max(8, height // 2)), interpolation=cv2.INTER_AREA))
    numbers = [number for scale in scales for number in scene_statistics(scale)]
    half_detail = dict(zip(_DETAIL, detail(scales[1]), strict=True))
    small = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    opponent = red - green, (red + green) / 2 - blue
    # Colourfulness after Hasler and Suesstrunk, 2003.
    colourfulness = np.hypot(opponent[0].std(), opponent[1].std()) + 0.3 * np.hypot(opponent[0].mean(), opponent[1].mean())
    saturation = (small.max(axis=2) - small.min(axis=2)).mean()
    return [
        *numbers, *detail(plane), half_detail["gradient_p90"], half_detail["laplacian_std"],
        blockiness(luma, 8), blockiness(luma, 16), noise_level(plane), *_light(luma),
        float(saturation), float(colourfulness), float(opponent[0].mean()), float(opponent[1].mean()),
    ]  # fmt: skip


def _face_numbers(crop: Image) -> list[float]:
    luma = _luma(crop)
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
    variance = cv2.GaussianBlur(plane * plane, (7, 7), 7 / 6)
    deviation = cv2.sqrt(np.maximum(variance - mean * mean, 0))
    return np.asarray((plane - mean) / (deviation + 1), np.float32)


@cache
def _shape_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ratio, shape): E[|x|]^2 / E[x^2] of a generalised Gaussian for each shape, both ascending."""
    shapes = np.arange(0.2, 10.0, 0.01)
    ratios = np.array([gamma(2 / a) ** 2 / (gamma(1 / a) * gamma(3 / a)) for a in shapes])
    return ratios, shapes


def _shape_of(ratio: float) -> float:
    ratios, shapes = _shape_table()
    return float(np.interp(ratio, ratios, shapes))


def _generalised_gaussian(values: Plane) -> list[float]:
    square = cv2.norm(values, cv2.NORM_L2SQR) / values.size
    if square < 1e-8:
        return [10.0, 0.0]
    absolute = cv2.norm(values, cv2.NORM_L1) / values.size
    return [_shape_of(absolute * absolute / square), square]


def _asymmetric_gaussian(values: Plane) -> list[float]:
    negative = np.minimum(values, 0)
    below = cv2.countNonZero(negative)
    total, left_sum = cv2.norm(values, cv2.NORM_L2SQR), cv2.norm(negative, cv2.NORM_L2SQR)
    if total < 1e-8 * values.size:
        return [10.0, 0.0, 0.0, 0.0]
    left = np.sqrt(left_sum / max(1, below))
    right = np.sqrt(max(0.0, total - left_sum) / max(1, values.size - below))
    absolute = cv2.norm(values, cv2.NORM_L1) / values.size
    balance = left / (right + 1e-8)
    ratio = absolute * absolute / (total / values.size)
    ratio *= (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    return [_shape_of(float(ratio)), cv2.mean(values)[0], float(left), float(right)]


def detail(plane: Plane) -> list[float]:
    """Percentiles 50, 75, 90, 99 of the gradient's size, 50, 90, 99 of the Laplacian's, and the Laplacian's deviation."""
    dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3)
    laplacian = cv2.Laplacian(plane, cv2.CV_32F)
    gradients = np.hypot(dx.ravel()[::STRIDE], dy.ravel()[::STRIDE])
    edges = np.abs(laplacian.ravel()[::STRIDE])
    return [
        *np.log1p(np.percentile(gradients, (50, 75, 90, 99))).tolist(),
        *np.log1p(np.percentile(edges, (50, 90, 99))).tolist(),
        float(cv2.meanStdDev(laplacian)[1][0, 0]),
    ]


def blockiness(luma: Image, period: int) -> float:
    """Strength of a coding grid of that period, 0 (none) upwards; slightly under 0 by chance.

    How much larger the steps between neighbours are at the strongest phase of the grid than elsewhere, relative to the
    mean step. luma: (H, W) uint8, H and W >= 2 * period. After Wang, Bovik and Evans, ICIP 2000, in the pixel domain;
    the phase is searched because crops and scaled pictures do not start on the grid.
    """
    strengths = []
    across, down = cv2.absdiff(luma[:, 1:], luma[:, :-1]), cv2.absdiff(luma[1:], luma[:-1])
    for steps in (
        cv2.reduce(across, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(),
        cv2.reduce(down, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(),
    ):
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
    blocks = cv2.resize(response[:height, :width], (width // 8, height // 8), interpolation=cv2.INTER_AREA).ravel()
    flattest = np.sort(blocks)[: max(1, len(blocks) // 5)]
    return float(np.sqrt(np.pi / 2) / 6 * flattest.mean())


def _light(luma: Image) -> list[float]:
    mean, deviation = cv2.meanStdDev(luma)
    counts = np.bincount(luma.ravel(), minlength=256) / luma.size
    return [float(mean[0, 0]), float(deviation[0, 0]), float(counts[: BLACK_LUMA + 1].sum()), float(counts[240:].sum())]


def _pair_numbers(luma: Image, following: Image) -> list[float]:
    change = cv2.absdiff(luma, following)
    laplacian = cv2.Laplacian(cv2.subtract(luma, following, dtype=cv2.CV_32F), cv2.CV_32F)
    return [
        float(np.log1p(cv2.mean(change)[0])),
        float(np.log1p(np.percentile(change.ravel()[::STRIDE], 90))),
        1 - cv2.countNonZero(change) / change.size,
        float(np.log1p(cv2.meanStdDev(laplacian)[1][0, 0])),
    ]


def _time_numbers(course: NDArray[np.uint8], times: NDArray[np.float64]) -> list[float]:
    """Share of the time that is frozen, 0-1, and the course of change between all neighbouring frames."""
    shown = np.diff(times)
    total = max(float(shown.sum()), 1e-9)
    too_long = float(np.maximum(shown - LONGEST_HOLD, 0).sum())
    if len(course) < 2:
        return [min(1.0, too_long / total), *[0.0] * (len(_TIME) - 1)]
    # Each frame against the one before; the first has none, and is left out of the time as well.
    motion = np.array([cv2.norm(a, b, cv2.NORM_L1) for a, b in pairwise(course)]) / course[0].size
    still = motion < FREEZE_DIFFERENCE
    frozen = float(shown[1:][still].sum()) + float(np.maximum(shown[:1] - LONGEST_HOLD, 0).sum())
    frozen += float(np.maximum(shown[1:][~still] - LONGEST_HOLD, 0).sum())
    light = np.array([cv2.mean(one)[0] for one in course])
    logarithm = np.log1p(motion)
    return [
        min(1.0, frozen / total),
        float(logarithm.mean()),
        float(logarithm.std()),
        float(logarithm.max()),
        float(logarithm.min()),
        float(np.abs(np.diff(light)).mean()),
    ]


def centre_crop(image: Image) -> Image:
    """A copy of the middle of an (H, W, 3) uint8 picture, at most `CENTRE_SIDE` and at least 32 px a side."""
    height, width = image.shape[:2]
    y, x = max(0, (height - CENTRE_SIDE) // 2), max(0, (width - CENTRE_SIDE) // 2)
    return _at_least(image[y : y + CENTRE_SIDE, x : x + CENTRE_SIDE], 32)


def _luma(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def _face_crop(image: Image, box: tuple[int, int, int, int]) -> Image:
    x, y, w, h = box
    cx, cy = x + w // 2, y + h // 2
    half_w, half_h = min(w, FACE_SIDE) // 2 + 1, min(h, FACE_SIDE) // 2 + 1
    crop = image[max(0, cy - half_h) : cy + half_h, max(0, cx - half_w) : cx + half_w]
    return _at_least(crop, 32)


def _at_least(image: Image, side: int) -> Image:
    """A copy, padded by reflection up to a side that every statistic can be taken of."""
    below, right = max(0, side - image.shape[0]), max(0, side - image.shape[1])
    if not below and not right:
        return image.copy()
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT)
