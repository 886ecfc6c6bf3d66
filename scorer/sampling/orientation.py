"""How a coded picture is laid on the screen: the display matrix, and the shape of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from scorer.sampling.images import Image
from scorer.sampling.sizes import MAX_PIXELS

ASPECT_TOLERANCE = 0.07
"""Pixels whose width and height differ by at most this share count as square: a viewer does not see it, and scaling softens."""

WIDEST_ASPECT = 4
"""A pixel that is more than this many times wider than high, or higher than wide, is a mistake of the file, and is ignored."""


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture on the screen. The steps are done in the order of the fields.

    transposed: rows become columns. mirrored: left and right change places. upended: top and bottom change places.
    """

    transposed: bool = False
    mirrored: bool = False
    upended: bool = False

    def __call__(self, image: Image) -> Image:
        """The (H, W, 3) picture as a viewer sees it; (W, H, 3) where it is transposed."""
        if self == UPRIGHT:
            return image
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.upended:
            image = image[::-1]
        return np.ascontiguousarray(image)


UPRIGHT = Orientation()


def orientation_of(frame: Any) -> Orientation:
    """What the display matrix of an `av.VideoFrame` asks for; of the eight orientations the nearest."""
    try:
        # Not frame.side_data: frame and side data would keep each other, and their memory, until Python's collector runs.
        data = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    except ValueError:  # PyAV does not list the side data of a frame that has a kind which it does not know
        quarter_turns = round(frame.rotation / 90) % 4
        return (UPRIGHT, Orientation(True, False, True), Orientation(False, True, True), Orientation(True, True))[quarter_turns]
    if data is None:
        return UPRIGHT
    return orientation_of_matrix(np.frombuffer(bytes(data), np.int32).tolist())


def orientation_of_matrix(matrix: list[int]) -> Orientation:
    """The orientation of a display matrix: 9 integers a b u c d v x y w, as ISO/IEC 14496-12, 8.2.2, has them.

    The point (p, q) of the picture is shown at (a p + c q + x, b p + d q + y).
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def aspect_of(frame: Any, codec: str, stated: Fraction | None) -> Fraction | None:
    """Width of a pixel of an `av.VideoFrame` divided by its height; None where nobody says. stated: by its stream, likewise.

    HEVC codes interlaced video as a picture for each field, and FFmpeg gives out each as a frame of half the height.
    """
    return (stated or Fraction(1)) / 2 if codec == "hevc" and frame.interlaced_frame else stated


def with_square_pixels(image: Image, aspect: Fraction | None) -> Image:
    """The picture as a player shows it where a pixel is `aspect` times as wide as it is high: the shorter side is stretched."""
    if aspect is None or not aspect > 0 or not ASPECT_TOLERANCE < abs(math.log(aspect)) <= math.log(WIDEST_ASPECT):
        return image
    height, width = image.shape[:2]
    is_too_large = height * width * max(aspect, 1 / aspect) > MAX_PIXELS
    if (aspect > 1) != is_too_large:  # a picture that would get too large is squeezed instead
        width = max(1, round(width * aspect))
    else:
        height = max(1, round(height / aspect))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
