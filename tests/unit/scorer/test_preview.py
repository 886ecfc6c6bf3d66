"""The previews of clips: small, made only where asked for, without a trace in what is measured, and faces blurred on demand."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling import sample
from scorer.sampling.faces import Face
from scorer.sampling.preview import HEIGHT, PreviewMaker
from scorer.spec import Preview, SampledClip, SamplerSpec

POINTS = np.zeros((4, 2), np.float32)


def decoded(preview: Preview) -> np.ndarray:
    """(H, W, 3) RGB of a preview."""
    picture = cv2.imdecode(np.frombuffer(preview.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (preview.height, preview.width, 3)
    return picture[..., ::-1]


def detail(height: int = 360, width: int = 640) -> np.ndarray:
    """A picture in which every place has strong detail that survives scaling to a preview's height."""
    coarse = np.random.default_rng(1).integers(0, 256, (height // 12, width // 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def clips(face_clip: Path) -> dict[str | None, SampledClip]:
    """The same clip without a preview, with one, and with blurred faces."""
    return {faces: sample(face_clip, SamplerSpec(), preview=faces)[0][1] for faces in (None, "show", "blur")}


def test_what_is_measured_does_not_depend_on_the_preview(clips: dict[str | None, SampledClip]) -> None:
    plain = clips[None]
    assert plain.preview is None
    for faces in ("show", "blur"):
        for name in (field.name for field in fields(SampledClip) if field.name != "preview"):
            np.testing.assert_equal(getattr(clips[faces], name), getattr(plain, name), name)


def test_a_preview_shows_the_middle_frame(clips: dict[str | None, SampledClip]) -> None:
    preview = clips["show"].preview
    assert preview is not None
    assert preview.height == HEIGHT
    assert len(preview.jpeg) < 10_000
    thumbnail = clips["show"].thumbnail
    picture = cv2.resize(decoded(preview), thumbnail.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(picture.astype(int) - thumbnail).mean() < 6


def test_a_face_is_blurred_and_nothing_else(clips: dict[str | None, SampledClip]) -> None:
    shown, blurred = (decoded(clips[faces].preview).astype(int) for faces in ("show", "blur"))  # type: ignore[arg-type]
    changed = np.abs(shown - blurred).max(axis=2) > 24
    assert 0.01 < changed.mean() < 0.6
    rows, columns = np.nonzero(changed)
    inside = blurred[rows.min() : rows.max(), columns.min() : columns.max()]
    before = shown[rows.min() : rows.max(), columns.min() : columns.max()]
    assert edges(inside) < edges(before) / 2


def edges(picture: np.ndarray) -> float:
    """Mean step between neighbours."""
    return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())


def test_faces_of_other_frames_are_blurred_too() -> None:
    maker, picture = PreviewMaker("blur"), detail()
    maker.add_faces([Face((64, 90, 64, 90), POINTS)], picture)
    maker.take(picture)
    maker.add_faces([Face((480, 180, 64, 90), POINTS)], picture)
    result = decoded(maker.finish())
    left, right, sky = result[24:44, 17:31], result[46:66, 121:135], result[0:15, 60:100]
    assert edges(left) < 8
    assert edges(right) < 8
    assert edges(sky) > 20


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1080, 1920), (90, 160)),
        ((48, 64), (48, 64)),
        ((90, 4000), (90, 360)),
        ((1920, 1080), (90, 51)),
        ((500, 1), (90, 1)),
    ],
)
def test_previews_of_all_shapes_are_small(size: tuple[int, int], small: tuple[int, int]) -> None:
    maker = PreviewMaker("show")
    maker.take(np.zeros((*size, 3), np.uint8))
    preview = maker.finish()
    assert (preview.height, preview.width) == small


@given(st.lists(st.tuples(*[st.integers(0, 64)] * 4), max_size=5), st.integers(1, 120), st.integers(1, 120))
def test_any_boxes_can_be_blurred(boxes: list[tuple[int, int, int, int]], height: int, width: int) -> None:
    maker, picture = PreviewMaker("blur"), np.zeros((height, width, 3), np.uint8)
    maker.take(picture)
    maker.add_faces([Face(box, POINTS) for box in boxes], picture)
    assert decoded(maker.finish()).max() < 16
