"""How well a recipe does on people that the model has not seen: k-fold cross-validation by person, over all people of two sets.

    fvq crossvalidate --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --work MODEL/work

Each fold trains the whole recipe from the start. The figures are over the first reference of each source and its
degradations: further variants of a source are only for training. Needs the samples in MODEL/work that `fvq train` left. A
run that was killed and is started again reads the finished folds from that folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.labels import fingerprint, read_labels
from training.data.samples import kept_samples, parts_of
from training.evaluation.agreement import cross_validated, intervals, summary
from training.nano.features import Features, encode
from training.nano.start import imagenet_encoder
from training.nano.train import Row, fit, new_network, predict
from training.recipe import NanoRecipe


def crossvalidate(recipe: NanoRecipe, data: Path, dev: Path, work: Path, folds: int) -> dict[str, Any]:
    """`summary` and `intervals` of the scores of all people, each scored by a model that was fitted on other people.

    data, dev: the labels files of the training run; both are divided here. work: its folder of samples. folds: parts.
    """
    torch.set_num_threads(recipe.threads)
    train_rows, dev_rows = read_labels(data), read_labels(dev)
    samples = [
        kept_samples(work / "train", train_rows, recipe.spec, 1, parts_of(train_rows, recipe.seed)),
        kept_samples(work / "dev", dev_rows, recipe.spec, 1),
    ]
    encoder = imagenet_encoder(samples[0])
    parts = [encode(new_network(encoder), part, work / name) for name, part in zip(("train", "dev"), samples, strict=True)]
    rows: list[Row] = [*train_rows, *dev_rows]
    place_of_row = [*samples[0].rows, *(samples[1].rows + len(train_rows))]
    taken = [rows[int(i)] for i in place_of_row]
    tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    features = Features(tensors, torch.tensor(place_of_row))
    fold, about = 0, hashlib.sha256(json.dumps([asdict(recipe), fingerprint(data)]).encode()).hexdigest()[:8]

    def fit_and_score(inside: Sequence[int], outside: Sequence[int]) -> Sequence[float]:
        nonlocal fold
        fold += 1
        kept = work / f"fold{fold}-of-{folds}-{about}.json"
        if kept.exists():
            return list(json.loads(kept.read_text()))
        torch.manual_seed(recipe.seed)
        network = new_network(encoder)
        fit(network, features, rows, recipe, np.array(inside))
        scores = [score for score, *_ in predict(network, features, torch.tensor(outside))]
        kept.write_text(json.dumps(scores))
        return scores

    scores = cross_validated(taken, fit_and_score, folds)
    first = [i for i, row in enumerate(taken) if row["content"] == row["person"]]
    chosen, given = [taken[i] for i in first], [float(scores[i]) for i in first]
    return summary(chosen, given) | {"intervals": intervals(chosen, given), "people": len({row["person"] for row in chosen})}
