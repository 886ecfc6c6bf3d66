"""How far sources are scaled down until they are flawless, and their pictures in time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from tests.support.processes import ROOT
from training.data.ffmpeg import run_ffmpeg
from training.data.scenes.material import SCALES, Material, Pixels, _read_clip, flawless_scale, read_material

FACE = ROOT / "examples" / "face.mp4"


def flawless_pictures() -> dict[str, Pixels]:
    """Photographs that were scaled down so far that nothing of their camera is left."""
    pictures = {"astronaut": data.astronaut(), "coffee": data.coffee()}
    return {name: cv2.resize(p, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA) for name, p in pictures.items()}


def encoded(picture: Pixels, crf: int, folder: Path) -> Pixels:
    still, clip = folder / "still.png", folder / "clip.mkv"
    even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    cv2.imwrite(str(still), even[..., ::-1])
    run_ffmpeg("-i", still, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", crf, clip)
    there, shown = cv2.VideoCapture(str(clip)).read()
    assert there
    return np.ascontiguousarray(shown[..., ::-1])


def likeness(first: Pixels, second: Pixels, scale: float) -> float:
    """SSIM of two pictures at that scale."""
    width, height = min(first.shape[1], second.shape[1]), min(first.shape[0], second.shape[0])
    size = round(width * scale), round(height * scale)
    small = [
        cv2.cvtColor(cv2.resize(p[:height, :width], size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for p in (first, second)
    ]
    return float(structural_similarity(*small))


@pytest.mark.parametrize("name", list(flawless_pictures()))
@pytest.mark.parametrize("damage", ["blur", "strong blur", "encoder", "blur and encoder"])
def test_what_a_source_has_suffered_is_gone_at_the_chosen_scale(name: str, damage: str, tmp_path: Path) -> None:
    clean = flawless_pictures()[name]
    shown = cv2.GaussianBlur(clean, (0, 0), 1.5 if "strong" in damage else 1.1) if "blur" in damage else clean
    shown = encoded(shown, 20, tmp_path) if "encoder" in damage else shown
    # Only the damaged picture decides.
    scale = flawless_scale(shown)
    assert scale is not None
    assert likeness(clean, shown, scale) > 0.965
    assert 1 - likeness(clean, shown, scale) < 0.6 * (1 - likeness(clean, shown, 1.0))


def test_a_picture_without_any_detail_is_of_no_use(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(data.astronaut(), (0, 0), 12)
    assert flawless_scale(soft) is None
    cv2.imwrite(str(tmp_path / "soft.png"), soft)
    assert read_material(tmp_path / "soft.png") is None


def test_a_softer_picture_is_scaled_down_further() -> None:
    clean = flawless_pictures()["astronaut"]
    scales = [flawless_scale(cv2.GaussianBlur(clean, (0, 0), sigma)) for sigma in (0.3, 1.0, 1.8)]
    assert scales == sorted(scales, key=lambda scale: -(scale or 0))
    assert scales[0] == SCALES[0]
    assert len(set(scales)) == 3


def test_a_clip_is_read_without_pictures_that_repeat(tmp_path: Path) -> None:
    doubled = tmp_path / "doubled.mkv"
    run_ffmpeg("-t", "1", "-i", FACE, "-vf", "fps=12,fps=24", "-c:v", "libx264", "-crf", "12", doubled)
    material = read_material(doubled)
    assert material is not None
    assert 11 <= len(material.pictures) <= 14


def test_pictures_go_forth_and_back_and_none_comes_twice_in_a_row() -> None:
    material = Material("m", np.zeros((4, 100, 100, 3), np.uint8), 25.0, 0.5)
    assert [material.at(number) for number in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("name", ["broken.mp4", "broken.png"])
def test_a_broken_source_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=name):
        read_material(tmp_path / name)


def test_the_bits_of_a_recording_whose_header_has_no_length_are_those_of_its_pictures(tmp_path: Path) -> None:
    bits = []
    for name, options in {"file": (), "live": ("-live", "1")}.items():  # as browsers record
        run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x192:r=25:d=2", "-c:v", "libx264", *options, tmp_path / f"{name}.mkv")
        bits.append(_read_clip(tmp_path / f"{name}.mkv")[2])
    assert cv2.VideoCapture(str(tmp_path / "live.mkv")).get(cv2.CAP_PROP_FRAME_COUNT) < 1
    assert bits[1] == pytest.approx(bits[0], rel=0.1)
