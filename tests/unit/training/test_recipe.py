"""Recipes: what is wrong in a file is named with the file."""

from __future__ import annotations

import math
import re
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        *((f"frozen_blocks: {blocks}", f"frozen_blocks: must be .*, not '?{blocks}") for blocks in ("6", "-1", "two", "2.0")),
        ("frozen_blocks: true", "frozen_blocks: must be a valid integer, not True"),
        *((f"steady_weight: {value}", "steady_weight: must be .*, not ") for value in ("-0.5", "much", ".inf", ".nan")),
        *((f"start_share: {value}", f"start_share: must be .*, not '?{value}") for value in ("1.5", "half", "-1")),
        *((f"runs: {value}", "runs: must be .*, not ") for value in ("0", "1.5", "yes")),
        ("learning_rate: 3e-4", "learning_rate: must be a valid number, not '3e-4'"),
        ("learning_rate: 0", "learning_rate: must be greater than 0, not 0"),
        ("weight_decay: -0.1", "weight_decay: must be greater than or equal to 0, not -0.1"),
        ("image_dropout: 3", "image_dropout: must be less than or equal to 1, not 3"),
        ("clips_per_content: 0", "clips_per_content: must be greater than or equal to 1, not 0"),
        ("threads: 0", "threads: must be greater than or equal to 1, not 0"),
        ("folds: 1", "folds: must be greater than or equal to 2, not 1"),
        ("seed: -7", "seed: must be greater than or equal to 0, not -7"),
        ("kept_pictures: 1", "kept_pictures: must be a valid boolean, not 1"),
        ("learnin_rate: 0.1", "learnin_rate: there is no such key$"),
        ("1: 2", "1: there is no such key$"),
    ],
)
def test_a_value_that_cannot_be_is_named_before_the_long_work(tmp_path: Path, line: str, message: str) -> None:
    key, file = line.split(":")[0], tmp_path / "recipe.yaml"
    shipped = (ROOT / "training/recipes/nano_more.yaml").read_text().splitlines()
    file.write_text("\n".join([*(known for known in shipped if not known.startswith(f"{key}:")), line]))
    with pytest.raises(ValueError, match=rf"recipe\.yaml: {message}"):
        load_nano_recipe(file)


def test_all_that_is_wrong_in_a_recipe_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((ROOT / "training/recipes/nano_more.yaml").read_text().replace("seed: ", "sed: ") + "runs: 0\n")
    wrong = "seed: is missing; runs: must be .*, not 0; sed: there is no such key"
    with pytest.raises(ValueError, match=rf"recipe\.yaml: {wrong}$"):
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


def test_the_most_blocks_are_the_encoders() -> None:
    assert LiteEncoderConfig().blocks == MOST_BLOCKS


def test_settling_steps_are_the_last_of_stage_two(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((ROOT / "training/recipes/nano_more.yaml").read_text().replace("settling_steps: 300", "settling_steps: 9000"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: settling_steps is 9000, more than stage2_steps"):
        load_nano_recipe(file)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (4, 6, "stage1_steps and stage2_steps are 10 together; .* takes 11 or more"),
        (0, 0, "stage1_steps and stage2_steps are 0 together"),
        (-1, 100, "stage1_steps: must be greater than or equal to 0, not -1"),
        (0, "many", "stage2_steps: must be a valid integer, not 'many'"),
    ],
)
def test_steps_are_enough_to_warm_up(tmp_path: Path, first: int, second: int | str, message: str) -> None:
    recipe = yaml.safe_load((ROOT / "training/recipes/nano_more.yaml").read_text())
    file = tmp_path / "recipe.yaml"
    chosen = {"stage1_steps": first, "stage2_steps": second, "settling_steps": 0}
    file.write_text(yaml.safe_dump(recipe | chosen))
    with pytest.raises(ValueError, match=rf"recipe\.yaml: {message}"):
        load_nano_recipe(file)


def test_a_seed_that_cannot_be_is_named_before_an_adapters_clips_are_sampled(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    shipped = yaml.safe_load((ROOT / "training/recipes/nano_adapter.yaml").read_text())
    file.write_text(yaml.safe_dump(shipped | {"seed": -1}))
    with pytest.raises(ValueError, match=r"recipe\.yaml: seed: must be greater than or equal to 0, not -1"):
        load_tune_recipe(file)


def test_yes_is_no_number(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    for name, load in (("nano", load_nano_recipe), ("nano_adapter", load_tune_recipe)):
        shipped = (ROOT / f"training/recipes/{name}.yaml").read_text()
        file.write_text(re.sub("^seed: .*", "seed: yes", shipped, flags=re.MULTILINE))
        with pytest.raises(ValueError, match=r"recipe\.yaml: seed: must be a valid (number|integer), not True"):
            load(file)


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("stage1", "learning_rate", math.inf, "stage1.learning_rate: must be a finite number, not inf"),
        ("stage2", "epochs", math.inf, "stage2.epochs: must be a finite number"),
        ("base", "streams", [], "base.streams: must be one or more of frames, portrait, faces, motion, statistics, each once"),
        ("base", "streams", ["frames", "frames"], "base.streams: must be one or more of"),
        ("base", "streams", ["frames", "pictures"], "base.streams: must be one or more of"),
        ("lora", "targets", "(q_proj", r"lora.targets: must be a regular expression \(missing \)"),
        (None, "seed", 2**63, "seed: must be less than"),
    ],
)
def test_a_value_that_an_adapter_cannot_be_trained_with_is_named(
    part: str | None, key: str, value: object, reason: str, tmp_path: Path
) -> None:
    recipe = yaml.safe_load((ROOT / "training/recipes/nano_adapter.yaml").read_text())
    (recipe[part] if part else recipe)[key] = value
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(ValueError, match=reason):
        load_tune_recipe(tmp_path / "recipe.yaml")
