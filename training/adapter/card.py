"""An adapter's card: its base, what it was trained on, and how well it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.evaluation.shown import shown


def write_adapter_card(directory: Path, metrics: dict[str, Any], data: str) -> None:
    """Write `README.md` into an adapter's directory.

    metrics: of `training.adapter.tune.tune`. data: what was used and what was dropped, `RatedSet.report`.
    """
    recipe, base = metrics["recipe"], metrics["base"]
    splits = [split for split in ("val", "test") if split in metrics]
    names = {
        "srcc": "SRCC",
        "krcc": "KRCC",
        "plcc": "PLCC after the 4-parameter logistic",
        "rmse": "RMSE after it",
        "mae": "mean absolute error",
        "level_accuracy": "share of right text levels",
        "uncertainty_vs_error": "SRCC of uncertainty and error",
        "error_certain_fifth": "error of the most certain fifth",
        "error_rest": "error of the rest",
    }
    rows = [
        f"| {label} | " + " | ".join(shown(metrics[split].get(name, float("nan"))) for split in splits) + " |"
        for name, label in names.items()
    ]
    table = "\n".join([f"| | {' | '.join(splits)} |", "|---" * (len(splits) + 1) + "|", *rows])
    parts = "\n".join(f"- {name}: {base[name]}" for name in ("model", "motion", "face") if base[name])
    chosen = "`val` set how large the uncertainty is on the mean; nothing else" if "val" in metrics else "Nothing"
    text = f"""# FVQ-Rater adapter {recipe["name"]}, version {metrics["version"]}

{metrics["parameters"]:,} parameters: LoRA of rank {recipe["lora"]["rank"]} on vision encoder and language model, projectors,
head. It belongs to this base, fingerprint {base["fingerprint"]}, whose licences hold for what is made of it:
{parts}

## Trained on
    {data.replace(chr(10), chr(10) + "    ")}

Recipe `{recipe["name"]}`, seed {recipe["seed"]}, commit {metrics["commit"] or "unknown"}:
{recipe["stage1"]["epochs"]:g} epochs of stage I (text answer), {recipe["stage2"]["epochs"]:g} of stage II (score).
The curves are in `curve.csv` and `curve.png`.

## How well it does
On clips of contents that it was not trained on. {chosen} was
chosen by them in this run.

{table}
"""
    (directory / "README.md").write_text(text)
