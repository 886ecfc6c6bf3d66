"""A detector's graph, run by onnxruntime, and the picture as the graph takes it: what MediaPipe does around its models."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.cpu_session import cpu_session
from scorer.errors import lacks_memory
from scorer.sampling.images import Image

ASSETS = Path(__file__).parent.parent / "assets"


class DetectorGraph:
    """A graph in `scorer/assets`, loaded; `scripts/detectors` makes them."""

    def __init__(self, name: str) -> None:
        # One thread: there is a sampling child for each core already.
        self._session = cpu_session((ASSETS / f"{name}.onnx").read_bytes(), threads=1)

    def run(self, picture: Image, zero: float) -> list[NDArray[np.float32]]:
        """The graph's outputs, each (channels, height, width).

        picture: (H, W, 3) uint8 RGB of the graph's size. zero: the value of a byte that is 0 to the graph. Raises MemoryError.
        """
        planes = cv2.dnn.blobFromImage(picture, mean=(zero, zero, zero))
        try:
            outputs = self._session.run(None, {"pictures": planes})
        except Exception as error:  # onnxruntime's errors have no base of their own
            if lacks_memory(error):
                raise MemoryError from error
            raise
        return [output[0] for output in outputs]


def at_most(image: Image, side: int) -> Image:
    """The (H, W, 3) picture, scaled down so that its longer side is `side` px; the picture itself where it is no larger."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale == 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def stretched(image: Image, area: tuple[float, float], size: tuple[int, int], border: int) -> Image:
    """A centred area of the picture at another size, bilinear, as MediaPipe scales.

    area: (width, height) px, around the picture's centre; it may be larger than the picture. size: (width, height) px of the
    result. border: what is outside of the picture, `cv2.BORDER_CONSTANT` (black) or `cv2.BORDER_REPLICATE`.
    """
    height, width = image.shape[:2]
    if area == size == (width, height):
        return image
    left, top = (width - area[0]) / 2, (height - area[1]) / 2
    right, bottom = left + area[0], top + area[1]
    corners = np.array([[left, bottom], [left, top], [right, top], [right, bottom]], np.float32)
    targets = np.array([[0, size[1]], [0, 0], [size[0], 0], [size[0], size[1]]], np.float32)
    # Not `cv2.resize`, which is faster: it puts the centres of pixels onto each other, and this their corners.
    transform = cv2.getPerspectiveTransform(corners, targets)
    return np.asarray(cv2.warpPerspective(image, transform, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)
