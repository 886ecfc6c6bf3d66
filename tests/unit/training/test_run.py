"""The entrance to training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import ROOT
from training.run import run

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
