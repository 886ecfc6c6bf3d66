"""What each part of the model is worth, and more people: the model without them, fitted anew on the same samples.

    fvq ablate --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --work MODEL/work

Needs the work folder that `fvq train` left: the samples are shared, stages I and II are run for each row.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from scorer.model.configuration import STREAMS
from scorer.spec import SamplerSpec
from training.data.labels import read_labels
from training.data.samples import kept_samples, parts_of
from training.evaluation.agreement import summary
from training.nano.features import encode
from training.nano.start import imagenet_encoder
from training.nano.train import fit, new_network, predict
from training.recipe import NanoRecipe

SHARES = {"a quarter of the people": 0.25, "half of the people": 0.5}
"""The learning curve: more people to learn from, each with all degradations."""

FIGURES = ("srcc", "srcc_within", "plcc", "rmse", "ladders")


def without() -> dict[str, dict[str, Any]]:
    """Name -> what `new_network` is given: the whole model, each stream left out, each alone that can be, no language model."""
    parts: dict[str, dict[str, Any]] = {"everything": {}}
    parts |= {f"without {name}": {"streams": [one for one in STREAMS if one != name]} for name in STREAMS}
    parts |= {f"{name} alone": {"streams": [name]} for name in ("frames", "statistics")}
    return parts | {"without the language model": {"language_model": False}}


def ablate(recipe: NanoRecipe, data: Path, dev: Path, work: Path, seeds: int) -> dict[str, dict[str, float]]:
    """Figures on dev of each row of `without` and of `SHARES`, the mean over so many seeds."""
    torch.set_num_threads(recipe.threads)
    rows, dev_rows = read_labels(data), read_labels(dev)
    samples = kept_samples(work / "train", rows, SamplerSpec(), 1, parts_of(rows, recipe.seed))
    encoder = imagenet_encoder(samples)
    features = encode(new_network(encoder), samples, work / "train")
    dev_features = encode(new_network(encoder), kept_samples(work / "dev", dev_rows, SamplerSpec(), 1), work / "dev")
    labelled = [dev_rows[int(i)] for i in dev_features.row]
    found: dict[str, dict[str, float]] = {}
    for name in (*without(), *SHARES):
        runs = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            network = new_network(encoder, **without().get(name, {}))
            index = _of_people([rows[int(i)]["person"] for i in features.row], SHARES.get(name, 1.0), seed)
            fit(network, features, rows, replace(recipe, seed=seed), index)
            scores = [score for score, *_ in predict(network, dev_features, torch.arange(len(dev_features)))]
            runs.append(summary(labelled, scores))
        found[name] = {figure: float(np.mean([run[figure] for run in runs])) for figure in FIGURES}
    return found


def _of_people(people: list[str], share: float, seed: int) -> NDArray[np.int64]:
    """Places of the clips of a share of the people."""
    names = np.random.default_rng(seed).permutation(sorted(set(people)))
    chosen = set(names[: max(1, round(share * len(names)))].tolist())
    return np.array([place for place, person in enumerate(people) if person in chosen])


def table(found: dict[str, dict[str, float]]) -> Table:
    """The ablation for people."""
    made = Table()
    made.add_column("model")
    for figure in FIGURES:
        made.add_column(figure, justify="right")
    for name, figures in found.items():
        made.add_row(name, *(f"{figures[figure]:.1f}" if figure == "rmse" else f"{figures[figure]:.3f}" for figure in FIGURES))
    return made
