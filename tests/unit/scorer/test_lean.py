"""Cheaper specifications: each leaves out what it says, and what it keeps is what the whole look has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling import sample, sampler
from scorer.sampling.decode import open_video
from scorer.sampling.faces import Face, FaceFinder
from scorer.sampling.images import Image
from scorer.sampling.pictures import Pictures
from scorer.sampling.statistics import NAMES
from scorer.sampling.temporal import LONGEST_HOLD, frozen_share, motion_features, seconds_held
from scorer.spec import MODEL_INPUTS, SPECIFICATIONS, SampledClip, SamplerSpec
from tests.support.media import face_frames, make_clip, write_frames
from tests.unit.scorer.test_sampler import check

LEAN = SPECIFICATIONS["lean"]
WITH_B_FRAMES = ("-crf", "23", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "25")


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving face at 25 frames a second, three quarters of them B-frames."""
    path = tmp_path_factory.mktemp("lean") / "moving.mp4"
    return write_frames(path, face_frames(640, 360, 2, 25), 25, WITH_B_FRAMES)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shape of each picture that is searched for faces."""
    shapes = []
    find = FaceFinder.find

    def counted(finder: FaceFinder, image: Image) -> list[Face]:
        shapes.append(image.shape)
        return find(finder, image)

    monkeypatch.setattr(FaceFinder, "find", counted)
    return shapes


def sampled(path: Path, spec: SamplerSpec) -> SampledClip:
    ((_, clip),) = sample(path, spec)
    check(clip, spec)
    return clip


def test_pictures_that_are_decoded_are_those_of_a_full_decode(moving: Path) -> None:
    with open_video(moving) as video:
        whole = {round(time, 4): frame.to_ndarray(format="rgb24") for time, frame, *_ in video.course(0.0).frames(0.0)}
    with open_video(moving, references_only=True) as video:
        references = {round(time, 4): frame.to_ndarray(format="rgb24") for time, frame, *_ in video.course(0.0).frames(0.0)}
    assert len(whole) == 50
    assert 12 <= len(references) <= 35
    for time, picture in references.items():
        np.testing.assert_array_equal(picture, whole[time])


def test_frames_are_counted_although_not_all_are_decoded(moving: Path) -> None:
    whole, lean = sampled(moving, SamplerSpec()), sampled(moving, replace(SamplerSpec(), decoded="references"))
    assert lean.info == whole.info
    assert max(lean.signals["freeze"], whole.signals["freeze"]) <= 0.04  # one repeated picture


def test_a_face_is_searched_only_where_a_crop_is_cut(moving: Path, searched: list[Any]) -> None:
    whole = sampled(moving, SamplerSpec())
    assert len(searched) == 4
    fewer = sampled(moving, replace(SamplerSpec(), searched="crops"))
    assert len(searched) == 4 + 2
    for name in ("frames", "portrait", "portrait_mask", "faces", "faces_mask", "clip", "thumbnail"):
        np.testing.assert_array_equal(getattr(fewer, name), getattr(whole, name), name)
    assert fewer.face_summary.count == whole.face_summary.count == 1
    assert fewer.face_summary.area == pytest.approx(whole.face_summary.area, rel=0.1)


def test_a_picture_apart_is_searched_for_its_preview_alone(moving: Path, searched: list[Any]) -> None:
    plain = sampled(moving, SPECIFICATIONS["middle"])
    assert len(searched) == 2
    ((_, shown),) = sample(moving, SPECIFICATIONS["middle"], preview="blur")
    assert len(searched) == 2 + 3, "the preview is of the picture in the middle, in which no crop is cut"
    for name in MODEL_INPUTS:
        np.testing.assert_array_equal(getattr(shown, name), getattr(plain, name), name)
    assert shown.face_summary == plain.face_summary
    np.testing.assert_array_equal(shown.thumbnail, plain.thumbnail)


def test_a_preview_hides_all_faces_and_changes_no_value(moving: Path) -> None:
    plain = sampled(moving, LEAN)
    ((_, shown),) = sample(moving, LEAN, preview="blur")
    ((_, whole),) = sample(moving, replace(LEAN, searched="all"), preview="blur")
    assert shown.preview is not None
    assert shown.preview == whole.preview
    for name in ("frames", "portrait", "faces", "clip", "statistics"):
        np.testing.assert_array_equal(getattr(shown, name), getattr(plain, name), name)
    assert shown.face_summary == plain.face_summary


def test_small_pictures_of_every_fourth_line_look_like_those_of_all(moving: Path) -> None:
    with open_video(moving) as video:
        whole, thinned = Pictures(video.pixel_aspect), Pictures(video.pixel_aspect, thinning=4)
        _, frame, *_ = next(video.course(0.0).frames(0.0))
        small, other = whole.small_luma(frame), thinned.small_luma(frame)
        assert small.shape == other.shape
        assert np.abs(small.astype(int) - other).mean() < 6
        assert abs(float(small.mean()) - float(other.mean())) < 1


@pytest.mark.parametrize(("kind", "name", "least", "most"), [("color=black", "black", 0.95, 1), ("testsrc2", "black", 0, 0.5)])
def test_the_signals_stay_what_they_are(tmp_path: Path, kind: str, name: str, least: float, most: float) -> None:
    clip = sampled(make_clip(tmp_path / "clip.mp4", 320, 240, 2, kind=kind), LEAN)
    assert least <= clip.signals[name] <= most


@pytest.mark.parametrize("fps", [5, 10, 25])
def test_a_picture_that_stands_still_is_frozen_and_a_slow_one_is_not(tmp_path: Path, fps: int) -> None:
    slow = make_clip(tmp_path / "slow.mp4", 320, 240, 2, fps, options=WITH_B_FRAMES)
    still = write_frames(tmp_path / "still.mp4", face_frames(320, 240, 1 / fps, fps) * (2 * fps), fps, WITH_B_FRAMES)
    whole, lean = sampled(slow, SamplerSpec()), sampled(slow, LEAN)
    assert lean.signals["freeze"] == pytest.approx(whole.signals["freeze"], abs=0.02)
    whole, lean = sampled(still, SamplerSpec()), sampled(still, LEAN)
    assert lean.signals["freeze"] == pytest.approx(whole.signals["freeze"], abs=0.001)
    assert lean.signals["freeze"] > 1 - 1.01 / fps, "the first picture repeats none that is known, the second may get better"


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_each_specification_finds_the_face(moving: Path, name: str) -> None:
    clip = sampled(moving, SPECIFICATIONS[name])
    assert clip.face_summary.count == 1
    assert clip.faces_mask.all()
    assert clip.portrait_mask.all()
    assert clip.statistics[NAMES.index("face_present")] == 1


@pytest.mark.parametrize("name", ["lean", "middle"])
@pytest.mark.parametrize("size", [(16, 16), (97, 161), (320, 240), (1280, 720)])
@pytest.mark.parametrize("count", [1, 2, 10])
def test_every_size_and_length_is_sampled(tmp_path: Path, size: tuple[int, int], count: int, name: str) -> None:
    path = write_frames(tmp_path / "any.mkv", face_frames(*size, count / 25, 25), 25, ["-c:v", "ffv1"])
    clip = sampled(path, SPECIFICATIONS[name])
    assert (clip.info.width, clip.info.height, clip.info.frames) == (*size, count)


def test_statistics_without_a_crop_are_those_of_the_first_frame(moving: Path) -> None:
    clip = sampled(moving, replace(LEAN, portrait_frames=0, face_frames=0))
    assert clip.statistics[NAMES.index("luma_mean")] > 10
    assert clip.statistics[NAMES.index("face_present")] == 0


def test_a_window_that_is_done_holds_no_frame(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    finish = sampler._Collector.finish

    def watched(collector: sampler._Collector) -> SampledClip:
        clip = finish(collector)
        held.append((collector._last, *collector._pictures._unflagged))
        return clip

    monkeypatch.setattr(sampler._Collector, "finish", watched)
    assert len(sample(moving, LEAN, window_seconds=0.5)) == 4
    assert held == [(None, None, None)] * 4


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=30), st.data())
def test_time_held_does_not_depend_on_which_frames_are_looked_at(lengths: list[float], data: st.DataObject) -> None:
    times = np.concatenate([[0.0], np.cumsum(lengths)])
    held = np.maximum(np.diff(times) - LONGEST_HOLD, 0)
    np.testing.assert_allclose(seconds_held(times, times[:-1]), held, atol=1e-9)
    chosen = [0, *sorted(data.draw(st.sets(st.integers(1, len(times) - 1))) | {len(times) - 1})]
    some = seconds_held(times[chosen], times[:-1])
    assert len(some) == len(chosen) - 1
    assert some.sum() == pytest.approx(held.sum())


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.floats(0.01, 0.5), st.data())
def test_a_frozen_share_is_that_of_all_frames_where_the_known_ones_tell(
    repeats: list[bool], step: float, data: st.DataObject
) -> None:
    # A change that no known frame shows between its neighbours cannot be seen: frames at both sides of each change are known.
    shades = np.cumsum([0, *(not repeat for repeat in repeats)])
    lumas = np.stack([np.full((4, 4), 5 * shade, np.uint8) for shade in shades])
    times = np.arange(len(lumas) + 1, dtype=np.float64) * np.float64(step)
    full = motion_features(lumas, times)[0]
    assert frozen_share(lumas, times, times[:-1]) == pytest.approx(full)
    needed = {0, len(lumas) - 1} | {place for i in np.flatnonzero(np.diff(shades)) for place in (int(i), int(i) + 1)}
    known = sorted(needed | data.draw(st.sets(st.integers(0, len(lumas) - 1))))
    assert frozen_share(lumas[known], times[[*known, -1]], times[:-1]) == pytest.approx(full)
