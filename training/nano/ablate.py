"""What each part of the model is worth, and what more people are worth: fits the model without them, on the same samples.

    fvq ablate --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --work MODEL/work

Needs the folder MODEL/work that `fvq train` left: all rows share its samples, and stages I and II run for each row.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from scorer.model.configuration import STREAMS
from training.data.labels import read_apart
from training.data.samples import kept_samples, parts_of
from training.evaluation.shown import shown_figure, table_of
from training.nano.train import check_new, evaluate_samples, fitted, new_network
from training.recipe import NanoRecipe

SHARES = {"a quarter of the people": 0.25, "half of the people": 0.5}
"""Rows of the learning curve: the share of the people that the model is trained on, each with all degradations."""

FIGURES = ("srcc", "srcc_within", "plcc", "rmse", "mae", "ladders")
"""Columns of the table, of `training.evaluation.agreement.summary`."""


def without() -> dict[str, dict[str, Any]]:
    """Name of a row -> arguments of `new_network`.

    The rows: the whole model, without each stream, with only one of the streams that can be alone, and without the language
    model.
    """
    parts: dict[str, dict[str, Any]] = {"everything": {}}
    parts |= {f"without {name}": {"streams": [stream for stream in STREAMS if stream != name]} for name in STREAMS}
    parts |= {f"{name} alone": {"streams": [name]} for name in ("frames", "statistics")}
    return parts | {"without the language model": {"language_model": False}}


def ablate(recipe: NanoRecipe, data: Path, dev: Path, work: Path, seeds: int) -> dict[str, dict[str, float]]:
    """Figures on dev of each row of `without` and of `SHARES`: name of the row -> figure -> mean over the seeds.

    data, dev: the labels files of the training run. work: its folder of samples. seeds: runs of each row.
    """
    check_new(recipe)
    rows, dev_rows = read_apart(data, dev)
    jobs = os.cpu_count() or 1
    samples = kept_samples(work / "train", rows, recipe.spec, jobs, parts_of(rows, recipe.seed))
    dev_samples = kept_samples(work / "dev", dev_rows, recipe.spec, jobs)
    people = [rows[int(row)]["person"] for row in samples.rows]
    figures: dict[str, dict[str, float]] = {}
    for name in (*without(), *SHARES):
        runs = []
        for seed in range(seeds):
            told = f"{name}, run {seed + 1} of {seeds}"
            index = _of_people(people, SHARES.get(name, 1.0), seed)
            new = partial(new_network, **without().get(name, {}))
            network = fitted(samples, rows, replace(recipe, seed=seed), index, new=new, name=told)
            runs.append(evaluate_samples(network, dev_samples, dev_rows))
        figures[name] = {figure: float(np.mean([run[figure] for run in runs])) for figure in FIGURES}
    return figures


def _of_people(people: list[str], share: float, seed: int) -> NDArray[np.int64]:
    """Places of the clips of a share of the people."""
    names = np.random.default_rng(seed).permutation(sorted(set(people)))
    chosen = set(names[: max(1, round(share * len(names)))].tolist())
    return np.array([place for place, person in enumerate(people) if person in chosen])


def table(rows: dict[str, dict[str, float]]) -> Table:
    """The figures of `ablate` as a table to print."""
    cells = [[name, *(shown_figure(figure, figures[figure]) for figure in FIGURES)] for name, figures in rows.items()]
    return table_of("", ["model"], FIGURES, cells)
