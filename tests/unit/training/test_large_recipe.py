"""The recipe of the large model from its file to scores: the real classes scaled down, labels of scenes, two processes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from scorer.errors import SettingsError
from scorer.load import load_engine
from scorer.model.bases import Base
from scorer.sampling.statistics import NAMES
from scorer.spec import SampledClip, SamplerSpec
from tests.support import tiny
from tests.support.doubles import make_clip
from tests.support.media import write_frames
from tests.support.processes import ROOT
from training.data import samples
from training.data.scenes.make import COLUMNS
from training.recipe import check_division, load_tune_recipe
from training.run import run

# 40 s of CPU in three processes, of which a machine that does other work gives little.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CASTS = {"m05+m25+s02": 6, "m06+m09": 6, "m11": 6, "s07+s08": 6}
"""The people of a scene, who are its `person`, and the number of its clips."""


def labels_of_scenes(folder: Path) -> Path:
    """A table as `fvq synth --scenes` writes it; the clips are noise, no two the same."""
    rows: list[dict[str, Any]] = []
    for scene, (cast, count) in enumerate(CASTS.items()):
        content = f"scene-{scene:05}"
        for step in range(count):
            kind = "x264@blur-2" if step else "reference"
            path = folder / (f"{content}.{kind}-{step}.mkv" if step else f"{content}.reference.mkv")
            rng = np.random.default_rng([scene, step])
            write_frames(path, [rng.integers(0, 255, (48, 64, 3), np.uint8)] * 2, 25.0)
            damage = {"path": path.name, "kind": kind, "step": step, "mos": 97 - 16 * step, "relative": 100 - 15 * step}
            people = {"person": cast, "people": cast.replace("+", " "), "scene": "near dark-room 180p 25fps"}
            figures = {"source_grade": 70.0 if step else 97.0, "measure": "vmaf", "vmaf": 50.0, "ssim": 0.9, "psnr": 30.0}
            rows.append({"content": content} | damage | people | figures)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"


def recipe_file(folder: Path, **changes: object) -> Path:
    """The shipped recipe with a scaled-down base of the classes that it names, few steps, and no dropout.

    Dropout's random numbers differ with the number of processes.
    """
    values = yaml.safe_load((ROOT / "training/recipes/fvq20k_internvl.yaml").read_text())
    values["base"] |= {
        "model": tiny.internvl(folder / "internvl"),
        "motion": tiny.vjepa2(folder / "vjepa2"),
        "face": tiny.face(folder / "face"),
        "image_size": 56,
        "frames": 2,
        "portrait_frames": 1,
    }
    values["lora"] |= {"rank": 4, "dropout": 0.0}
    for stage in ("stage1", "stage2"):
        values[stage] |= {"epochs": 2, "batch_size": 8, "learning_rate": 2.0e-3}
    values["checkpoint_steps"] = 2
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(values | changes))
    return file


def made_up(
    rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: object = None
) -> Iterator[tuple[int, SampledClip]]:
    """In place of `sample_all`: the later a clip's step, the darker."""
    for place in range(len(rows)):
        yield place, make_clip(220 - 35 * (place % 6), place, spec, len(NAMES))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(recipe, labels, model that one process trained)."""
    folder = tmp_path_factory.mktemp("large")
    recipe, labels, out = recipe_file(folder), labels_of_scenes(folder), folder / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "sample_all", made_up)
        run(recipe, labels, None, out)
    return recipe, labels, out


def test_labels_of_scenes_are_read_and_no_cast_is_in_two_splits(trained: tuple[Path, Path, Path]) -> None:
    metrics = json.loads((trained[2] / "metrics.json").read_text())
    assert metrics["dropped"] == 0
    assert sum(metrics["clips"].values()) == sum(CASTS.values())
    assert all(count % 6 == 0 for count in metrics["clips"].values())
    assert metrics["recipe"]["gradient_checkpointing"]
    base = Base.load(trained[2])
    assert base.fingerprint in (trained[2] / "README.md").read_text()
    assert base.motion in (trained[2] / "README.md").read_text()


def test_two_processes_train_the_same_adapter_as_one(trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, labels, alone = trained
    out = tmp_path / "together"
    kept = next((alone / "work").glob("samples-*"))
    shutil.copytree(kept, out / "work" / kept.name)
    metrics = run(recipe, labels, None, out, processes=2)
    assert metrics["clips"] == json.loads((alone / "metrics.json").read_text())["clips"]

    wanted, found = (load_file(folder / "adapter_model.safetensors") for folder in (alone, out))
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    with (alone / "curve.csv").open() as one, (out / "curve.csv").open() as two:
        rows = list(zip(csv.DictReader(one), csv.DictReader(two), strict=True))
    np.testing.assert_allclose(*np.array([[float(row["loss"]) for row in pair] for pair in rows]).T, rtol=1e-3)
    engines = [load_engine(str(folder), "cpu") for folder in (alone, out)]
    clips = [clip for _, clip in made_up([{}] * 6, engines[0].spec, 1)]
    scores = [[score.score for score in engine.score(clips)] for engine in engines]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.05)
    assert np.ptp(scores[0]) > 1


def test_a_batch_that_cannot_be_divided_is_refused(trained: tuple[Path, Path, Path]) -> None:
    recipe = load_tune_recipe(trained[0])
    check_division(recipe, 4)
    with pytest.raises(ValueError, match=r"stage1\.batch_size: 8 is not divisible by 3 processes"):
        check_division(recipe, 3)


def test_a_whole_model_is_trained_by_one_process(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave --processes out"):
        run(ROOT / "training/recipes/nano.yaml", tmp_path, tmp_path, tmp_path, processes=2)
