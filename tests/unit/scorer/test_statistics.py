"""Each statistic follows what it is named after: when one degradation grows, it only rises or only falls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from scorer.sampling import sample
from scorer.sampling.features import (
    EDGES,
    STRIDE,
    blockiness,
    colour_features,
    edge_features,
    mscn,
    noise_level,
    scene_features,
)
from scorer.sampling.sorts import percentiles
from scorer.sampling.statistics import NAMES, clip_statistics, following_luma, measured_frame
from scorer.sampling.temporal import MOTION, without_doubles
from scorer.spec import SamplerSpec
from tests.support.media import face_frames, write_frames

Image = NDArray[np.uint8]
Degrade = Callable[[Image, float], Image]


def blur(image: Image, strength: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), strength) if strength else image, np.uint8)


def noise(image: Image, sigma: float) -> Image:
    generator = np.random.default_rng(7)
    return np.clip(image + generator.normal(0, sigma, image.shape), 0, 255).astype(np.uint8) if sigma else image


def blocks(image: Image, share: float) -> Image:
    """Each 8x8 block moved towards its mean by that share, as a coarse quantiser does."""
    height, width = (side // 8 * 8 for side in image.shape[:2])
    cut = image[:height, :width].astype(float)
    means = cut.reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3), keepdims=True)
    return (cut + share * (np.broadcast_to(means, (height // 8, 8, width // 8, 8, 3)).reshape(cut.shape) - cut)).astype(np.uint8)


def jpeg(image: Image, loss: float) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(100 - loss)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def darken(image: Image, share: float) -> Image:
    """The lower part of the picture black."""
    dark = image.copy()
    dark[int(len(dark) * (1 - share)) :] = 0
    return dark


def fade(image: Image, share: float) -> Image:
    return (image * (1 - share)).astype(np.uint8)


def measure(frames: Sequence[Image], times: NDArray[np.float64] | None = None) -> dict[str, float]:
    """The statistics of frames at 25 per second, without a face."""
    measured = [measured_frame(frame, None) for frame in frames]
    for frame, following in zip(measured, frames[1:], strict=False):
        frame.following = following_luma(following)
    small_lumas = np.stack(
        [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (64, 36), interpolation=cv2.INTER_AREA) for f in frames]
    )
    if times is None:
        times = np.arange(len(frames) + 1) / 25
    values = clip_statistics(measured, small_lumas, times, 25.0)
    return dict(zip(NAMES, values.tolist(), strict=True))


@pytest.fixture(scope="module")
def clean() -> list[Image]:
    return face_frames(480, 400, 0.16, 25)


def ladder(clean: list[Image], degrade: Degrade, strengths: Sequence[float]) -> list[dict[str, float]]:
    return [measure([degrade(frame, strength) for frame in clean]) for strength in strengths]


def rises(values: Sequence[float]) -> bool:
    return all(b > a for a, b in pairwise(values))


def falls(values: Sequence[float]) -> bool:
    return rises([-value for value in values])


def test_blur_is_measured(clean: list[Image]) -> None:
    steps = ladder(clean, blur, (0, 0.7, 1.2, 2, 3.5, 6))
    for name in ("laplacian_std", "gradient_p90", "half_laplacian_std", "scene0_ggd_variance"):
        assert falls([statistics[name] for statistics in steps]), name


def test_noise_is_measured(clean: list[Image]) -> None:
    steps = ladder(clean, noise, (0, 2, 4, 8, 16, 32))
    for name in ("noise", "laplacian_p50", "laplacian_std"):
        assert rises([statistics[name] for statistics in steps]), name


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0, 20.0])
def test_the_noise_level_is_in_8_bit_levels(sigma: float) -> None:
    plane = 128 + np.random.default_rng(0).normal(0, sigma, (384, 384)).astype(np.float32)
    assert noise_level(plane) == pytest.approx(sigma, rel=0.35)


def test_blocking_is_measured(clean: list[Image]) -> None:
    steps = ladder(clean, blocks, (0, 0.15, 0.3, 0.5, 0.75, 1))
    assert rises([statistics["grid8"] for statistics in steps])
    assert steps[0]["grid8"] < 0.1 < steps[2]["grid8"]
    steps = ladder(clean, jpeg, (10, 50, 80, 90, 95))
    assert rises([statistics["grid8"] for statistics in steps])


def test_a_coding_grid_is_measured_at_every_phase(clean: list[Image]) -> None:
    luma = cv2.cvtColor(blocks(clean[0], 0.6), cv2.COLOR_RGB2GRAY)
    strengths = [blockiness(luma[y : y + 320, x : x + 320], 8) for y, x in ((0, 0), (3, 5), (7, 1))]
    assert max(strengths) < 1.25 * min(strengths)


def test_light_is_measured(clean: list[Image]) -> None:
    steps = ladder(clean, fade, (0, 0.2, 0.4, 0.8))
    assert falls([statistics["luma_mean"] for statistics in steps])
    assert falls([statistics["luma_std"] for statistics in steps])
    assert rises([statistics["dark_share"] for statistics in ladder(clean, darken, (0, 0.25, 0.5, 0.75, 1))])


def test_freezes_are_measured() -> None:
    moving = face_frames(320, 240, 1, 25)
    frozen = []
    for count in (0, 5, 10, 20, 24):
        frames = [*moving[: 25 - count], *[moving[24 - count]] * count]
        frozen.append(measure(frames[:25])["freeze"])
    assert rises(frozen)
    assert frozen[0] < 0.1
    assert frozen[-1] > 0.9
    # An encoder dropped frames instead of repeating them: the last of ten is shown until 2 s.
    assert measure(moving[:10], np.append(np.arange(10) / 25, 2.0))["freeze"] > 0.6


@pytest.mark.parametrize(("crf", "kind"), [(20, "moving"), (35, "moving"), (20, "frozen"), (35, "frozen")])
def test_freezes_are_measured_after_coding(tmp_path: Path, crf: int, kind: str) -> None:
    frames = face_frames(320, 240, 2, 25)
    frames = [frames[10]] * len(frames) if kind == "frozen" else frames
    path = write_frames(tmp_path / "a.mp4", frames, 25, ["-crf", str(crf), "-pix_fmt", "yuv420p"])
    ((_, clip),) = sample(path, SamplerSpec())
    assert clip.signals["freeze"] > 0.9 if kind == "frozen" else clip.signals["freeze"] < 0.25


@pytest.mark.parametrize(
    ("places", "rate", "new"),
    [
        ([place // 2 for place in range(60)], 60, 30),
        ([place * 2 // 5 for place in range(60)], 60, 24),
        ([place // 2 for place in range(50)], 50, 25),
        ([min(place, 48) for place in range(60)], 60, 60),
        ([place // 3 for place in range(60)], 60, 60),
        ([place // 2 for place in range(30)], 30, 30),
        ([place * 4 // 5 for place in range(25)], 25, 25),
        ([*range(60)], 60, 60),
    ],
    ids=["30 in 60", "24 in 60", "25 in 50", "a freeze of 0.2 s", "20 in 60", "15 in 30", "20 in 25", "60"],
)
def test_pictures_that_a_higher_rate_repeats_do_not_stand_still(places: list[int], rate: int, new: int) -> None:
    lumas = np.stack([np.full((36, 64), 3 * place, np.uint8) for place in places])
    times = np.arange(len(places) + 1) / rate
    kept, kept_times = without_doubles(lumas, times)
    assert len(kept) == len(kept_times) - 1 == new
    assert kept_times[-1] == times[-1]
    shown = kept[np.searchsorted(kept_times[:-1], times[:-1], side="right") - 1]
    assert np.array_equal(shown, lumas), "each moment shows the same picture"


def test_a_clip_whose_rate_was_doubled_is_measured_like_the_clip(tmp_path: Path) -> None:
    frames = face_frames(160, 120, 1, 30)
    lossless = ("-c:v", "ffv1")
    clip = write_frames(tmp_path / "30.mkv", frames, 30, lossless)
    doubled = write_frames(tmp_path / "60.mkv", [frame for frame in frames for _ in range(2)], 60, lossless)
    ((_, as_filmed),), ((_, twice),) = (sample(path, SamplerSpec()) for path in (clip, doubled))
    assert (as_filmed.info.fps, twice.info.fps) == (pytest.approx(30), pytest.approx(60))
    assert twice.signals["freeze"] == as_filmed.signals["freeze"] == 0
    places = [NAMES.index(name) for name in MOTION]
    assert twice.statistics[places] == pytest.approx(as_filmed.statistics[places], abs=1e-3)


@given(
    arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1000, width=32)),
    st.lists(st.floats(0, 100), min_size=1, max_size=4),
)
@settings(deadline=None)
def test_percentiles_are_those_of_numpy(values: NDArray[np.float32], percents: list[float]) -> None:
    np.testing.assert_array_equal(percentiles(values, percents), np.percentile(values, percents))


@pytest.mark.parametrize("size", [(256, 256), (96, 300), (33, 41)])
def test_features_are_those_of_the_plain_computation(size: tuple[int, int]) -> None:
    """Models and limits were learned from these numbers."""
    generator = np.random.default_rng(5)
    image = cv2.GaussianBlur(generator.integers(0, 256, (*size, 3), dtype=np.uint8), (0, 0), 1.2)
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    plane = luma.astype(np.float32)
    before = plane.copy()
    mean = cv2.GaussianBlur(plane, (7, 7), 7 / 6)
    variance = np.maximum(cv2.GaussianBlur(plane * plane, (7, 7), 7 / 6) - mean * mean, 0)
    np.testing.assert_array_equal(mscn(plane), (plane - mean) / (np.sqrt(variance) + 1))
    edges = dict(zip(EDGES, edge_features(plane), strict=True))
    np.testing.assert_array_equal(plane, before)
    laplacian = np.abs(cv2.Laplacian(plane, cv2.CV_32F).ravel()[::STRIDE])
    assert edges["laplacian_p90"] == np.log1p(np.percentile(laplacian, 90))
    strengths = []
    for line in (np.abs(np.diff(luma.astype(int), axis=1)).mean(axis=0), np.abs(np.diff(luma.astype(int), axis=0)).mean(axis=1)):
        excess = line[1:-1] - (line[:-2] + line[2:]) / 2
        phases = np.median(excess[: len(excess) // 8 * 8].reshape(-1, 8), axis=0)
        strengths.append((phases.max() - np.median(phases)) / (line.mean() + 0.5))
    assert blockiness(luma, 8) == pytest.approx(np.mean(strengths), rel=1e-4)
    red, green, blue = np.moveaxis(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(float), 2, 0)
    opponents = red - green, (red + green) / 2 - blue
    colourful = np.hypot(*np.std(opponents, axis=(1, 2))) + 0.3 * np.hypot(*np.mean(opponents, axis=(1, 2)))
    spread = np.max((red, green, blue), axis=0) - np.min((red, green, blue), axis=0)
    assert colour_features(image) == pytest.approx([spread.mean(), colourful, *np.mean(opponents, axis=(1, 2))], rel=1e-5)


def test_scene_statistics_of_a_known_distribution() -> None:
    generator = np.random.default_rng(3)
    plane = generator.normal(128, 20, (384, 384)).astype(np.float32)
    shape, variance = scene_features(plane)[:2]
    assert 1.8 < shape < 3.5  # MSCN coefficients of independent Gaussian noise are about Gaussian, which has shape 2
    assert 0.5 < variance < 1.1
    assert abs(float(mscn(plane).mean())) < 0.01


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("size", [(2, 2), (2, 300), (40, 33), (400, 500)])
def test_flat_pictures_of_any_size_give_finite_numbers(size: tuple[int, int], value: int) -> None:
    picture = np.full((*size, 3), value, np.uint8)
    measured = [measured_frame(picture, (0, 0, size[1], size[0]))]
    values = clip_statistics(measured, np.full((1, 36, 64), value, np.uint8), np.array([0.0, 0.04]), 25.0)
    assert values.shape == (len(NAMES),)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values[NAMES.index("noise")], values[NAMES.index("grid8")]) == (0, 0)


def test_names_are_unique_and_absent_faces_are_zeros(clean: list[Image]) -> None:
    assert len(set(NAMES)) == len(NAMES)
    statistics = measure(clean)
    assert all(value == 0 for name, value in statistics.items() if name.startswith("face_"))
