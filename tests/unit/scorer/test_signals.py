"""The signals follow what they are named after, and mean the same for every size of picture and every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from scorer.sampling import sample
from scorer.sampling.images import Image
from scorer.sampling.signals import ClipSignals, blur_of, edge_width, grid_strength, noise_of, steps_of
from scorer.spec import SPECIFICATIONS
from tests.support.media import face_frames, write_frames

SIZES = {360: (640, 360), 720: (1280, 720), 1080: (1920, 1080)}

TOLERANCE = {"black": 0.01, "blur": 0.05, "blockiness": 0.06, "noise": 0.3, "luma": 1.0, "contrast": 1.0}
"""How far the signals of one source's pictures at 360, 720 and 1080 lines may be apart, each in its own unit."""


@cache
def textured(width: int, height: int, shift: int = 0) -> Image:
    """A sharp picture with edges of all directions and flat parts, the same at every size; shift: px of 1080 lines."""
    picture = np.full((1080, 1920, 3), (150, 120, 100), np.uint8)
    dice = np.random.default_rng(5)
    for _ in range(60):
        place = (int(dice.integers(200, 1720)) + shift, int(dice.integers(100, 980)))
        colour = [int(value) for value in dice.integers(40, 220, 3)]
        cv2.circle(picture, place, int(dice.integers(15, 110)), colour, -1, cv2.LINE_AA)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def signals_of(pictures: Sequence[Image]) -> dict[str, float]:
    """The signals of a clip's pictures."""
    clip = ClipSignals()
    for picture in pictures:
        clip.add(picture, has_detail=True)
    return clip.finish(freeze=0.0)


def two(width: int, height: int, change: Callable[[Image], Image] = lambda picture: picture) -> list[Image]:
    """Two pictures of a clip that moves."""
    return [change(textured(width, height, shift)) for shift in (0, 31)]


def blurred(share: float) -> Callable[[Image], Image]:
    """Blur by a Gaussian whose deviation is that share of the picture's height."""
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), share * len(picture)), np.uint8)


def noisy(sigma: float) -> Callable[[Image], Image]:
    """White noise, 8-bit levels."""
    dice = np.random.default_rng(7)
    return lambda picture: np.clip(picture + dice.normal(0, sigma, (*picture.shape[:2], 1)), 0, 255).astype(np.uint8)


def coded(quality: int) -> Callable[[Image], Image]:
    """JPEG, whose blocks are 8 px wide, as a codec without a deblocking filter makes them."""

    def code(picture: Image) -> Image:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return code


def at(lines: int, change: Callable[[Image], Image], source_lines: int = 1080) -> dict[str, float]:
    """The signals of pictures that are changed with `source_lines` and then scaled to `lines`."""
    pictures = two(*SIZES[source_lines], change)
    way = cv2.INTER_AREA if lines < source_lines else cv2.INTER_CUBIC
    return signals_of([np.asarray(cv2.resize(picture, SIZES[lines], interpolation=way), np.uint8) for picture in pictures])


@pytest.mark.parametrize(
    "change",
    [lambda picture: picture, blurred(0.002), blurred(0.004), noisy(12), lambda picture: (picture * 0.3).astype(np.uint8)],
    ids=["clean", "soft", "blurred", "noisy", "dark"],
)
def test_the_same_pictures_have_the_same_signals_at_every_size(change: Callable[[Image], Image]) -> None:
    by_size = [at(lines, change) for lines in SIZES]
    for name, tolerance in TOLERANCE.items():
        values = [signals[name] for signals in by_size]
        assert max(values) - min(values) <= tolerance, (name, values)


@pytest.mark.parametrize("lines", [360, 1080])
def test_blur_is_the_contrast_that_fine_stripes_lose(lines: int) -> None:
    shares = (0.001, 0.0025, 0.004, 0.006, 0.012)
    values = [signals_of(two(*SIZES[lines], blurred(share)))["blur"] for share in shares]
    assert all(after > before for before, after in pairwise(values))
    expected = [1 - np.exp(-2 * (np.pi * share * 36) ** 2) for share in shares]
    assert values == pytest.approx(expected, abs=0.12)


def test_noise_hides_no_blur_and_adds_none() -> None:
    for change, noise in ((blurred(0.004), 4), (lambda picture: picture, 4)):
        quiet = signals_of(two(640, 360, change))["blur"]
        loud = signals_of(two(640, 360, lambda picture, change=change, noise=noise: noisy(noise)(change(picture))))["blur"]
        assert loud == pytest.approx(quiet, abs=0.15)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 5.0, 10.0])
