"""Pictures as arrays, and the few operations on them that several steps share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""A uint8 picture: (H, W, 3) RGB, or (H, W) luma. `Any`, because OpenCV's type stubs do not say uint8."""


def luma_of(image: Image) -> Image:
    """The (H, W) uint8 luma of an (H, W, 3) uint8 RGB picture."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def scaled_down(image: Image, size: tuple[int, int]) -> Image:
    """The picture at size (width, height) px; each new pixel is the mean of the area that it covers."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def luma_scaled_down(luma: Image, size: tuple[int, int]) -> Image:
    """An (H, W) uint8 luma at size (width, height) px, value for value as `scaled_down` gives it, but faster where it can be.

    OpenCV adds up the pixels of each area one by one. Where areas are whole pixels, as in all pictures of 16:9 at the size of
    the small luma, lines are added up first, many pixels at a time.
    """
    width, height = size
    down, across = len(luma) // height, luma.shape[1] // width
    # 2 x 2 is another rounding of OpenCV's; the sum of 257 lines may not fit into 16 bits.
    if luma.shape != (height * down, width * across) or not 2 < down < 257 or not 2 < across < 257:
        return scaled_down(luma, size)
    lines = luma.reshape(height, down, -1).sum(axis=1, dtype=np.uint16)
    means = cv2.resize(lines.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    sums = np.rint(means * np.float32(across))
    return np.rint(sums * np.float32(1 / (down * across))).astype(np.uint8)
