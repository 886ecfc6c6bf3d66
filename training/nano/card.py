"""The small model's card: what it was trained on, against which labels, and how well it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.evaluation.shown import shown


def write_card(directory: Path, metrics: dict[str, Any], *, people: int, clips: int, judges: int) -> None:
    """Write `README.md` into a model directory.

    metrics: of `training.nano.train.train`. people, clips: how many the model was trained on. judges: people
    that it is judged by.
    """
    ladders = "\n".join(f"| {kind} | {row['right']} / {row['steps']} |" for kind, row in metrics["by_kind"].items())
    recipe = metrics["recipe"]
    steps = f"{recipe['stage1_steps']} steps of stage I, {recipe['stage2_steps']} of stage II"
    text = f"""---
license: apache-2.0
---
# FVQ-Rater {recipe["name"]}, version {metrics["version"]}

Rates face video on the scale 0-100, for a CPU. {metrics["parameters"]:,} parameters.

## Trained on
- {clips} segments of 2 s made by `fvq synth` from {people} people (clean face clips and stills), shown as filmed and in scenes as
  live streams have them; damaged at the source, on the way, or both; labels file {metrics["data"]}.
- The labels are not human opinions. They are against the flawless picture: VMAF where it sees the damage, and the target that
  the ladder's step declares where it is blind. Of declared targets the order is sure, the distances are an opinion.
- The vision encoder is EfficientNet-Lite0 with its ImageNet weights (Apache-2.0), its later blocks trained; everything else
  started from chance.
- Recipe `{recipe["name"]}`, seed {recipe["seed"]}: {steps}.{_how(metrics)}

## How well it does
On {metrics["clips"]} segments of {judges} people that are not in the training data (labels file {metrics["dev"]});
never trained on. Its figures were looked at {recipe["dev_looks"]} times while recipes were made: those on other people in
`docs/model.md` are the ones to compare with. Their labels are older than those of the training data: against the clip as it
was filmed.

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
Judging people, or telling them apart. Content without faces is scored too, but the model has seen none. People on
whom it was judged are few: expect less on other cameras, skin tones, make-up and light than this page says.
"""
    (directory / "README.md").write_text(text)


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
