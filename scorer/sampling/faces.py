"""Faces with MediaPipe's model: boxes, and crops of a face turned upright."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.detector_graph import DetectorGraph, at_most, stretched
from scorer.sampling.face_boxes import SIDE, decode_faces
from scorer.sampling.images import Image

MODEL = "face_detection_full_range_sparse"
MIDDLE_GREY = 127.5
"""The value of a byte that is 0 to the model."""

DETECTION_SIDE = 640
"""Pictures are scaled down to this longer side for detection; the crop is cut at native resolution."""

TEMPLATE = np.array([[0.34, 0.40], [0.66, 0.40], [0.50, 0.60], [0.50, 0.76]], np.float32)
"""Positions (x, y) of the eyes, the tip of the nose and the mouth in an aligned crop, as shares of its side."""


@dataclass(frozen=True)
class Face:
    """One face. box: (x, y, w, h) px, clipped to the picture. points: (4, 2) px: left eye, right eye (as seen), nose, mouth."""

    box: tuple[int, int, int, int]
    points: NDArray[np.float32]

    @property
    def area(self) -> int:
        """Pixels in the box."""
        return self.box[2] * self.box[3]


class FaceFinder:
    """MediaPipe's model that finds faces ("full range, sparse"), loaded."""

    def __init__(self) -> None:
        self._graph = DetectorGraph(MODEL)

    def find(self, image: Image) -> list[Face]:
        """The faces in an (H, W, 3) uint8 RGB picture, largest first."""
        height, width = image.shape[:2]
        small = at_most(image, DETECTION_SIDE)
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        rows, columns = small.shape[:2]
        side = max(rows, columns)
        square = stretched(small, (side, side), (SIDE, SIDE), cv2.BORDER_CONSTANT)
        # From shares of the square to pixels of the small picture, which lies in the square's middle.
        margin = np.array([side - columns, side - rows]) / 2
        faces = []
        for place, size, points in zip(*decode_faces(*self._graph.run(square, MIDDLE_GREY)), strict=True):
            # As MediaPipe gives them, because the models learned from its boxes: whole pixels of the small picture, cut off, not
            # rounded, and a box that begins outside of the picture is moved into it.
            x, y = np.maximum(0, np.trunc(place * side - margin)).tolist()
            w, h = np.trunc(size * side).tolist()
            left, top = max(0, round(x / scale)), max(0, round(y / scale))
            right, bottom = min(width, round((x + w) / scale)), min(height, round((y + h) / scale))
            if right - left < 8 or bottom - top < 8:
                continue
            in_image = (points[:4] * side - margin) * [width / columns, height / rows]
            faces.append(Face((left, top, right - left, bottom - top), in_image.astype(np.float32)))
        return sorted(faces, key=lambda face: -face.area)


def aligned_crop(image: Image, face: Face, side: int) -> Image:
    """The face turned upright and scaled to (side, side, 3): a similarity transform of its points to `TEMPLATE`."""
    transform = similarity(face.points, TEMPLATE * side)
    # Warping to a smaller size aliases, so blur first.
    shrink = float(np.hypot(transform[0, 0], transform[1, 0]))
    x, y, w, h = face.box
    margin = max(w, h)
    x0, y0 = max(0, x - margin), max(0, y - margin)
    patch = image[y0 : y + h + margin, x0 : x + w + margin]
    if shrink < 0.7:
        patch = cv2.GaussianBlur(patch, (0, 0), 0.4 / shrink)
    moved = transform.copy()
    moved[:, 2] += transform[:, :2] @ np.array([x0, y0])
    return np.asarray(cv2.warpAffine(patch, moved, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def similarity(points: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """The (2, 3) matrix of rotation, scale and shift that maps `points` nearest to `targets`, both (N, 2), by least squares.

    In complex numbers it is target = a * point + b, which cannot be a reflection.
    """
    source = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    target = targets[:, 0].astype(np.float64) + 1j * targets[:, 1]
    centred = source - source.mean()
    # Points that all coincide have no size: any scale fits, so take 1.
    a = np.vdot(centred, target) / max(1e-6, np.vdot(centred, centred).real) or 1.0
    b = target.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
