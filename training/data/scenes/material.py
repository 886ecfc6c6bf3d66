"""What scenes are made from: pictures of a clip or a still, how far they must be scaled down to be flawless, and who is in them.

A source has flaws of its own: a soft lens, noise, an encoder's loss. All of them live in the finest details, and go when a
picture is scaled down far enough. How far is measured (`flawless_scale`), and a scene never shows a source larger than that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.detectors import process_detectors
from scorer.sampling.faces import Face
from training.data.ffmpeg import picture_count
from training.data.references import STILLS

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MOST_PICTURES = 150
"""Pictures that are read of a clip: five seconds at 30 a second, which two seconds at 60 need nearly all of."""

LONGEST_SIDE = 1280
"""Larger pictures are scaled down to this side when they are read, px."""

MOST_BYTES = 200_000_000
"""Pictures of one clip that are kept, bytes: a worker holds three clips."""

SCALES = (0.75, 0.63, 0.53, 0.44, 0.37, 0.31, 0.26)
"""Candidates for `flawless_scale`, from mild to strong. The first: no source is trusted at over three quarters of its size."""

NATURAL_DETAIL = 0.7
"""`detail` of pictures that were scaled down so far that nothing of their flaws is left: photographs have .72 to .97 there."""

ENOUGH_BITS = 0.15
"""Bits of the source's file for each pixel of a flawless picture: with fewer, an encoder's loss can be seen."""

SMALLEST_SIDE = 90
"""A source whose flawless pictures have a shorter side than this, px, is of no use in a scene."""


def detail(luma: NDArray[Any]) -> float:
    """Strength of the finest details of a luma plane relative to those twice as large, 0 (all is soft) to about 1.

    luma: (H, W) float32, 0-255, H and W >= 64. It is the ratio of the two finest bands of a Laplacian pyramid (Burt and Adelson,
    IEEE Trans. Commun. 1983), in the quarter of the 16x16 blocks that have most of the larger details: what is in focus.
    A lens out of focus and an encoder that saves bits weaken the finest band first.
    """
    height, width = (side // 32 * 32 for side in luma.shape)
    fine = luma[:height, :width]
    half = cv2.pyrDown(fine)
    quarter = cv2.pyrDown(half)
    energies = []
    for band, side in ((fine - cv2.pyrUp(half), 16), (half - cv2.pyrUp(quarter), 8)):
        rows, columns = band.shape[0] // side, band.shape[1] // side
        blocks = band.reshape(rows, side, columns, side)
        energies.append((blocks**2).mean((1, 3)).ravel())
    chosen = energies[1] >= np.quantile(energies[1], 0.75)
    return float(np.sqrt(energies[0][chosen].mean() / max(1e-6, energies[1][chosen].mean())))


def flawless_scale(picture: Pixels, bits_per_pixel: float = 1.0) -> float | None:
    """The largest of `SCALES` at which a picture has the detail and the bits of flawless ones; None if none is.

    picture: (H, W, 3) uint8 RGB. bits_per_pixel: of the source's file; a still has at least 1.

    How we know that this is far enough: `tests/unit/training/test_material.py` blurs and encodes pictures that are flawless, lets
    this function choose by the damaged picture alone, and compares damaged and flawless picture at the chosen scale.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    for scale in SCALES:
        if min(luma.shape) * scale < SMALLEST_SIDE:
            return None
        size = round(luma.shape[1] * scale), round(luma.shape[0] * scale)
        has_bits = bits_per_pixel >= ENOUGH_BITS * scale**2
        if has_bits and detail(cv2.resize(luma, size, interpolation=cv2.INTER_AREA)) >= NATURAL_DETAIL:
            return scale
    return None


