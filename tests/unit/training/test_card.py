"""A small model's card says of its data what their labels say, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.nano.card import write_card

OWN, OTHERS = "`fvq synth`", "as the labels file has them"


def card(folder: Path, kinds: tuple[str, ...], absolute: bool, **changes: Any) -> str:
    row = {"person": "ann", "absolute": absolute}
    recipe = {"name": "mine", "seed": 0, "stage1_steps": 1, "stage2_steps": 2, "dev_looks": 3, "runs": 1}
    recipe |= {"steady_weight": 1.0, "start_share": 0.0, "frozen_blocks": 2, "encoder_learning_rate": 1e-3}
    recipe |= changes.pop("recipe", {})
    trained = [row | {"kind": kind} for kind in kinds]
    about = {"by_kind": {}, "version": "v", "data": "d", "dev": "e", "recipe": recipe, "parameters": 7, "clips": 1}
    metrics = dict.fromkeys(FIGURES, 0.5) | about | changes
    write_card(folder, metrics, trained, [row | {"kind": "x264", "person": "eve", "absolute": False}])
    return (folder / "README.md").read_text()


FIGURES = (
    "srcc", "srcc_within", "krcc", "plcc", "rmse", "mae", "ladders", "level_accuracy", "error_certain_fifth", "error_rest",
)  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "absolute", "said", "not_said"),
    [
        (("reference", "x264", "blur@noise-1"), True, (OWN, "against the flawless picture", "as it was filmed"), (OTHERS,)),
        (("x264",), False, (OWN,), (OTHERS, "flawless", "as it was filmed")),
        (("call", ""), False, (OTHERS, "(no kind, call)"), (OWN, "VMAF where")),
        (("x264", "call"), False, (OWN, OTHERS, "(call)"), ("flawless",)),
    ],
)
def test_labels_are_told_from_by_whom_they_are(
    kinds: tuple[str, ...], absolute: bool, said: tuple[str, ...], not_said: tuple[str, ...], tmp_path: Path
) -> None:
    text = card(tmp_path, kinds, absolute)
    assert [words for words in said if words not in text] == []
    assert [words for words in not_said if words in text] == []
    assert f"- {len(kinds)} segments of 1 people, labels file d." in text
    assert "license" not in text, "whose data it is decides that"


@pytest.mark.parametrize(
    ("frozen", "rate", "start", "said"),
    [
        (2, 1e-3, {}, "its last 3 of 5 blocks are trained; everything else started from chance."),
        (2, 1e-3, {"start": "w"}, "its last 3 of 5 blocks are trained.\n"),
        (5, 1e-3, {"start": "w"}, "it stays as it is.\n"),
        (2, 0.0, {}, "it stays as it is; everything else started from chance."),
    ],
)
def test_what_is_trained_of_the_encoder_is_the_recipes(
    frozen: int, rate: float, start: dict[str, str], said: str, tmp_path: Path
) -> None:
    recipe = {"frozen_blocks": frozen, "encoder_learning_rate": rate}
    assert said in card(tmp_path, ("x264",), True, recipe=recipe, **start)
