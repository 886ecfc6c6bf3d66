"""Ladders of damage: each step is worse than the one before, the clip stays as long as it was, and a seed makes it again."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scorer.sampling.faces import FaceFinder
from tests.support.media import write_frames
from tests.support.processes import ROOT
from training.data.damage.catalogue import LADDERS, VMAF_TRUSTED
from training.data.damage.conversion import hlg_signal, pq_signal
from training.data.damage.first import first_ladders
from training.data.damage.ladder import STEPS, apply
from training.data.damage.network import lose_slices
from training.data.damage.pictures import Shape, read, shape_of, write
from training.data.degradations import degrade, ladders
from training.data.ffmpeg import run_ffmpeg
from training.data.references import make_reference

FIRST = {ladder.name for ladder in first_ladders()}
NEW = [name for name in LADDERS if name not in FIRST]
DRAWN = (
    *("mains-banding", "rolling-bands", "exposure-hunting", "low-light-noise", "upscaling", "concealment", "stalls", "jitter"),
    *("wrong-range", "moire", "missing-slices", "wrong-blocks", "spoiled-pictures"),
    *("flicker", "pixelation", "rolling-shutter", "coarse-colour"),
)
"""Ladders in which something is drawn at random by the seed."""

FLAT = ("hdr-as-sdr",)
"""Ladders whose steps differ by the contrast that is left. The first one is brighter than the reference, the others darker."""

QUICK = ("over-sharpening", "exposure-hunting", "concealment", "stalls")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "face.reference.mkv"
    make_reference(ROOT / "examples/face.mp4", path, 1.2, 0, "0")
    return path


def test_a_source_that_ends_within_its_reference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_frames(tmp_path / "short.mkv", [np.full((288, 288, 3), shade, np.uint8) for shade in range(75)], 25.0)
    make_reference(source, tmp_path / "whole.mkv", 2.0, 0, "0")
    assert capsys.readouterr().err == ""
    make_reference(source, tmp_path / "short-sent.mkv", 4.0, 0, "0")
    said = capsys.readouterr().err
    assert said.startswith(f"{source}: it ends early, so the reference short-sent.mkv has 2.")
    assert "s of 4 s" in said


def pictures(clip: Path) -> NDArray[np.float32]:
    return np.stack([cv2.resize(picture, None, fx=0.5, fy=0.5) for picture in read(clip)]).astype(np.float32)


def worse_step_by_step(name: str, reference: Path, folder: Path) -> None:
    """Each step is further away from the reference than the one before, or has less contrast."""
    shape, before, distances = shape_of(reference), pictures(reference), []
    for step in range(LADDERS[name].steps):
        clip = folder / f"{name}-{step}.mkv"
        apply(LADDERS[name], step, reference, clip)
        assert shape_of(clip) == shape
        after = pictures(clip)
        distances.append(float(before.std() - after.std() if name in FLAT else np.abs(after - before).mean()))
    assert distances == sorted(set(distances))
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}-{step}.mkv" for step in range(LADDERS[name].steps)]


@pytest.mark.parametrize("name", QUICK)
def test_quick_ladders_rise(name: str, reference: Path, tmp_path: Path) -> None:
    worse_step_by_step(name, reference, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NEW if name not in QUICK])
def test_every_ladder_rises(name: str, reference: Path, tmp_path: Path) -> None:
    worse_step_by_step(name, reference, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_decides_what_is_drawn(name: str, reference: Path, tmp_path: Path) -> None:
    clips = [tmp_path / f"{place}.mkv" for place in range(3)]
    for clip, seed in zip(clips, ("a", "a", "other people's clip"), strict=True):
        apply(LADDERS[name], 3, reference, clip, seed)
    first, again, other = (pictures(clip) for clip in clips)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [10, 60])
@pytest.mark.parametrize(
    "name", ["bitrate-oscillation", "mpeg2", "restream-twice", "concealment", "judder", "jitter", "freeze", "spoiled-pictures"]
)
def test_other_rates_stay_what_they_are(name: str, rate: int, reference: Path, tmp_path: Path) -> None:
    source, clip = tmp_path / "source.mkv", tmp_path / "clip.mkv"
    shape = replace(shape_of(reference), rate=rate)
    write(read(reference), shape, source)
    apply(LADDERS[name], 1, source, clip)
    assert shape_of(clip) == shape


@pytest.mark.parametrize("count", [22, 23])
def test_a_clip_of_which_pictures_are_dropped_stays_as_long_as_it_was(count: int, tmp_path: Path) -> None:
    clip, shape = tmp_path / "clip.mkv", Shape(128, 96, Fraction(25), count)
    write((np.full((96, 128, 3), 8 * number, np.uint8) for number in range(count)), shape, clip)
    for step in range(LADDERS["drop"].steps):
        apply(LADDERS["drop"], step, clip, tmp_path / f"{step}.mkv")
        assert shape_of(tmp_path / f"{step}.mkv") == shape


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_pictures_that_are_not_changed_keep_their_light_and_their_matrix(matrix: str, reference: Path, tmp_path: Path) -> None:
    source, clip = tmp_path / "source.mkv", tmp_path / "clip.mkv"
    run_ffmpeg("-i", reference, "-vf", f"scale=out_color_matrix={matrix}", "-pix_fmt", "yuv420p", "-c:v", "ffv1", source)
    write(read(source), shape_of(source), clip)
    before, after = (planes_of(path) for path in (source, clip))
    luma = shape_of(source).height
    assert abs(after[:, :luma].mean() - before[:, :luma].mean()) < 0.3
    assert np.abs(after[:, luma:] - before[:, luma:]).mean() < 0.8
    assert shape_of(clip).is_bt709 == (matrix == "bt709")


def test_a_mistaken_matrix_is_seen_from_the_first_mistake_on(reference: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    apply(LADDERS["wrong-colour-matrix"], 0, reference, clip)
    assert np.abs(pictures(clip) - pictures(reference)).mean() > 2


def planes_of(clip: Path) -> NDArray[np.float64]:
    """(N, H * 3 / 2, W): the luma and the chroma of each picture, as they are coded."""
    with av.open(str(clip)) as container:
        return np.stack([frame.to_ndarray().astype(np.float64) for frame in container.decode(video=0)])


def test_a_clip_that_ends_before_its_picture_stands_still_is_refused(tmp_path: Path) -> None:
    clip, shape = tmp_path / "clip.mkv", Shape(128, 96, Fraction(25), 12)
    write((np.full((96, 128, 3), 8 * number, np.uint8) for number in range(12)), shape, clip)
    with pytest.raises(ValueError, match=r"stands still from 0\.48 s on"):
        apply(LADDERS["freeze"], 0, clip, tmp_path / "0.mkv")
    apply(LADDERS["freeze"], 1, clip, tmp_path / "1.mkv")


def test_every_step_says_what_its_label_is() -> None:
    for name in NEW:
        ladder = LADDERS[name]
        assert ladder.steps == STEPS
        assert len(ladder.why) > 20
        assert ladder.target is None or (ladder.target[0] < 97 and ladder.target[0] - ladder.target[-1] >= 30)
    assert {name for name, ladder in LADDERS.items() if ladder.measure == "vmaf"} > VMAF_TRUSTED


def test_the_first_ladders_are_those_that_synth_draws_from() -> None:
    steps = [(ladder.name, step) for ladder in first_ladders() for step in range(ladder.steps)]
    assert steps == [(step.kind, step.step) for step in ladders()]


def test_a_first_ladder_makes_the_same_clip_as_synth(reference: Path, tmp_path: Path) -> None:
    loss = [step for step in ladders() if step.kind == "loss"][2]
    degrade(reference, loss, tmp_path / "synth.mkv")
    apply(LADDERS["loss"], 2, reference, tmp_path / "ladder.mkv")
    assert np.array_equal(pictures(tmp_path / "synth.mkv"), pictures(tmp_path / "ladder.mkv"))


def test_targets_that_do_not_fall_are_refused() -> None:
    ladder = LADDERS["stalls"]
    with pytest.raises(ValueError, match="falling"):
        replace(ladder, target=(80.0, 80.0, 54.0, 40.0, 27.0))
    with pytest.raises(ValueError, match="falling"):
        replace(ladder, target=(80.0,))
    with pytest.raises(ValueError, match="declared"):
        replace(ladder, measure="vmaf")


@pytest.mark.parametrize("step", [-1, STEPS])
def test_a_step_that_is_not_there_is_refused(step: int, reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps 0 to 4"):
        apply(LADDERS["stalls"], step, reference, tmp_path / "clip.mkv")


@pytest.mark.parametrize("name", ["face-blur", "backlight"])
def test_a_clip_without_a_person_has_no_damage_to_one(name: str, reference: Path, tmp_path: Path) -> None:
    shape = shape_of(reference)
    grey = np.full((shape.height, shape.width, 3), 128, np.uint8)
    write(iter([grey] * 3), shape, tmp_path / "grey.mkv")
    with pytest.raises(ValueError, match=r"grey\.mkv: there is no (face|person)"):
        apply(LADDERS[name], 0, tmp_path / "grey.mkv", tmp_path / "clip.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["grey.mkv"]


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_a_small_face_is_blurred_as_much_as_a_large_one(scale: float, reference: Path, tmp_path: Path) -> None:
    shape = shape_of(reference)
    shrunk = [cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for picture in read(reference)]
    x, y, width, height = FaceFinder().find(cv2.cvtColor(shrunk[0], cv2.COLOR_BGR2RGB))[0].box
    far = np.full((shape.height, shape.width, 3), 128, np.uint8)

    def shown(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        canvas = far.copy()
        canvas[: len(picture), : picture.shape[1]] = picture
        return canvas

    write(map(shown, shrunk), shape, tmp_path / "small.mkv")
    apply(LADDERS["face-blur"], 4, tmp_path / "small.mkv", tmp_path / "blurred.mkv")

    def detail(clip: Path) -> float:
        face = next(iter(read(clip)))[y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4]
        return float(cv2.Laplacian(face, cv2.CV_32F).var())

    assert detail(tmp_path / "blurred.mkv") < 0.03 * detail(tmp_path / "small.mkv")


def unit(kind: int, first_macroblock: int, number: int) -> bytes:
    return b"\x00\x00\x01" + bytes([kind, 0x80 if first_macroblock == 0 else 0x40, number])


def test_first_slices_and_keyframes_are_never_lost() -> None:
    kept = [unit(7, 0, 1), unit(5, 0, 2), unit(5, 9, 3), unit(1, 0, 4), unit(0x61, 0, 5)]
    losable = [unit(1, 9, number) for number in range(10, 30)] + [unit(0x61, 9, number) for number in range(30, 50)]
    stream = b"".join(kept + losable)
    few, many = (lose_slices(stream, share, random.Random(1)) for share in (0.1, 0.5))
    assert all(part in many for part in kept)
    gone = [{number for number, part in enumerate(losable) if part not in rest} for rest in (few, many)]
    assert [len(numbers) for numbers in gone] == [4, 20]
    assert gone[0] < gone[1]
    assert lose_slices(b"".join(kept), 0.5, random.Random(1)) == b"".join(kept)


def test_curves_of_hdr() -> None:
    assert pq_signal(np.array([0.0, 100.0, 203.0, 1000.0, 10000.0])) == pytest.approx([0, 0.508, 0.581, 0.752, 1], abs=1e-3)
    assert hlg_signal(np.array([0.0, 1 / 12, 0.265, 1.0])) == pytest.approx([0, 0.5, 0.75, 1], abs=1e-3)


def test_the_docs_have_every_ladder_with_its_label() -> None:
    page = (ROOT / "docs/training.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    table = {name: (row[1], row[3]) for row in cells if len(row) == 4 for name in row[0].split(", ")}
    for name in NEW:
        ladder = LADDERS[name]
        label = "VMAF" if ladder.target is None else ", ".join(f"{target:g}" for target in ladder.target)
        assert table[name] == (ladder.stage, label)
