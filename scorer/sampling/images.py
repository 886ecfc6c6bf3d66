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
