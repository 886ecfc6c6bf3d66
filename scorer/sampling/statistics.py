"""The technical statistics of a clip, a vector of named numbers for the model. What people read: `scorer.sampling.signals`.

`measured_frame` cuts crops at native size from each sampled frame, of the frame's centre and of the face. At the end of
the clip `clip_statistics` computes the features of all crops and of the change over time; a few ms per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.bitstream.packets import Packets
from scorer.sampling.features import (
    COLOUR,
    EDGES,
    GGD,
    LIGHT,
    SCENE,
    Plane,
    blockiness,
    colour_features,
    edge_features,
    ggd_features,
    grid_strengths,
    light_features,
    mscn,
    noise_level,
    scene_features,
)
from scorer.sampling.images import Image, luma_of
from scorer.sampling.steadiness import STEADINESS, steadiness
from scorer.sampling.temporal import CHANGE, MOTION, change_features, motion_features


@dataclass(frozen=True)
class Sides:
    """Largest sides of the crops, px: enough pixels for stable moments, few enough for a live stream's time."""

    centre: int
    face: int


SIDES = {1: Sides(384, 192), 2: Sides(256, 160), 3: Sides(256, 160)}
"""By version of the statistics' definition, `SamplerSpec.statistics_version`."""

FIRST_WITH_STEADINESS = 3
"""The first version that says how steadily the clip is delivered."""

SMALLEST_SIDE = 32
"""Smallest side of the crops, px: `blockiness` of period 16 needs it. Smaller pictures are continued by reflection."""

SCALES = 3
"""Scales of the scene features: native size, a half, a quarter."""

FRAME = (
    *(f"scene{s}_{name}" for s in range(SCALES) for name in SCENE),
    *EDGES,
    "half_gradient_p90",
    "half_laplacian_std",
    "grid8",
    "grid16",
    "noise",
    *LIGHT,
    *COLOUR,
)
FACE = tuple(f"face_{name}" for name in (*GGD, *EDGES, "grid8", "noise", *LIGHT))
SPREAD = ("laplacian_std", "grid8", "noise", "luma_mean", "scene0_ggd_variance")
"""Features of `FRAME` whose standard deviation over the frames is a number of its own."""

NAMES: tuple[str, ...] = (
    *FRAME,
    *FACE,
    "face_present",
    *CHANGE,
    *MOTION,
    *(f"{name}_spread" for name in SPREAD),
    "log_pixels",
    "fps",
)
"""The numbers of `clip_statistics`, in order; version 3 has `STEADINESS` after them."""


def names_of(version: int) -> tuple[str, ...]:
    """The names of a clip's statistics by that version of their definition, in order."""
    return (*NAMES, *STEADINESS) if version >= FIRST_WITH_STEADINESS else NAMES


@dataclass
class MeasuredFrame:
    """What the statistics keep of one sampled frame: crops at native size, so that the picture itself can be freed.

    centre: (h, w, 3) uint8 RGB, at most `Sides.centre` a side. face: likewise, at most `Sides.face`; None without a face.
    pixels: of the whole picture.
    following: (h, w) uint8 luma of the next frame at `centre`'s place, None at the end.
    """

    centre: Image
    face: Image | None
    pixels: int
    following: Image | None = None


def measured_frame(image: Image, face: tuple[int, int, int, int] | None, sides: Sides = SIDES[1]) -> MeasuredFrame:
    """Cut from an (H, W, 3) uint8 RGB picture what the statistics need. face: (x, y, w, h) px of the largest, None without."""
    return MeasuredFrame(
        centre=centre_crop(image, sides.centre),
        face=None if face is None else _face_crop(image, face, sides.face),
        pixels=image.shape[0] * image.shape[1],
    )


def following_luma(image: Image, sides: Sides = SIDES[1]) -> Image:
    """The luma that `MeasuredFrame.following` takes, of the (H, W, 3) uint8 RGB picture after the measured one."""
    return luma_of(centre_crop(image, sides.centre))


