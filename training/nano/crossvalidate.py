"""How well a recipe does on people that the model has not seen: k-fold cross-validation by person over the training data.

    fvq crossvalidate --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --work MODEL/work

Each fold trains the whole recipe from the start, without its uncertainty. Needs the samples in MODEL/work that `fvq train` left.
A run that was killed and is started again reads the finished folds from that folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from training.data.labels import read_labels
from training.data.samples import kept_samples, parts_of
from training.evaluation.judged import Judged
from training.nano.train import about, check_new, held_out_scores
from training.recipe import NanoRecipe


def crossvalidate(recipe: NanoRecipe, data: Path, work: Path, folds: int) -> dict[str, Any]:
    """The figures of `training.evaluation.judged` on all people, each scored by a model that was fitted on other people.

    data: the labels file of the training run. work: its folder of samples. folds: parts that the people are divided into.
    Returns `figures`, `intervals`, `scenes`, `people`.
    """
    check_new(recipe)
    rows = read_labels(data)
    samples = kept_samples(work / "train", rows, recipe.spec, os.cpu_count() or 1, parts_of(rows, recipe.seed))
    scores = held_out_scores(samples, rows, recipe, folds, work / f"crossvalidation-{about(recipe, rows, samples)}")
    judged = Judged([rows[int(row)] for row in samples.rows], scores.tolist(), None, in_points=True)
    return {
        "figures": judged.figures(),
        "intervals": judged.intervals(),
        "scenes": judged.by_scene(),
        "people": judged.by_person(),
    }
