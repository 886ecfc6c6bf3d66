"""Decodes the first keyframe of a segment for a glance (`scorer.sampling.glance`), and measures it. Only children load this."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from scorer.sampling.features import (
    BLACK_LUMA,
    EDGES,
    blockiness,
    colour_features,
    edge_features,
    ggd_features,
    light_features,
    mscn,
    noise_level,
)
from scorer.sampling.images import Image, scaled_down
from scorer.sampling.opening import prepare
from scorer.sampling.orientation import aspect_of, orientation_of
from scorer.sampling.pictures import EIGHT_BIT_LUMA, Pictures, coded_luma, to_full_range
from scorer.sampling.sampler import THUMBNAIL_HEIGHT
from scorer.sampling.scan import Scan, scanned
from scorer.sampling.sizes import check_size

CENTRE_SIDE = 256
"""Largest side of the keyframe's middle that is measured, px."""

SMALLEST_SIDE = 32
"""Smallest side of it, px; smaller pictures are continued by reflection."""

FULL_RANGE = 2
"""FFmpeg's number for luma of 0-255; any other is taken as 16-235."""


@dataclass(frozen=True)
class Keyframe:
    """What `Glance` has of a keyframe, under the same names."""

    picture: NDArray[np.float32]
    black: float
    thumbnail: Image


def look(path: Path, sound: bool = True) -> tuple[Scan, Keyframe | None]:
    """What the packets say, and the first keyframe; None where there is none, or it is damaged. Raises `MediaError`.

    sound: whether to listen, too.
    """
    with scanned(path, sound) as scan:
        frame = _keyframe(scan)
        if frame is None:
            return scan, None
        check_size(frame.width, frame.height)
        luma, square = coded_luma(frame), Pictures(None).square(frame, 2 * THUMBNAIL_HEIGHT)
        step = max(1, min(luma.shape) // 240)
        black = float(np.mean(luma[::step, ::step] <= _black(frame)))
        middle = _middle(luma)
        if not _is_full_range(frame):
            middle = to_full_range(middle)
        aspect = aspect_of(frame, scan.context.name, scan.pixel_aspect)
        return scan, Keyframe(_statistics(middle, square), black, _thumbnail(square, frame, aspect))


def _keyframe(scan: Scan) -> Any | None:
    """The first keyframe, decoded; None where there is none, or it is damaged."""
    if scan.key is None:
        return None
    context = scan.context
    prepare(context)
    try:
        # None: the decoder would wait for pictures that are shown before this one.
        return next((frame for packet in (scan.key, None) for frame in context.decode(packet)), None)
    except MemoryError:
        raise
    except FFmpegError:
        return None


def _statistics(luma: Image, square: Image) -> NDArray[np.float32]:
    """`glance.PICTURE_NAMES`. luma: (h, w) uint8, of the full range. square: the whole picture in RGB, squeezed."""
    plane = luma.astype(np.float32)
    height, width = plane.shape
    half = cv2.resize(plane, (max(16, width // 2), max(16, height // 2)), interpolation=cv2.INTER_AREA)
    half_edges = dict(zip(EDGES, edge_features(half), strict=True))
    values = [
        *ggd_features(mscn(plane)),
        *edge_features(plane),
        *ggd_features(mscn(half)),
        half_edges["gradient_p90"],
        half_edges["laplacian_std"],
        blockiness(luma, 8),
        noise_level(plane),
        *light_features(luma),
        *colour_features(square),
    ]
    return np.nan_to_num(np.array(values, np.float32), posinf=0.0, neginf=0.0)


def _is_full_range(frame: Any) -> bool:
    name = frame.format.name
    return frame.color_range == FULL_RANGE or name.startswith("yuvj") or name not in EIGHT_BIT_LUMA


def _black(frame: Any) -> int:
    """The highest luma as it is coded that is black in the full range, as for the signal `black`."""
    return BLACK_LUMA if _is_full_range(frame) else _limited_black()


@cache
def _limited_black() -> int:
    return int(np.flatnonzero(to_full_range(np.arange(256, dtype=np.uint8)) <= BLACK_LUMA)[-1])


def _middle(luma: Image) -> Image:
    """A copy of the middle of an (H, W) luma, at most `CENTRE_SIDE` and at least `SMALLEST_SIDE` a side."""
    height, width = luma.shape
    y, x = max(0, (height - CENTRE_SIDE) // 2), max(0, (width - CENTRE_SIDE) // 2)
    middle = luma[y : y + CENTRE_SIDE, x : x + CENTRE_SIDE]
    below, right = max(0, SMALLEST_SIDE - middle.shape[0]), max(0, SMALLEST_SIDE - middle.shape[1])
    if not below and not right:
        return middle.copy()
    return cv2.copyMakeBorder(middle, 0, below, 0, right, cv2.BORDER_REFLECT)


def _thumbnail(square: Image, frame: Any, pixel_aspect: Any) -> Image:
    """The squeezed picture in its own shape, `THUMBNAIL_HEIGHT` high."""
    aspect = frame.width / frame.height * float(pixel_aspect or 1)
    shape = 1 / aspect if orientation_of(frame).transposed else aspect
    # Very wide pictures are squeezed to 4:1: a thumbnail is shown in a table.
    width = max(1, min(4 * THUMBNAIL_HEIGHT, round(THUMBNAIL_HEIGHT * shape)))
    return scaled_down(square, (width, THUMBNAIL_HEIGHT))