def clip_statistics(
    frames: Sequence[MeasuredFrame],
    small_lumas: NDArray[np.uint8],
    times: NDArray[np.float64],
    fps: float,
    held: NDArray[np.float64] | None = None,
    packets: Packets | None = None,
) -> NDArray[np.float32]:
    """The statistics of one clip, (len(NAMES),) float32, finite; with packets, (len(NAMES) + len(STEADINESS),).

    frames: one or more sampled frames. small_lumas: (N, h, w) uint8, the luma of the clip's frames, scaled down.
    times: (N + 1,) seconds of these frames and of the clip's end, ascending. fps: frames per second. held: see
    `scorer.sampling.temporal.motion_features`. packets: those of the clip's pictures, from version 3 on.
    """
    frame_rows, face_rows, change_rows = [], [], []
    for frame in frames:
        luma = luma_of(frame.centre)
        frame_rows.append(_frame_features(luma, frame.centre))
        if frame.face is not None:
            face_rows.append(_face_features(frame.face))
        # The picture's size may change within a clip; then there is nothing to compare.
        if frame.following is not None and frame.following.shape == luma.shape:
            change_rows.append(change_features(luma, frame.following))
    over_frames = np.array(frame_rows)
    means = over_frames.mean(axis=0)
    face = np.mean(face_rows, axis=0) if face_rows else np.zeros(len(FACE))
    change = np.mean(change_rows, axis=0) if change_rows else np.zeros(len(CHANGE))
    motion = motion_features(small_lumas, times, held)
    spread = over_frames[:, [FRAME.index(name) for name in SPREAD]].std(axis=0)
    steady = [] if packets is None else steadiness(packets, small_lumas, times)
    size_and_rate = [np.log(frames[0].pixels), min(fps, 120.0)]
    values = np.concatenate([means, face, [bool(face_rows)], change, motion, spread, size_and_rate, steady])
    return np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)


def _frame_features(luma: Image, centre: Image) -> list[float]:
    """`FRAME` of one frame's centre. luma: (h, w) uint8; centre: the same crop in RGB."""
    plane = luma.astype(np.float32)
    scales: list[Plane] = [plane]
    while len(scales) < SCALES:
        height, width = scales[-1].shape
        scales.append(cv2.resize(scales[-1], (max(8, width // 2), max(8, height // 2)), interpolation=cv2.INTER_AREA))
    half_edges = dict(zip(EDGES, edge_features(scales[1]), strict=True))
    return [
        *(feature for scale in scales for feature in scene_features(scale)),
        *edge_features(plane),
        half_edges["gradient_p90"],
        half_edges["laplacian_std"],
        *grid_strengths(luma, (8, 16)),
        noise_level(plane),
        *light_features(luma),
        *colour_features(centre),
    ]


def _face_features(crop: Image) -> list[float]:
    """`FACE` of one (h, w, 3) uint8 RGB crop of a face."""
    luma = luma_of(crop)
    plane = luma.astype(np.float32)
    return [
        *ggd_features(mscn(plane)),
        *edge_features(plane),
        blockiness(luma, 8),
        noise_level(plane),
        *light_features(luma),
    ]


def centre_crop(image: Image, most: int) -> Image:
    """A copy of the middle of an (H, W, 3) uint8 picture, at most `most` a side."""
    height, width = image.shape[:2]
    y, x = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return _at_least_smallest(image[y : y + most, x : x + most])


def _face_crop(image: Image, box: tuple[int, int, int, int], most: int) -> Image:
    x, y, w, h = box
    cx, cy = x + w // 2, y + h // 2
    half_w, half_h = min(w, most) // 2 + 1, min(h, most) // 2 + 1
    return _at_least_smallest(image[max(0, cy - half_h) : cy + half_h, max(0, cx - half_w) : cx + half_w])


def _at_least_smallest(image: Image) -> Image:
    """A copy, continued by reflection up to `SMALLEST_SIDE`."""
    below, right = max(0, SMALLEST_SIDE - image.shape[0]), max(0, SMALLEST_SIDE - image.shape[1])
    if not below and not right:
        return image.copy()
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT)
