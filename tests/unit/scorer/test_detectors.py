"""Faces and mattes are those that MediaPipe finds with the same models; no picture is too odd for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling.decode import open_video
from scorer.sampling.detectors import Detectors
from scorer.sampling.face_boxes import GRID, SIDE, decode_faces
from scorer.sampling.faces import aligned_crop
from scorer.sampling.images import Image
from tests.support.processes import PYTHON, ROOT
from tests.support.reference_detectors import MediaPipe

SIZES = ((1280, 720), (1920, 1080), (640, 360), (641, 359), (256, 144), (333, 500), (768, 1024), (100, 57), (64, 64))
"""(width, height) px at which each picture of the demo clip is looked at."""

ODD_SIZES = ((1, 1), (1, 7), (7, 1), (2, 2), (1, 5000), (5000, 1), (900, 3), (8, 640), (31, 200), (200, 31))

ROTATIONS = (-90, -45, -20, 10, 30, 60, 180)


@pytest.fixture(scope="module")
def reference() -> Iterator[MediaPipe]:
    with MediaPipe() as mediapipe:
        yield mediapipe


@cache
def loaded() -> Detectors:
    return Detectors()


@cache
def demo_pictures() -> list[Image]:
    """Every 40th picture of the demo clip."""
    with open_video(ROOT / "examples/face.mp4") as video:
        return [frame.to_ndarray(format="rgb24") for _, frame, *_ in video.course(0).frames(0)][::40]


def turned(picture: Image, degrees: float, scale: float = 1.0) -> Image:
    """The picture turned around its centre, black where there was nothing."""
    height, width = picture.shape[:2]
    return cv2.warpAffine(picture, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale), (width, height))


@cache
def pictures() -> dict[str, list[Image]]:
    """Pictures by what is special about them."""
    random = np.random.default_rng(1)
    first = demo_pictures()[0]
    x, y, w, h = loaded().faces.find(first)[0].box
    face = cv2.resize(first[max(0, y - h // 2) : y + h + h // 2, x - w // 2 : x + w + w // 2], (240, 240))
    any_size = [(int(width), int(height)) for width, height in random.integers(40, 900, (40, 2))]
    angles, scales = random.uniform(-60, 60, len(any_size)), random.uniform(0.3, 1.5, len(any_size))
    return {
        "sizes": [cv2.resize(picture, size) for picture in demo_pictures() for size in SIZES],
        "turned": [turned(first, degrees) for degrees in ROTATIONS],
        "grey": [np.repeat(cv2.cvtColor(first, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)],
        "several faces": [
            np.tile(face, (2, 2, 1)),
            np.tile(face, (3, 4, 1)),
            np.tile(face, (1, 3, 1)),
            np.tile(first, (1, 2, 1)),
        ],
        "at the edge": [first[y:, x:] for x, y in ((0, 60), (0, 120), (first.shape[1] // 2, 0), (first.shape[1] // 2 - 60, 80))],
        "odd sizes": [cv2.resize(first, size) for size in ODD_SIZES],
        "noise": [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in (*ODD_SIZES, (640, 480))],
        "no face": [np.zeros((480, 640, 3), np.uint8), np.full((480, 640, 3), 255, np.uint8), first[-100:, :100]],
        "turned at any size": [
            cv2.resize(turned(first, *change), size) for size, *change in zip(any_size, angles, scales, strict=True)
        ],
    }


KINDS = (
    "sizes", "turned", "grey", "several faces", "at the edge", "odd sizes", "noise", "no face", "turned at any size",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_faces_are_mediapipes(kind: str, reference: MediaPipe) -> None:
    for picture in pictures()[kind]:
        faces, wanted = loaded().faces.find(picture), reference.faces(picture)
        assert [face.box for face in faces] == [face.box for face in wanted], picture.shape
        for face, known in zip(faces, wanted, strict=True):
            np.testing.assert_allclose(face.points, known.points, rtol=0, atol=0.01)
            # A point's last digit may move a pixel of the crop by OpenCV's step of 1/32 px.
            changed = cv2.absdiff(aligned_crop(picture, face, 128), aligned_crop(picture, known, 128))
            assert changed.max() <= 16
            assert changed.mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_mattes_are_mediapipes(kind: str, reference: MediaPipe) -> None:
    for picture in pictures()[kind]:
        np.testing.assert_allclose(loaded().person.mask(picture), reference.mask(picture), rtol=0, atol=0.001, strict=True)


def test_the_pictures_have_faces_and_persons() -> None:
    """So that the comparisons above compare something."""
    faces = {kind: sum(len(loaded().faces.find(picture)) for picture in some) for kind, some in pictures().items()}
    assert faces["sizes"] > 40
    assert faces["several faces"] >= 15
    assert min(faces[kind] for kind in ("turned", "grey", "at the edge", "turned at any size")) >= 1
    assert faces["no face"] == 0
    assert loaded().person.mask(demo_pictures()[0]).mean() > 0.1


@settings(deadline=None, max_examples=60)
@given(width=st.integers(1, 700), height=st.integers(1, 700), wide=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_picture_has_an_answer(width: int, height: int, wide: int, seed: int) -> None:
    width = width * wide if height < 20 else width
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for view in (picture, picture.transpose(1, 0, 2), picture[:, ::-1]):
        rows, columns = view.shape[:2]
        for face in loaded().faces.find(view):
            x, y, w, h = face.box
            assert 0 <= x < x + w <= columns
            assert 0 <= y < y + h <= rows
            assert np.isfinite(face.points).all()
        mask = loaded().person.mask(view)
        assert 1 <= min(mask.shape) <= max(mask.shape) <= 256
        assert 0 <= mask.min() <= mask.max() <= 1


NUMBERS = st.floats(-1e4, 1e4, width=32)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, GRID**2 - 1), st.floats(-200, 200, width=32), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
        max_size=12,
    )
)
def test_any_numbers_of_the_model_are_decoded(found: list[tuple[int, float, tuple[float, float, float, float]]]) -> None:
    boxes, logits = np.zeros((16, GRID * GRID), np.float32), np.full(GRID * GRID, -9, np.float32)
    for place, logit, box in found:
        boxes[:4, place], logits[place] = box, logit
    corners, sizes, points = decode_faces(boxes.reshape(16, GRID, GRID), logits.reshape(1, GRID, GRID))
    assert corners.shape == sizes.shape == (len(points), 2)
    assert len(points) <= (logits >= 0).sum()
    assert (sizes >= 0).all()
    assert np.isfinite(points).all()


def decoded(*faces: tuple[float, float, float, float, float]) -> list[list[float]]:
    """Boxes, in px of the model's picture, of faces (x, y of the centre, width, height, logit) seen from the first squares."""
    boxes, logits = np.zeros((16, GRID, GRID), np.float32), np.full((1, GRID, GRID), -9, np.float32)
    step = SIDE / GRID
    for column, (x, y, width, height, logit) in enumerate(faces):
        boxes[:4, 0, column] = x - (column + 0.5) * step, y - 0.5 * step, width, height
        logits[0, 0, column] = logit
    corners, sizes, _ = decode_faces(boxes, logits)
    return np.round(np.hstack([corners, sizes]) * SIDE, 2).tolist()


def test_boxes_of_one_face_become_their_mean_by_confidence() -> None:
    assert decoded((50, 50, 40, 40, 0), (60, 50, 40, 40, np.log(3))) == [[36, 30, 40, 40]]  # confidences of .5 and .75
    assert decoded((50, 50, 40, 40, 1), (150, 50, 20, 20, 2)) == [[140, 40, 20, 20], [30, 30, 40, 40]]  # the surest first


def test_what_is_no_face_is_left_out() -> None:
    assert decoded((50, 50, 40, 40, -0.01), (90, 90, -10, 10, 5)) == []
    assert decoded((50, 50, 0, 0, 5), (50, 50, 40, 40, 1)) == [[50, 50, 0, 0]]  # MediaPipe ends at a box without an area


def test_the_graphs_are_what_mediapipes_models_make() -> None:
    checked = subprocess.run([PYTHON, ROOT / "scripts/detectors/convert", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
