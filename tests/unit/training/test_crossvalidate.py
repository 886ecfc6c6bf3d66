"""`fvq crossvalidate`: each person's clips are scored by a model that was fitted on the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.model.modeling import FVQRater
from scorer.model.presets import nano
from tests.support.processes import ROOT
from tests.unit.training.test_teacher import STEPS, labels, made_up
from training.data import samples as sampling
from training.data.labels import read_labels
from training.nano import train as training
from training.nano.ablate import ablate
from training.nano.crossvalidate import crossvalidate
from training.recipe import load_nano_recipe

RECIPE = load_nano_recipe(ROOT / "training/recipes/nano.yaml")


def test_nobody_is_scored_by_a_model_that_saw_them_and_a_killed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = ["ann", "bob", "cid"]
    data = labels(tmp_path / "train", people)
    rows = read_labels(data)
    seen: list[set[str]] = []

    def fitted(samples: Any, rows: Any, recipe: Any, index: Any, name: str) -> FVQRater:
        seen.append({rows[int(samples.rows[place])]["person"] for place in index})
        if len(seen) == 2:
            raise KeyboardInterrupt
        return FVQRater(nano(statistics=samples.arrays["statistics"].shape[1])[0]).eval()

    monkeypatch.setattr(sampling, "sample_all", made_up)
    monkeypatch.setattr(training, "fitted", fitted)
    with pytest.raises(KeyboardInterrupt):
        crossvalidate(RECIPE, data, tmp_path / "work", 5)
    report = crossvalidate(RECIPE, data, tmp_path / "work", 5)
    assert [len(others) for others in seen] == [2, 2, 2, 2], "three people are three folds, of which the first is kept"
    assert len({frozenset(others) for others in seen}) == 3
    assert set(report["people"]) == set(people)
    assert np.isfinite(report["figures"]["mae"])
    assert len(rows) == 3 * STEPS


def test_a_recipe_for_a_model_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, runs=2)
    with pytest.raises(ValueError, match="new networks have no mean"):
        crossvalidate(recipe, tmp_path, tmp_path, 5)
    with pytest.raises(ValueError, match="new networks have no mean"):
        ablate(recipe, tmp_path, tmp_path, tmp_path, 1)
