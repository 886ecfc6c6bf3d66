"""Whether an adapter learns a new opinion and keeps the rest: softness is twice as bad to these raters as to the labels.

    python -m tests.bench.opinion TRAIN/labels.csv TEST/labels.csv OUT [--contents 32] [--kinds blur ...] [--json]

Both files are made by `fvq synth`, of different people. The labels of the punished kinds are moved twice as far below 100,
the others stay as they are. An adapter is trained on the shipped model by `training/recipes/nano_adapter.yaml`, and both
models are compared on the people of TEST, whom neither has seen. The shipped weights are hashed before and after.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scorer.engine import load_model
from scorer.find import SHIPPED
from scorer.spec import SamplerSpec
from training.adapter.clips import sampled
from training.adapter.tune import tune
from training.data.labels import read_labels
from training.data.rated import read_rated
from training.data.samples import Samples
from training.recipe import load_tune_recipe

RECIPE = Path(__file__).parents[2] / "training/recipes/nano_adapter.yaml"
SOFT = ("blur", "blur+x264", "scale", "scale+x264", "motion-blur")
"""Kinds that take the detail from a face."""
BATCH = 8

Rows = list[dict[str, Any]]


def punished(mos: float) -> float:
    """The label, points, of raters to whom the damage is twice as bad."""
    return max(0.0, 100 - 2 * (100 - mos))


def spread(rows: Rows, contents: int, seed: int) -> Rows:
    """The rows of `contents` contents, each of another person, drawn at random."""
    names = {row["person"]: row["content"] for row in sorted(rows, key=lambda row: row["content"], reverse=True)}
    chosen = np.random.default_rng(seed).permutation(sorted(names.values()))[:contents]
    return [row for row in rows if row["content"] in set(chosen)]


def write_table(table: Path, train: Rows, test: Rows, kinds: Sequence[str]) -> dict[Path, str]:
    """Write a table of rated clips with the new opinion; returns path of a clip -> its kind. A tenth of the people are val."""
    people = sorted({row["person"] for row in train})
    held_out = set(people[::10])
    kind_of = {}
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "mos_100", "split", "content"])
        for split, rows in (("train", train), ("test", test)):
            for row in rows:
                mos = punished(row["mos"]) if row["kind"] in kinds else row["mos"]
                path = row["path"].resolve()
                kind_of[path] = row["kind"]
                writer.writerow([path, mos, "val" if row["person"] in held_out else split, row["person"]])
    return kind_of


@torch.inference_mode()
def scores(model: Path, samples: Samples, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """A model's scores (B,) of the sampled clips at places (B,)."""
    network = load_model(model)
    parts = np.array_split(places, max(1, len(places) // BATCH))
    return np.concatenate([network(samples.batch(part)).score.numpy().astype(float) for part in parts])


def digest(directory: Path) -> str:
    """Hash of all files in a model's directory."""
    files = sorted(file for file in directory.iterdir() if file.is_file())
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def compare(train: Path, test: Path, out: Path, contents: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Train the adapter in `out`; returns the report, with both models' mean errors, points, on punished and on other kinds."""
    recipe, nano = load_tune_recipe(RECIPE), SHIPPED["nano"]
    out.mkdir(parents=True, exist_ok=True)
    table = out / "opinion.csv"
    kind_of = write_table(table, spread(read_labels(train), contents, recipe.seed), read_labels(test), kinds)
    before, started = digest(nano), time.monotonic()
    metrics = tune(recipe, table, out)
    minutes = (time.monotonic() - started) / 60
    rated = read_rated(table, recipe.seed)
    samples = sampled(rated.clips, SamplerSpec.load(nano), out / "work")
    rows = [rated.clips[int(row)] for row in samples.rows]
    places = np.array([place for place, row in enumerate(rows) if row.split == "test"])
    labels = np.array([rows[place].mos for place in places])
    changed = np.array([kind_of[rows[place].path] in kinds for place in places])
    errors = {}
    for name, model in (("nano", nano), ("adapter", out)):
        error = np.abs(scores(model, samples, places) - labels)
        errors[name] = {"changed": float(error[changed].mean()), "kept": float(error[~changed].mean())}
    return {
        "kinds": list(kinds),
        "clips": metrics["clips"],
        "changed": int(changed.sum()),
        "errors": errors,
        "base_untouched": digest(nano) == before,
        "adapter_bytes": sum(file.stat().st_size for file in out.glob("*.safetensors")),
        "minutes": minutes,
    }


def main() -> None:
    """Compare both models and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--contents", type=int, default=32, help="contents to train on, each of another person")
    parser.add_argument("--kinds", nargs="+", default=SOFT, help="degradations that are punished twice as much")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = compare(arguments.train, arguments.test, arguments.out, arguments.contents, arguments.kinds)
    if arguments.json:
        print(json.dumps(report))
        return
    clips, adapter = report["clips"], report["adapter_bytes"] / 1e6
    print(f"trained on {clips['train']} clips, {clips['val']} for the uncertainty, {clips['test']} for test; {adapter:.2f} MB")
    print(f"{report['minutes']:.1f} minutes; shipped weights {'untouched' if report['base_untouched'] else 'CHANGED'}")
    print(f"| mean error, points | {report['changed']} clips of {', '.join(report['kinds'])} | the others |\n|---|---|---|")
    for name, error in report["errors"].items():
        print(f"| {name} | {error['changed']:.1f} | {error['kept']:.1f} |")


if __name__ == "__main__":
    main()
