"""Recipes: what is wrong in a file is named with the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scorer.model.configuration import LiteEncoderConfig
from scorer.spec import SPECIFICATIONS, SamplerSpec
from tests.support.processes import ROOT
from training.evaluation.gate import gate_of
from training.recipe import MOST_BLOCKS, load_nano_recipe, load_tune_recipe


def test_a_recipe_with_a_key_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("name: a\nseed: 1\nname: b\n")
    for load in (load_nano_recipe, load_tune_recipe):
        with pytest.raises(ValueError, match=r"recipe\.yaml: the key name is there twice, in line 1 and in line 3"):
            load(file)


def test_a_gate_with_a_key_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("gate:\n  rated_mae_gain: 1\n  rated_mae_gain: 2\n")
    with pytest.raises(ValueError, match=r"gate\.yaml: the key rated_mae_gain is there twice, in line 2 and in line 3"):
        gate_of(tmp_path, file)


def test_a_recipe_names_what_its_model_sees(tmp_path: Path) -> None:
    shipped = (ROOT / "training/recipes/nano.yaml").read_text()
    text, file = shipped.replace("sampler: leaner\n", ""), tmp_path / "recipe.yaml"
    assert text != shipped
    for name, spec in SPECIFICATIONS.items():
        file.write_text(f"{text}sampler: {name}\n")
        assert load_nano_recipe(file).spec == spec
    file.write_text(text)
    assert load_nano_recipe(file).spec == SamplerSpec()
    file.write_text(f"{text}sampler: half\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml: sampler is 'half', not standard or lean or leaner or steady or middle"):
        load_nano_recipe(file)


@pytest.mark.parametrize("blocks", ["6", "-1", "two", "true", "2.0"])
def test_frozen_blocks_are_a_number_that_the_encoder_has(tmp_path: Path, blocks: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((ROOT / "training/recipes/nano.yaml").read_text().replace("frozen_blocks: 2", f"frozen_blocks: {blocks}"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: frozen_blocks is .*, not a whole number of 0 to 5"):
        load_nano_recipe(file)


def test_pictures_are_kept_where_the_recipe_says_so_and_where_all_blocks_are_frozen(tmp_path: Path) -> None:
    shipped, file = (ROOT / "training/recipes/nano_eighth.yaml").read_text(), tmp_path / "recipe.yaml"
    for blocks, kept, keeps in ((2, "true", True), (2, "false", False), (MOST_BLOCKS, "false", True)):
        file.write_text(
            shipped.replace("frozen_blocks: 2", f"frozen_blocks: {blocks}").replace(
                "kept_pictures: true", f"kept_pictures: {kept}"
            )
        )
        assert load_nano_recipe(file).keeps_pictures == keeps
    file.write_text(shipped.replace("kept_pictures: true", "kept_pictures: 1"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: kept_pictures is 1, not true or false"):
        load_nano_recipe(file)


def test_the_most_blocks_are_the_encoders() -> None:
    assert LiteEncoderConfig().blocks == MOST_BLOCKS


@pytest.mark.parametrize("value", ["-0.5", "much", ".inf", ".nan"])
def test_steadiness_has_a_weight(tmp_path: Path, value: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((ROOT / "training/recipes/nano_more.yaml").read_text() + f"steady_weight: {value}\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml: steady_weight is .*, not a number of 0 and more"):
        load_nano_recipe(file)


@pytest.mark.parametrize("value", ["1.5", "half", "-1"])
def test_the_start_has_a_share_of_the_weights(tmp_path: Path, value: str) -> None:
    shipped, file = (ROOT / "training/recipes/nano_more.yaml").read_text(), tmp_path / "recipe.yaml"
    file.write_text(shipped.replace("start_share: 0.5", f"start_share: {value}"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: start_share is .*, not a number of 0 to 1"):
        load_nano_recipe(file)
    file.write_text(shipped.replace("settling_steps: 300", f"settling_steps: {value}"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: settling_steps is .*, not a whole number of 0 to stage2_steps"):
        load_nano_recipe(file)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (4, 6, "stage1_steps and stage2_steps are 10 together; .* takes 11 or more"),
        (0, 0, "stage1_steps and stage2_steps are 0 together"),
        (-1, 100, "stage1_steps is -1, not a whole number of 0 and more"),
        (0, "many", "stage2_steps is 'many', not a whole number of 0 and more"),
    ],
)
def test_steps_are_enough_to_warm_up(tmp_path: Path, first: int, second: int | str, message: str) -> None:
    recipe = yaml.safe_load((ROOT / "training/recipes/nano_more.yaml").read_text())
    file = tmp_path / "recipe.yaml"
    chosen = {"stage1_steps": first, "stage2_steps": second, "settling_steps": 0}
    file.write_text(yaml.safe_dump(recipe | chosen))
    with pytest.raises(ValueError, match=rf"recipe\.yaml: {message}"):
        load_nano_recipe(file)


@pytest.mark.parametrize("value", ["0", "1.5", "yes"])
def test_runs_are_counted(value: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((ROOT / "training/recipes/nano_more.yaml").read_text() + f"runs: {value}\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml: runs is .*, not a whole number of 1 and more"):
        load_nano_recipe(file)
