"""`fvq synth`, then `fvq evaluate` on its labels file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from skimage import data as pictures

from tests.support.processes import fvq


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    Image.fromarray(pictures.astronaut()).save(folder / "astronaut.png")
    done = fvq("synth", str(folder / "data"), str(folder / "astronaut.png"), "--steps", "16", "--seconds", "0.6", seconds=200)
    assert done.returncode == 0, done.stderr
    return folder / "data" / "labels.csv"


def test_the_shipped_model_beats_the_baselines_without_a_network(labels: Path, tmp_path: Path) -> None:
    plot = tmp_path / "scatter.png"
    done = fvq("evaluate", "nano", "--data", str(labels), "--json", "--plot", str(plot), seconds=200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    model, *others = report["methods"]
    assert model.startswith("nano@")
    figures = {name: method["srcc"] for name, method in report["methods"].items()}
    assert figures[model] > 0.8
    assert all(figures[model] > figures[name] for name in others if "with the reference" not in name)
    assert len(report["clips"]) == 17
    assert Image.open(plot).size[0] > 300


def test_a_missing_labels_file_is_named(tmp_path: Path) -> None:
    done = fvq("evaluate", "nano", "--data", str(tmp_path / "none.csv"))
    assert done.returncode == 1
    assert "none.csv" in done.stderr
    assert "Traceback" not in done.stderr
