"""The small model's card: what it was trained on, against which labels, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.data.labels import people_of
from training.data.measures import is_made_here
from training.evaluation.shown import shown
from training.recipe import MOST_BLOCKS

Rows = Sequence[Mapping[str, Any]]

REFERENCE = "reference"

MOST_NAMED = 5
"""Kinds that a line names."""


def write_card(directory: Path, metrics: dict[str, Any], trained: Rows, judging: Rows) -> None:
    """Write `README.md` into a model directory: it says of the data what their rows say, whoever trains.

    metrics: of `training.nano.train.train`. trained: label rows of the clips that the model was trained on. judging: of those
    that it is judged by.
    """
    ladders = "\n".join(f"| {kind} | {row['right']} / {row['steps']} |" for kind, row in metrics["by_kind"].items())
    recipe = metrics["recipe"]
    steps = f"{recipe['stage1_steps']} steps of stage I, {recipe['stage2_steps']} of stage II"
    judges = len(people_of(judging))
    text = f"""# FVQ-Rater {recipe["name"]}, version {metrics["version"]}

Rates face video on the scale 0-100, for a CPU. {metrics["parameters"]:,} parameters.

## Trained on
- {len(trained)} segments of {len(people_of(trained))} people, labels file {metrics["data"]}.{_labels(trained)}
- {_encoder(metrics)}
- Recipe `{recipe["name"]}`, seed {recipe["seed"]}: {steps}.{_how(metrics)}

## How well it does
On {metrics["clips"]} segments of {judges} people that are not in the training data (labels file {metrics["dev"]});
never trained on. By the recipe, such figures were looked at {recipe["dev_looks"]} times for it.{_older(trained, judging)}

| over the kinds that VMAF can be trusted on | |
|---|---|
| SRCC | {shown(metrics["srcc"])} |
| SRCC within content, mean | {shown(metrics["srcc_within"])} |
| KRCC | {shown(metrics["krcc"])} |
| PLCC, RMSE after the 4-parameter logistic | {shown(metrics["plcc"])}, {shown(metrics["rmse"], 1)} |
| mean absolute error | {shown(metrics["mae"], 1)} |
| **over all kinds** | |
| neighbouring ladder steps in the right order | {shown(100 * metrics["ladders"], 1)} % |
| level of the text answer right | {100 * metrics["level_accuracy"]:.0f} % |
| error of the most certain fifth, of the rest | {shown(metrics["error_certain_fifth"], 1)}, {shown(metrics["error_rest"], 1)} |

| ladder | neighbouring steps in order |
|---|---|
{ladders}

## Not for
Judging people, or telling them apart. Content without faces is scored too, whether the model has seen any or not. Expect less
on other cameras, skin tones, make-up and light than this page says, the more so the fewer people judged.
"""
    (directory / "README.md").write_text(text)


def _labels(rows: Rows) -> str:
    """Lines on where the labels come from: those of `fvq synth`, and those of other kinds, which people may have given."""
    kinds = {row["kind"] for row in rows}
    others = sorted(kind for kind in kinds if kind != REFERENCE and not is_made_here(kind))
    lines = []
    if len(others) < len(kinds):
        flawless = ", against the flawless picture" if all(row["absolute"] for row in rows) else ""
        lines.append(
            f"Labels of damage that `fvq synth` makes are no human opinions: VMAF where it sees the damage{flawless}, and the\n"
            "  target that the ladder's step declares where it is blind. Of declared targets the order is sure, the distances\n"
            "  are an opinion."
        )
    if others:
        named = ", ".join(kind or "no kind" for kind in others[:MOST_NAMED]) + (", ..." if len(others) > MOST_NAMED else "")
        lines.append(f"Labels of other kinds ({named}) are as the labels file has them.")
    return "".join(f"\n- {line}" for line in lines)


def _encoder(metrics: dict[str, Any]) -> str:
    recipe = metrics["recipe"]
    begun = "The vision encoder began with the ImageNet weights of EfficientNet-Lite0 (Apache-2.0)"
    trained = MOST_BLOCKS - recipe["frozen_blocks"] if recipe["encoder_learning_rate"] else 0
    learned = f"its last {trained} of {MOST_BLOCKS} blocks are trained" if trained else "it stays as it is"
    return f"{begun}; {learned}" + ("." if "start" in metrics else "; everything else started from chance.")


def _older(trained: Rows, judging: Rows) -> str:
    if all(row["absolute"] for row in trained) and not any(row["absolute"] for row in judging):
        return "\nTheir labels are against the clip as it was filmed, those of the training data against the flawless picture."
    return ""


def _how(metrics: dict[str, Any]) -> str:
    """Further lines of what the model was trained on, each where it holds."""
    lines = []
    recipe = metrics["recipe"]
    if (runs := recipe["runs"]) != 1:
        lines.append(f"The mean weights of {runs} such trainings, with seeds {recipe['seed']} to {recipe['seed'] + runs - 1}.")
    if "start" in metrics:
        kept = f" {recipe['start_share']:.0%} of its weights stayed." if recipe["start_share"] else ""
        lines.append(f"Before that it was version {metrics['start']}; its card says what it was trained on.{kept}")
    if "errors_of" in metrics:
        lines.append(f"The uncertainty learned the errors of version {metrics['errors_of']}.")
    if "steady" in metrics:
        weight = recipe["steady_weight"]
        lines.append(f"Windows of the clips in labels file {metrics['steady']} were to score alike, with weight {weight:g}.")
    if "teacher" in metrics:
        teacher = metrics["teacher"]
        lines.append(
            f"Taught by {teacher['model']}, whose scores of {teacher['clips']} of these clips are mixed into the labels with "
            f"weight\n  {teacher['weight']:g}; {teacher['unlabelled']} more clips have its score alone. The licences of the "
            "teacher, its base and\n  its data hold for what is learned from it."
        )
    return "".join(f"\n- {line}" for line in lines)
