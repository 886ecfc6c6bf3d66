"""The person without the background, with MediaPipe's model for selfies."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.detector_graph import DetectorGraph, at_most, stretched
from scorer.sampling.images import Image

MODEL = "selfie_segmentation_landscape"
SIZE = 256, 144
"""(width, height) of the model's picture."""

GREY = 128
SEGMENTATION_SIDE = 256


class PersonMatte:
    """MediaPipe's model that separates a person from the background ("selfie segmentation, landscape"), loaded."""

    def __init__(self) -> None:
        self._graph = DetectorGraph(MODEL)

    def mask(self, image: Image) -> NDArray[np.float32]:
        """(h, w), 0-1: confidence that there is a person, of an (H, W, 3) RGB picture scaled to at most `SEGMENTATION_SIDE`."""
        small = at_most(image, SEGMENTATION_SIDE)
        height, width = small.shape[:2]
        (person,) = self._graph.run(stretched(small, (width, height), SIZE, cv2.BORDER_REPLICATE), zero=0.0)
        mask = person[0]
        if (width, height) == SIZE:
            return mask
        return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def portrait_fragment(
    image: Image, mask: NDArray[np.float32], face: tuple[int, int, int, int] | None, side: int
) -> tuple[Image, bool]:
    """A native (side, side, 3) fragment of the person on grey, and whether there is a person in it.

    It is centred on the face where there is one, else on the mask's centre of mass. mask: see `PersonMatte.mask`. face: the
    box (x, y, w, h) px, None without a face.
    """
    height, width = image.shape[:2]
    if face is not None:
        x, y, w, h = face
        cx, cy = x + w / 2, y + h / 2
    else:
        weight = float(mask.sum())
        if weight < 0.02 * mask.size:
            return np.full((side, side, 3), GREY, np.uint8), False
        rows, columns = np.indices(mask.shape)
        cx = float((columns * mask).sum()) / weight * width / mask.shape[1]
        cy = float((rows * mask).sum()) / weight * height / mask.shape[0]
    x0 = int(np.clip(cx - side / 2, 0, max(0, width - side)))
    y0 = int(np.clip(cy - side / 2, 0, max(0, height - side)))
    patch = image[y0 : y0 + side, x0 : x0 + side]
    sx, sy = mask.shape[1] / width, mask.shape[0] / height
    matrix = np.array([[sx, 0, (x0 + 0.5) * sx - 0.5], [0, sy, (y0 + 0.5) * sy - 0.5]], np.float32)
    alpha = cv2.warpAffine(
        mask,
        matrix,
        (patch.shape[1], patch.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )[..., None]
    matted = np.rint(patch * alpha + GREY * (1 - alpha)).astype(np.uint8)
    below, right = side - matted.shape[0], side - matted.shape[1]
    if below or right:
        matted = cv2.copyMakeBorder(matted, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    return matted, bool(alpha.mean() > 0.05)
