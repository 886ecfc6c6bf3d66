"""Faces with MediaPipe: boxes, and crops of a face turned upright."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.images import Image

MODEL = Path(__file__).parent.parent / "assets" / "face_detection_full_range_sparse.tflite"
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
    """A loaded face detector; close it before the interpreter ends."""

    def __init__(self) -> None:
        # Imported late: a process that only gives files to the pool does not need MediaPipe.
        import mediapipe as mp

        self._mp = mp
        options = mp.tasks.vision.FaceDetectorOptions(
            base_options=mp.tasks.BaseOptions(model_asset_buffer=MODEL.read_bytes()), min_detection_confidence=0.5
        )
        self._detector = mp.tasks.vision.FaceDetector.create_from_options(options)

    def find(self, image: Image) -> list[Face]:
        """The faces in an (H, W, 3) uint8 RGB picture, largest first."""
        height, width = image.shape[:2]
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        small = (
            image
            if scale == 1
            else cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
        )
        result = self._detector.detect(self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(small)))
        faces = []
        for detection in result.detections:
            box = detection.bounding_box
            left, top = max(0, round(box.origin_x / scale)), max(0, round(box.origin_y / scale))
            right = min(width, round((box.origin_x + box.width) / scale))
            bottom = min(height, round((box.origin_y + box.height) / scale))
            if right - left < 8 or bottom - top < 8:
                continue
            points = np.array([[p.x * width, p.y * height] for p in detection.keypoints[:4]], np.float32)
            faces.append(Face((left, top, right - left, bottom - top), points))
        return sorted(faces, key=lambda face: -face.area)

    def close(self) -> None:
        """Free the detector: MediaPipe raises an error when the interpreter ends while it is open."""
        self._detector.close()


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