class Material:
    """The pictures of one source, and the people in them.

    Faces and mattes are found when they are asked for, and kept. `name` is the source's name without its ending.
    """

    def __init__(self, name: str, pictures: Pixels, fps: float, flawless: float) -> None:
        """pictures: (N, H, W, 3) uint8 RGB. fps: pictures a second; 0 of a still. flawless: of `flawless_scale`."""
        self.name = name
        self.pictures = pictures
        self.fps = fps
        self.flawless = flawless
        self._faces: dict[int, list[Face]] = {}
        self._mattes: dict[int, Pixels] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of its pictures, px."""
        return self.pictures.shape[2], self.pictures.shape[1]

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether it fills a picture of that size without being scaled up beyond what is flawless."""
        return all(wanted <= side * self.flawless for wanted, side in zip(size, self.size, strict=True))

    def at(self, number: int) -> int:
        """The place of the picture that a scene shows as its picture `number`: forwards, at the end backwards, and so on.

        No picture is shown twice in a row, because a repeated picture is a damage.
        """
        last = len(self.pictures) - 1
        if last == 0:
            return 0
        place = number % (2 * last)
        return min(place, 2 * last - place)

    def faces(self, place: int) -> list[Face]:
        """The faces in a picture, largest first."""
        if place not in self._faces:
            self._faces[place] = process_detectors().faces.find(self.pictures[place])
        return self._faces[place]

    def points(self, place: int) -> NDArray[np.float32] | None:
        """(4, 2) px: eyes, nose and mouth of the largest face, the mean of five neighbouring pictures; None without a face.

        Detections of neighbouring pictures differ by a pixel or two: what is drawn on a face would tremble.
        """
        around = [p for p in range(place - 2, place + 3) if 0 <= p < len(self.pictures)]
        points = [self.faces(p)[0].points for p in around if self.faces(p)]
        return np.mean(points, axis=0, dtype=np.float32) if points else None

    def matte(self, place: int) -> Floats:
        """(H, W), 0-1: where there is a person in a picture; its edges follow those of the picture."""
        if place not in self._mattes:
            picture = self.pictures[place]
            coarse = cv2.resize(process_detectors().person.mask(picture), self.size, interpolation=cv2.INTER_LINEAR)
            radius = max(2, max(self.size) // 100)
            refined = cv2.ximgproc.guidedFilter(picture, coarse, radius, 40.0)
            self._mattes[place] = np.rint(np.clip((refined - 0.2) / 0.6, 0, 1) * 255).astype(np.uint8)
        return np.asarray(self._mattes[place], np.float32) / np.float32(255)


def read_material(source: Path) -> Material | None:
    """The material of a clip or still; None where it is too soft for any scene.

    Raises ValueError that names the file where it has no pictures.
    """
    if source.suffix.lower() in STILLS:
        picture = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{source}: not a picture; replace it, or take it out of the folder")
        pictures, fps, bits = [_ready(picture)], 0.0, 1.0
    else:
        pictures, fps, bits = _read_clip(source)
    if min(pictures[0].shape[:2]) < SMALLEST_SIDE / SCALES[0]:
        return None
    scale = flawless_scale(pictures[len(pictures) // 2], bits)
    return Material(source.stem, np.stack(pictures), fps, scale) if scale else None


def _read_clip(source: Path) -> tuple[list[Pixels], float, float]:
    """(pictures, pictures a second, bits per pixel) of a clip's start, without pictures that only repeat the one before."""
    capture = cv2.VideoCapture(str(source))
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    pictures: list[Pixels] = []
    while len(pictures) < MOST_PICTURES and len(pictures) * (pictures[0].nbytes if pictures else 0) < MOST_BYTES:
        there, picture = capture.read()
        if not there:
            break
        ready = _ready(picture)
        if pictures and ready.shape != pictures[-1].shape:
            break
        # An encoder writes a repeated picture nearly unchanged; a face that holds still has the sensor's noise.
        if pictures and float(np.abs(ready[::4, ::4].astype(np.int16) - pictures[-1][::4, ::4]).mean()) < REPEATED:
            continue
        pictures.append(ready)
    total = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    if not pictures:
        raise ValueError(f"{source}: no picture can be decoded; replace it, or take it out of the folder")
    if total < 1:  # the header of a live recording, as browsers make it, has no length
        total = picture_count(source)
    bits = 8 * source.stat().st_size / total / (pictures[0].size / 3)
    return pictures, min(fps, 120.0), bits


REPEATED = 0.08
"""Mean difference to the picture before, in levels of 0-255, under which a picture of a clip is a repetition."""


def _ready(picture: NDArray[Any]) -> Pixels:
    """RGB of OpenCV's BGR, its sides not over `LONGEST_SIDE`."""
    scale = LONGEST_SIDE / max(picture.shape[:2])
    if scale < 1:
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.ascontiguousarray(picture[..., ::-1])
