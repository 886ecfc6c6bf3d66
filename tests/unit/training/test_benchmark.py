"""A benchmark of two short clips: made once, scored by models and simpler methods, taken up again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rich.console import Console
from skimage import data

from scorer.load import load_engine
from scorer.sampling.statistics import NAMES
from scorer.spec import ClipScore, ModelId, SamplerSpec
from tests.support.processes import ROOT
from training.data.benchmark import Plan, make_benchmark
from training.data.labels import read_labels
from training.data.measures import is_twice
from training.data.samples import Samples
from training.evaluation import benchmark as judging
from training.evaluation.agreement import without_nan
from training.evaluation.benchmark import evaluate_benchmark, tables

PLAN = Plan(ladders=("upscaling", "hardware-blocking"), scenes=1, doubles=1, seconds=0.4)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    still = tmp_path_factory.mktemp("stills") / "astronaut.png"
    cv2.imwrite(str(still), data.astronaut()[..., ::-1])
    return [ROOT / "examples/face.mp4", still]


@pytest.fixture(scope="module")
def folder(people: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    make_benchmark(folder, people, PLAN, jobs=1)
    return folder


@pytest.mark.slow
def test_the_labels_say_what_was_done(folder: Path) -> None:
    rows = read_labels(folder / "benchmark.csv")
    plain = [row for row in rows if row["scene"] == "plain"]
    assert len(plain) == 2 * (1 + 5 + 5 + 1)
    assert {row["person"] for row in rows} == {"face", "astronaut"}
    for row in rows:
        assert row["path"].exists()
        assert row["kind"] != "reference" or row["path"].name == f"{row['content']}.sent.mkv", "none is lossless"
        if not is_twice(row["kind"]):
            assert row["mos"] == pytest.approx(float(row["source_grade"]) * float(row["relative"]) / 100, abs=2e-3)
    double = next(row for row in plain if is_twice(row["kind"]))
    on_the_way, at_source = double["kind"].split("@")
    assert on_the_way == "hardware-blocking"
    # What was done at the source has the grade that it has alone.
    of_content = {f"{row['kind']}-{row['step']}": row for row in plain if row["content"] == double["content"]}
    alone = of_content[at_source]
    assert float(double["source_grade"]) == pytest.approx(alone["mos"], abs=0.01)
    assert double["mos"] < alone["mos"]
    # A scene is damaged twice only.
    scene = [row for row in rows if row not in plain]
    assert scene
    assert all(is_twice(row["kind"]) != (row["kind"] == "reference") for row in scene)
    assert {row["person"] for row in scene} <= {"face", "astronaut"}


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(folder: Path, people: list[Path]) -> None:
    labels, clip = folder / "benchmark.csv", folder / "face.upscaling-2.mkv"
    before, written = labels.read_bytes(), (folder / "face.upscaling-1.mkv").stat().st_mtime_ns
    clip.with_suffix(".json").unlink()
    clip.unlink()
    make_benchmark(folder, people, PLAN, jobs=1)
    assert labels.read_bytes() == before
    assert clip.exists()
    assert (folder / "face.upscaling-1.mkv").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="another plan"):
        make_benchmark(folder, people[:1], PLAN, jobs=1)


@pytest.mark.slow
def test_models_and_simpler_methods_are_in_one_table(folder: Path) -> None:
    nano = load_engine("nano", "cpu")
    report = evaluate_benchmark([nano], folder, jobs=1)
    assert list(report["methods"]) == [
        *(str(nano.model), "all statistics + SVR", "BRISQUE's statistics + SVR", "sharpness (Laplacian)"),
        *(f"{measure} (with the reference)" for measure in ("VMAF", "SSIM", "PSNR")),
    ]
    figures = report["methods"][str(nano.model)]["figures"]
    assert figures["ladders"] > 0.8
    assert figures["drop"] > 20
    assert report["methods"]["PSNR (with the reference)"]["figures"]["ladders"] == 1
    # VMAF is the label of both ladders.
    assert report["methods"]["VMAF (with the reference)"]["figures"]["within_worst"] > 0.95
    json.dumps(without_nan(report), allow_nan=False)
    console = Console(width=250)
    with console.capture() as captured:
        for table in tables(report):
            console.print(table)
    assert "hardware-blocking" in captured.get()
    assert len(report["methods"][str(nano.model)]["scenes"]) > 3
    # A second time nothing is sampled: the clips need not even be there.
    samples = next((folder / "samples").iterdir())
    written = (samples / "frames.npy").stat().st_mtime_ns
    assert evaluate_benchmark([nano], folder, jobs=1)["methods"][str(nano.model)]["figures"] == figures
    assert (samples / "frames.npy").stat().st_mtime_ns == written


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no benchmark\.csv in it; name the people"):
        evaluate_benchmark([], tmp_path, jobs=1)
    with pytest.raises(ValueError, match="no ladder 'blurr'"):
        Plan(ladders=("blurr",))


def test_a_clip_that_cannot_be_damaged_is_left_out(tmp_path: Path) -> None:
    flower = tmp_path / "flower.png"
    cv2.imwrite(str(flower), data.coffee()[..., ::-1])
    labels = make_benchmark(tmp_path / "benchmark", [flower], Plan(ladders=("face-blur",), seconds=0.2), jobs=1)
    with labels.open(newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["reference"]


def test_a_person_whose_clip_cannot_be_read_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, flower = tmp_path / "broken.mp4", tmp_path / "flower.png"
    broken.write_bytes(b"no video")
    cv2.imwrite(str(flower), data.coffee()[..., ::-1])
    plan = Plan(ladders=("face-blur",), seconds=0.2)
    labels = make_benchmark(tmp_path / "benchmark", [broken, flower], plan, jobs=1)
    with labels.open(newline="") as file:
        assert [row["person"] for row in csv.DictReader(file)] == ["flower"]
    assert f"broken: left out, ffmpeg cannot read {broken}" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no clip could be made"):
        make_benchmark(tmp_path / "another", [broken], plan, jobs=1)


def test_labels_without_measures_of_the_reference_are_judged_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{person}-{step}.mp4,{person},x264,{step},{90 - 20 * step}" for person in ("ann", "bob") for step in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,content,kind,step,mos", *rows]))
    statistics = np.random.default_rng(0).normal(size=(6, len(NAMES))).astype(np.float32)
    answers = [ClipScore(float(80 - place), "good", {}, 5.0, ModelId("m", "1")) for place in range(6)]
    monkeypatch.setattr(judging, "_sampled", lambda *_: Samples({"statistics": statistics}, np.arange(6)))
    monkeypatch.setattr(judging, "_scores", lambda *_: answers)
    report = evaluate_benchmark([SimpleNamespace(model="m", spec=SamplerSpec())], tmp_path, jobs=1)  # type: ignore[list-item]
    assert list(report["methods"]) == ["m", "all statistics + SVR", "BRISQUE's statistics + SVR", "sharpness (Laplacian)"]
    console = Console(width=200)
    with console.capture() as captured:
        for table in tables(report):
            console.print(table)
    assert "nan" not in captured.get()
