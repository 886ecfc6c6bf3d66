"""MediaPipe's own face detector and person segmenter, with its models as it ships them: what `scorer.sampling` must equal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import mediapipe as mp
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.detector_graph import at_most
from scorer.sampling.faces import DETECTION_SIDE, Face
from scorer.sampling.images import Image
from scorer.sampling.portrait import SEGMENTATION_SIDE
from tests.support.processes import ROOT

MODELS = ROOT / "scripts/detectors"


class MediaPipe:
    """Both, loaded. Close it before the interpreter ends: MediaPipe raises an error when it is open then."""

    def __init__(self) -> None:
        vision = mp.tasks.vision
        self._faces = vision.FaceDetector.create_from_options(
            vision.FaceDetectorOptions(base_options=_model("face_detection_full_range_sparse"), min_detection_confidence=0.5)
        )
        self._person = vision.ImageSegmenter.create_from_options(
            vision.ImageSegmenterOptions(
                base_options=_model("selfie_segmentation_landscape"), output_confidence_masks=True, output_category_mask=False
            )
        )

    def faces(self, image: Image) -> list[Face]:
        """As `FaceFinder.find`."""
        height, width = image.shape[:2]
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        faces = []
        for detection in self._faces.detect(_scaled(image, DETECTION_SIDE)).detections:
            box = detection.bounding_box
            left, top = max(0, round(box.origin_x / scale)), max(0, round(box.origin_y / scale))
            right = min(width, round((box.origin_x + box.width) / scale))
            bottom = min(height, round((box.origin_y + box.height) / scale))
            if right - left < 8 or bottom - top < 8:
                continue
            points = np.array([[point.x * width, point.y * height] for point in detection.keypoints[:4]], np.float32)
            faces.append(Face((left, top, right - left, bottom - top), points))
        return sorted(faces, key=lambda face: -face.area)

    def mask(self, image: Image) -> NDArray[np.float32]:
        """As `PersonMatte.mask`."""
        picture = _scaled(image, SEGMENTATION_SIDE)
        mask = self._person.segment(picture).confidence_masks[0].numpy_view()
        return np.array(mask, np.float32).reshape(picture.height, picture.width)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._faces.close()
        self._person.close()


def _model(name: str) -> mp.tasks.BaseOptions:
    return mp.tasks.BaseOptions(model_asset_buffer=Path(MODELS / f"{name}.tflite").read_bytes())


def _scaled(image: Image, side: int) -> mp.Image:
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(at_most(image, side)))
