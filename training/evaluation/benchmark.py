"""`fvq evaluate --benchmark`: one table of what models and simpler methods say of people, scenes and damage with known truths.

    fvq evaluate MODEL --benchmark FOLDER --people CLIPS [--against MODEL] [--train-data TRAIN/labels.csv] [--json]

The clips are made once (`training.data.benchmark`), and sampled once for each sampling that a model needs.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from scorer.load import LoadedModel
from scorer.sampling.statistics import NAMES
from scorer.spec import MODEL_INPUTS, ClipScore, ModelInput, SamplerSpec
from training.data.benchmark import LABELS
from training.data.compare import FIGURES as WITH_REFERENCE
from training.data.damage.catalogue import LADDERS
from training.data.labels import fingerprint, read_labels
from training.data.progress import Progress
from training.data.samples import ENCODE_BATCH, Samples, kept_samples
from training.evaluation.agreement import cross_validated
from training.evaluation.baselines import BRISQUE, SHARPNESS, measure_all, regression
from training.evaluation.judged import FIGURES, Judged, Rows
from training.evaluation.shown import shown, shown_figure, table_of

LEARNED = {"all statistics + SVR": list(range(len(NAMES))), "BRISQUE's statistics + SVR": BRISQUE}
"""Name -> which of `scorer.sampling.statistics.NAMES` a regression learns from."""

FOLDS = 5

MOST_NAMED = 10
"""Clips that an error names."""


def evaluate_benchmark(models: Sequence[LoadedModel], folder: Path, jobs: int, train_data: Path | None = None) -> dict[str, Any]:
    """The report on the benchmark in a folder.

    models: the first is the one that is judged, the others stand beside it. folder: of `make_benchmark`, or of `fvq synth`.
    jobs: sampling processes. train_data: labels file that the learned baselines are fitted on; None: on the benchmark's other
    people, in folds. Returns `model`, `data` (the labels' fingerprint), `clips`, `people`, and `methods`: name -> figures,
    intervals, ladders, scenes, people. Raises ValueError where the folder has no benchmark, or a clip of it cannot be sampled.
    """
    labels = next((folder / name for name in (LABELS, "labels.csv") if (folder / name).exists()), None)
    if labels is None:
        raise ValueError(f"{folder}: there is no {LABELS} in it; name the people to make a benchmark of by --people")
    rows = read_labels(labels)
    methods: dict[str, Judged] = {}
    for model in models:
        answers = _scores(model, _sampled(folder, rows, labels, model.spec, jobs))
        scores, uncertainty = [answer.score for answer in answers], [answer.uncertainty for answer in answers]
        methods[str(model.model)] = Judged(rows, scores, uncertainty, in_points=True)
    statistics = np.asarray(_sampled(folder, rows, labels, SamplerSpec(), jobs).arrays["statistics"])
    for name, columns in LEARNED.items():
        if (learned := _learned(rows, statistics[:, columns], columns, train_data, jobs)) is not None:
            methods[name] = Judged(rows, learned, None, in_points=True)
    methods["sharpness (Laplacian)"] = Judged(rows, statistics[:, SHARPNESS].tolist(), None, in_points=False)
    for measure in (name for name in WITH_REFERENCE if all(row.get(name) for row in rows)):
        scores = [float(row[measure]) for row in rows]
        methods[f"{measure.upper()} (with the reference)"] = Judged(rows, scores, None, in_points=measure == "vmaf")
    return {
        "model": str(models[0].model),
        "data": fingerprint(labels),
        "clips": len(rows),
        "people": len(methods[str(models[0].model)].people),
        "methods": {
            name: {
                "figures": judged.figures(),
                "intervals": judged.intervals(),
                "ladders": judged.by_ladder(),
                "scenes": judged.by_scene(),
                "people": judged.by_person(),
            }
            for name, judged in methods.items()
        },
    }


def _sampled(folder: Path, rows: Rows, labels: Path, spec: SamplerSpec, jobs: int) -> Samples:
    """The clips as that sampling gives them, kept in the folder: another model of the same sampling needs no more of it."""
    key = hashlib.sha256(json.dumps([asdict(spec), fingerprint(labels)]).encode()).hexdigest()[:12]
    kept = folder / "samples" / key
    samples = kept_samples(kept, rows, spec, jobs)
    if len(samples) != len(rows):
        shutil.rmtree(kept)  # it is complete without the clip, which would not be sampled when it is made again
        lost = [str(rows[place]["path"]) for place in sorted(set(range(len(rows))) - set(samples.rows.tolist()))]
        named = ", ".join(lost[:MOST_NAMED]) + (f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else "")
        raise ValueError(f"{labels}: clips that cannot be sampled: {named}; remove each with its .json to make it again")
    return samples


def _scores(model: LoadedModel, samples: Samples) -> list[ClipScore]:
    answers: list[ClipScore] = []
    for first in Progress(range(0, len(samples), ENCODE_BATCH), "scoring"):
        places = range(first, min(first + ENCODE_BATCH, len(samples)))
        clips = [ModelInput(**{name: np.array(samples.arrays[name][place]) for name in MODEL_INPUTS}) for place in places]
        answers += model.score(clips)
    return answers


def _learned(
    rows: Rows, statistics: NDArray[np.float32], columns: list[int], train_data: Path | None, jobs: int
) -> list[float] | None:
    """Scores by a regression on some of the statistics; None where there is nobody else to learn from."""
    truths = np.array([float(row["mos"]) for row in rows])
    if train_data is not None:
        train_rows = read_labels(train_data)
        measured = measure_all(train_rows, train_data, jobs)
        train_truths = np.array([float(train_rows[int(place)]["mos"]) for place in measured.place])
        return regression(measured.statistics[:, columns], train_truths, statistics)
    people = len({row["person"] for row in rows})
    if people < 2:
        return None

    def fit_and_score(inside: Sequence[int], outside: Sequence[int]) -> list[float]:
        return regression(statistics[inside], truths[inside], statistics[outside])

    return cross_validated(rows, fit_and_score, folds=min(FOLDS, people)).tolist()


def tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables to print: all methods, then ladders, scenes and people of the judged model."""
    judged, name = report["methods"][report["model"]], report["model"]
    ladders = [
        [kind, LADDERS[kind].stage, LADDERS[kind].measure, shown(row["order"], 2), shown(row["drop"], 1)]
        for kind, row in judged["ladders"].items()
        if kind in LADDERS
    ]
    scenes = [
        [scene, str(row["clips"]), shown(row["reference"], 1), shown(row["mae"], 1)] for scene, row in judged["scenes"].items()
    ]
    people = [[person, shown(row["reference"], 1), shown(row["within"])] for person, row in judged["people"].items()]
    return [
        _methods(report),
        table_of(f"{name} by ladder", ["ladder", "stage", "label"], ["steps in order", "drop at the last step"], ladders),
        table_of(f"{name} by scene", ["scene"], ["clips", "reference", "mae"], scenes),
        table_of(f"{name} by person", ["person"], ["reference", "within"], people),
    ]


def _methods(report: dict[str, Any]) -> Table:
    rows = []
    for figure in FIGURES:
        cells = []
        for method in report["methods"].values():
            low, high = method["intervals"][figure]
            value = shown_figure(figure, method["figures"][figure])
            cells.append(value if math.isnan(low) else f"{value}\n{shown_figure(figure, low)} to {shown_figure(figure, high)}")
        rows.append([figure, *cells])
    title = f"{report['clips']} clips of {report['people']} people, labels {report['data']}; 95 % intervals by person"
    return table_of(title, ["figure"], list(report["methods"]), rows)