def test_noise_is_in_8_bit_levels(sigma: float) -> None:
    plane = np.clip(np.rint(128 + np.random.default_rng(0).normal(0, sigma, (240, 240))), 0, 255).astype(np.uint8)
    assert noise_of(plane) == pytest.approx(sigma, rel=0.1)


def test_black_bars_hide_no_noise() -> None:
    plane = np.clip(np.rint(128 + np.random.default_rng(0).normal(0, 5, (240, 240))), 0, 255).astype(np.uint8)
    plane[:80], plane[160:] = 0, 0
    assert noise_of(plane) == pytest.approx(5, rel=0.15)


def test_blockiness_rises_with_the_quantiser() -> None:
    values = [signals_of(two(640, 360, coded(quality)))["blockiness"] for quality in (95, 30, 12, 5)]
    assert all(after > before for before, after in pairwise(values))
    assert values[0] < 0.06
    assert values[-1] > 0.5


@pytest.mark.parametrize("lines", [720, 1080])
def test_the_grid_of_a_picture_that_was_scaled_up_is_found(lines: int) -> None:
    native, scaled = at(360, coded(8), 360), at(lines, coded(8), 360)
    assert native["blockiness"] > 0.3
    assert scaled["blockiness"] > 0.3 * native["blockiness"]
    assert at(lines, lambda picture: picture, 360)["blockiness"] < 0.1


def test_text_that_drifts_is_no_grid() -> None:
    picture = np.full((360, 640, 3), 60, np.uint8)
    for line in range(6):
        cv2.putText(picture, "HHHHHHHHHHHHHHHHHHHH", (60, 60 + 50 * line), cv2.FONT_HERSHEY_DUPLEX, 1.0, (230, 230, 230), 2)
    drifted = np.roll(picture, (3, 5), (0, 1))
    assert signals_of([picture, drifted])["blockiness"] < 0.1


def test_a_grid_counts_only_where_both_directions_and_all_pictures_have_it() -> None:
    grid = np.kron(np.random.default_rng(1).integers(60, 200, (30, 30)), np.ones((8, 8))).astype(np.uint8)
    stripes = np.repeat(grid[:1], 240, axis=0)
    assert grid_strength([steps_of(grid)], 360) > 3
    assert grid_strength([steps_of(stripes)], 360) == 0
    assert grid_strength([steps_of(grid), steps_of(np.roll(grid, (3, 3), (0, 1)))], 180) == 0


def test_pictures_of_another_size_are_left_out_of_the_grid() -> None:
    grid = np.kron(np.random.default_rng(1).integers(60, 200, (30, 30)), np.ones((8, 8))).astype(np.uint8)
    assert grid_strength([steps_of(np.zeros((90, 90), np.uint8)), steps_of(grid)], 360) == grid_strength([steps_of(grid)], 360)


def test_without_an_edge_all_detail_is_lost() -> None:
    plane = np.full((240, 240), 90, np.uint8)
    assert edge_width(plane, 0.0) == float("inf")
    assert blur_of(plane, 360, 0.0) == 1.0


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("size", [(2, 2), (2, 300), (40, 33), (400, 500)])
def test_flat_pictures_of_any_size_give_finite_numbers(size: tuple[int, int], value: int) -> None:
    signals = signals_of([np.full((*size, 3), value, np.uint8)])
    assert np.isfinite(list(signals.values())).all()
    assert (signals["noise"], signals["blockiness"], signals["contrast"]) == (0, 0, 0)
    assert (signals["luma"], signals["black"]) == (value, float(value == 0))


def test_black_and_light_are_of_the_whole_picture() -> None:
    picture = np.full((360, 640, 3), 200, np.uint8)
    picture[270:] = 0
    signals = signals_of([picture])
    assert signals["black"] == pytest.approx(0.25)
    assert signals["luma"] == pytest.approx(150)
    assert signals["contrast"] == pytest.approx(200 * np.sqrt(0.25 * 0.75), rel=0.02)


def test_models_with_other_specifications_have_the_same_signals(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.mp4", face_frames(640, 360, 2, 25), 25, ["-crf", "23", "-pix_fmt", "yuv420p"])
    by_specification = {name: sample(path, spec)[0][1].signals for name, spec in SPECIFICATIONS.items()}
    standard = by_specification.pop("standard")
    for name, signals in by_specification.items():
        for signal, tolerance in TOLERANCE.items():
            assert signals[signal] == pytest.approx(standard[signal], abs=tolerance), (name, signal)
