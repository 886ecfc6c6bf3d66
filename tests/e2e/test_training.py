"""`fvq synth`, `fvq train`, `fvq ablate`, `fvq evaluate`: from clean pictures to a model, with a few steps of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image
from skimage import data as pictures

from tests.support.processes import FVQ, ROOT, clean_environment, fvq
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled segments of two people for training (one is the other's mirror image), a third for dev, and a short recipe."""
    folder = tmp_path_factory.mktemp("training")
    picture = Image.fromarray(pictures.astronaut())
    for name, image in (
        ("a", picture),
        ("b", picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        ("c", picture.crop((90, 0, 400, 310))),
    ):
        image.save(folder / f"{name}.png")
    common = ["--seconds", "1.2", "--steps", "6"]
    done = fvq(
        "synth", str(folder / "train"), str(folder / "a.png"), str(folder / "b.png"), "--variants", "2", *common, seconds=200
    )
    assert done.returncode == 0, done.stderr
    done = fvq("synth", str(folder / "dev"), str(folder / "c.png"), *common, seconds=200)
    assert done.returncode == 0, done.stderr
    recipe = yaml.safe_load((ROOT / "training/recipes/nano.yaml").read_text())
    # With the recipe's noise, so few steps would learn nothing.
    quiet = {"image_noise": 0.1, "statistics_noise": 0.1, "image_dropout": 0.0, "stream_dropout": 0.0}
    # Two clips of two contents a step are enough for the pairs, at a sixth of the recipe's cost.
    short = quiet | {"stage1_steps": 3, "stage2_steps": 10, "contents_per_batch": 2, "clips_per_content": 2, "folds": 2}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | short))
    return folder


def arguments(folder: Path) -> list[str]:
    data = ["--data", str(folder / "train/labels.csv"), "--dev", str(folder / "dev/labels.csv")]
    return ["--recipe", str(folder / "recipe.yaml"), *data]


@pytest.mark.timeout(480)
def test_a_killed_training_goes_on_and_its_model_scores(folder: Path) -> None:
    model = folder / "model"
    command = [FVQ, "train", *arguments(folder), "--out", str(model)]
    killed = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    rows = model / "work/train/rows.txt"
    wait_for("some samples", lambda: rows.exists() and len(rows.read_text().split()) > 3, 120)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(10)
    kept = rows.read_text().split()
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert rows.read_text().split()[: len(kept)] == kept, "clips that were sampled before the kill are not sampled again"
    assert len(set(rows.read_text().split())) == 28
    assert {"srcc", "version"} <= set(json.loads(done.stdout))
    for name in ("README.md", "metrics.json", "sampler.json", "model.safetensors"):
        assert (model / name).stat().st_size > 0
    (curve,) = (model / "work").glob("curve-*.csv")
    assert curve.stat().st_size > 0

    report = fvq("evaluate", str(model), "--data", str(folder / "dev/labels.csv"), "--json", seconds=120)
    assert report.returncode == 0, report.stderr
    served = json.loads(report.stdout)["methods"][f"model@{json.loads(done.stdout)['version']}"]
    trained = json.loads((model / "metrics.json").read_text())
    # Serving uses the same sampler and the same network as training.
    assert served["mae"] == pytest.approx(trained["mae"], abs=0.02)

    ablation = fvq("ablate", *arguments(folder), "--work", str(model / "work"), "--seeds", "1", "--json", seconds=300)
    assert ablation.returncode == 0, ablation.stderr
    table = json.loads(ablation.stdout)
    assert {"everything", "without faces", "without the language model", "half of the people"} <= set(table)
    # Of two people a quarter is one person, the same as half of them.
    # Not by rmse: where the fit before it finds no slope, that is the spread of the labels, whatever the model.
    rest = [row["mae"] for name, row in table.items() if name != "a quarter of the people"]
    assert len(set(rest)) == len(rest), "every row is another model"


def test_a_wrong_key_in_a_recipe_is_named_with_its_file(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((folder / "recipe.yaml").read_text() + "learning_rat: 1\n")
    done = fvq("train", "--recipe", str(wrong), *arguments(folder)[2:], "--out", str(tmp_path / "model"))
    assert done.returncode == 1
    assert "wrong.yaml" in done.stderr
    assert "learning_rat" in done.stderr
