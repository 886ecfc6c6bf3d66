"""The entrance to training."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from training.data.alone import alone
from training.recipe import load_tune_recipe
from training.run import run, tune_from_queue

RECIPES = ROOT / "training/recipes"


@pytest.mark.parametrize(
    ("recipe", "file", "kind"),
    [("nano.yaml", "adapter_config.json", "an adapter"), ("nano_adapter.yaml", "model.safetensors", "a whole model")],
)
def test_a_folder_with_a_model_of_the_other_kind_is_refused(recipe: str, file: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    labels = tmp_path / "labels.csv"
    with pytest.raises(ValueError, match=f"{tmp_path}: there is {kind} in it"):
        run(RECIPES / recipe, labels, labels if recipe == "nano.yaml" else None, tmp_path)


@pytest.mark.parametrize("recipe", ["nano.yaml", "nano_adapter.yaml"])
def test_one_training_at_a_time_writes_into_a_folder(recipe: str, tmp_path: Path) -> None:
    labels, others = (written(tmp_path / f"{name}.csv", name) for name in ("ann", "eve"))
    out = tmp_path / "model"
    dev = others if recipe == "nano.yaml" else None
    with alone(out / "work"):
        with pytest.raises(ValueError, match=f"{out}/work: another run writes into it"):
            run(RECIPES / recipe, labels, dev, out)
        if dev is None:
            with pytest.raises(ValueError, match=f"{out}/work: another run writes into it"):
                tune_from_queue(load_tune_recipe(RECIPES / recipe), labels, None, out)
    labels.write_text("")
    with pytest.raises(ValueError, match=str(labels)):
        run(RECIPES / recipe, labels, dev, out)


def test_wrong_labels_are_told_before_models_are_loaded(tmp_path: Path) -> None:
    labels, others = (written(tmp_path / f"{name}.csv", name) for name in ("ann", "eve"))
    given = {"lesson": lambda: pytest.fail("it is loaded, for minutes"), "start": tmp_path / "no model"}
    with pytest.raises(ValueError, match=r"ann is in .* too"):
        run(RECIPES / "nano.yaml", labels, labels, tmp_path / "out", **given)
    others.write_text(others.read_text().replace("50", "500"))
    with pytest.raises(ValueError, match=r"eve\.csv, line 2: mos 500 is outside 0-100"):
        run(RECIPES / "nano.yaml", labels, others, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_batch_that_cannot_be_divided_is_told_before_processes_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.run._tune", lambda *_: pytest.fail("processes start, each of which loads torch"))
    labels, recipe, out = written(tmp_path / "ann.csv", "ann"), RECIPES / "nano_adapter.yaml", tmp_path / "out"
    with pytest.raises(ValueError, match=r"stage1\.batch_size: 16 is not divisible by 3 processes"):
        run(recipe, labels, None, out, processes=3)
    with pytest.raises(ValueError, match=r"stage1\.batch_size: 16 is not divisible by 3 processes"):
        tune_from_queue(load_tune_recipe(recipe), labels, None, out, 3)
    assert not out.exists()


def written(labels: Path, person: str) -> Path:
    """A labels file with a clip of that person."""
    labels.write_text(f"path,content,kind,step,mos\n{person}.mkv,{person},x264,1,50\n")
    return labels


def test_a_folder_can_be_used_again_also_where_locks_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("scorer.own_folder.fcntl.flock", fail)
    with alone(tmp_path / "new"), alone(tmp_path / "new"):
        assert list(tmp_path.iterdir()) == [tmp_path / "new"]
