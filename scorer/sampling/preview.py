"""A small JPEG of a clip's middle frame, to show to people. Nothing that is measured depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import cv2
import numpy as np

from scorer.errors import MediaError
from scorer.sampling.faces import Face
from scorer.sampling.images import Image, scaled_down
from scorer.spec import Preview

FacesInPreviews = Literal["show", "blur"]

HEIGHT = 90
WIDEST = 4 * HEIGHT
QUALITY = 75

MARGIN = 0.3
"""What is blurred around a face's box, as a share of its sides: hair, chin and ears."""

CELLS = 3
"""A blurred face is made of as many colours across and down: too few to know anybody by."""


class PreviewMaker:
    """Collects what a preview needs while a clip is sampled. faces: whether they are shown or blurred."""

    def __init__(self, faces: FacesInPreviews) -> None:
        self._blurred = faces == "blur"
        self._boxes: list[tuple[float, float, float, float]] = []
        self._small: Image | None = None

    def add_faces(self, faces: Iterable[Face], picture: Image) -> None:
        """Note where faces are. In every sampled frame: one that is not found in the middle frame may be in the next one."""
        height, width = picture.shape[:2]
        for face in faces:
            x, y, w, h = face.box
            self._boxes.append((x / width, y / height, w / width, h / height))

    def take(self, picture: Image) -> None:
        """Keep the middle frame, an (H, W, 3) RGB picture, small. Small pictures keep their size."""
        height = min(HEIGHT, picture.shape[0])
        width = min(WIDEST, max(1, round(picture.shape[1] * height / picture.shape[0])))
        self._small = scaled_down(picture, (width, height)).copy()

    def finish(self) -> Preview:
        """The preview. After `take`."""
        assert self._small is not None
        height, width = self._small.shape[:2]
        for box in self._boxes if self._blurred else ():
            _blur(self._small, box)
        encoded, data = cv2.imencode(".jpg", self._small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not encoded:
            raise MediaError("the preview cannot be encoded", kind="failed")
        return Preview(data.tobytes(), width, height)


def _blur(picture: Image, box: tuple[float, float, float, float]) -> None:
    """Blur a box, given as shares of the picture's sides, with its margin."""
    height, width = picture.shape[:2]
    x, y, w, h = box
    left, right = max(0, int((x - MARGIN * w) * width)), min(width, int(np.ceil((x + (1 + MARGIN) * w) * width)))
    top, bottom = max(0, int((y - MARGIN * h) * height)), min(height, int(np.ceil((y + (1 + MARGIN) * h) * height)))
    if right <= left or bottom <= top:
        return
    region = picture[top:bottom, left:right]
    coarse = scaled_down(region, (min(CELLS, right - left), min(CELLS, bottom - top)))
    picture[top:bottom, left:right] = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
