"""`fvq evaluate`: how well a model's scores agree with labels, beside the baselines that it must beat.

    fvq evaluate MODEL --data DEV/labels.csv [--train-data TRAIN/labels.csv] [--plot scatter.png] [--json]

The learned baselines are only in the table with `--train-data`, the labels file that they learn from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from scorer.load import LoadedModel
from scorer.spec import LEVELS, ClipScore
from training.data.labels import fingerprint, read_labels
from training.data.measures import is_made_here, is_measured, is_trusted, measure_of
from training.data.samples import in_batches, sample_all
from training.evaluation.agreement import FIGURES, calibration, intervals, summary
from training.evaluation.baselines import baselines, learned_baselines, measure_all
from training.evaluation.shown import shown, shown_figure, table_of

Row = Mapping[str, Any]


def score_rows(engine: LoadedModel, rows: Sequence[Row], jobs: int) -> list[tuple[int, ClipScore]]:
    """(place of the row, score) of every row that can be sampled, through the serving sampler and engine.

    jobs: sampling processes.
    """
    sampled = sample_all(rows, engine.spec, jobs)
    answers: list[tuple[int, ClipScore]] = []
    for group in in_batches(sampled):
        answers += zip((place for place, _ in group), engine.score([clip for _, clip in group]), strict=True)
    return answers


def evaluate(engine: LoadedModel, data: Path, train_data: Path | None = None) -> dict[str, Any]:
    """The report on a labels file.

    train_data: labels file that the learned baselines are fitted on; None: without them. Returns `model`, `data` (the file's
    fingerprint), `methods` (name -> `training.evaluation.agreement.summary`, the model's first), `intervals` and
    `calibration` of the model, and `clips` (path, label, score, uncertainty of each). Raises ValueError where a file is wrong,
    or none of its clips can be sampled.
    """
    rows, jobs = read_labels(data), os.cpu_count() or 1
    answers = score_rows(engine, rows, jobs)
    if not answers:
        raise ValueError(f"{data}: none of the {len(rows)} clips can be sampled")
    taken = [rows[place] for place, _ in answers]
    scores = [answer.score for _, answer in answers]
    name = str(engine.model)
    methods = {name: summary(taken, scores)}
    measured = measure_all(rows, data, jobs)
    others = baselines(rows, measured)
    if train_data is not None:
        train_rows = read_labels(train_data)
        others = learned_baselines(train_rows, measure_all(train_rows, train_data, jobs), measured.statistics) | others
    measured_rows = [rows[int(place)] for place in measured.place]
    methods |= {method: summary(measured_rows, values) for method, values in others.items()}
    uncertainty = [answer.uncertainty for _, answer in answers]
    levels = [LEVELS.index(answer.level) for _, answer in answers]
    return {
        "model": name,
        "data": fingerprint(data),
        "methods": methods,
        "intervals": intervals(taken, scores),
        "calibration": calibration([row["mos"] for row in taken], scores, uncertainty, levels),
        "clips": [
            {"path": row["path"].name, "content": row["content"], "kind": row["kind"], "step": row["step"], "mos": row["mos"]}
            | {"score": answer.score, "uncertainty": answer.uncertainty}
            for row, (_, answer) in zip(taken, answers, strict=True)
        ],
    }


def tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables to print: all methods, the model's figures of each kind, its uncertainty and levels."""
    title = f"{len(report['clips'])} segments, labels {report['data']}; 95 % intervals by content"
    methods = []
    for name, figures in report["methods"].items():
        cells = [shown_figure(figure, figures[figure]) for figure in FIGURES]
        if name == report["model"]:
            ends = [[shown_figure(figure, end) for end in report["intervals"][figure]] for figure in FIGURES]
            cells = [cell if low == "-" else f"{cell}\n{low} to {high}" for cell, (low, high) in zip(cells, ends, strict=True)]
        methods.append([name, *cells])
    kinds = [
        [kind, _label_of(kind), str(row["n"]), shown(row["srcc"]), f"{row['right']} / {row['steps']}"]
        for kind, row in report["methods"][report["model"]]["by_kind"].items()
    ]
    trust = Table(title="uncertainty and level", title_justify="left", show_header=False)
    for name, value in report["calibration"].items():
        is_share = name in ("level_accuracy", "uncertainty_vs_error")
        trust.add_row(name, shown(value) if is_share or math.isnan(value) else f"{shown(value, 1)} points")
    return [
        table_of(title, ["method"], FIGURES, methods),
        table_of(f"{report['model']} by kind", ["kind", "label"], ["segments", "srcc", "steps in order"], kinds),
        trust,
    ]


def _label_of(kind: str) -> str:
    """Where the labels of a kind come from, for the table."""
    if not is_made_here(kind):
        return "rated"
    if not is_measured(kind):
        return "target" if measure_of(kind).measure == "declared" else "product of both grades"
    name = measure_of(kind).measure.upper()
    return name if is_trusted(kind) else f"{name}, in part blind"


def plot(report: dict[str, Any], path: Path) -> None:
    """Write a scatter of scores against labels, a colour for each of the first 20 contents.

    path: its ending decides the picture's format. Raises ValueError where that format is unknown.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    clips = report["clips"]
    contents = sorted({clip["content"] for clip in clips})[:20]
    for place, content in enumerate(contents):
        of_content = [clip for clip in clips if clip["content"] == content]
        x, y, error = (np.array([clip[name] for clip in of_content]) for name in ("mos", "score", "uncertainty"))
        axes.errorbar(x, y, yerr=error, fmt="o", markersize=3, alpha=0.6, elinewidth=0.4, label=str(place))
    axes.plot([0, 100], [0, 100], color="#888888", linewidth=1)
    figures = report["methods"][report["model"]]
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="label", ylabel="score")
    # A name is no formula, whatever signs it has, and is shown also where it begins with `_`.
    agreement = f"SRCC {shown(figures['srcc'])}, within content {shown(figures['srcc_within'])}"
    axes.set_title(f"{report['model']}: {agreement}", parse_math=False)
    for text, content in zip(axes.legend(fontsize=8).get_texts(), contents, strict=True):
        text.set(text=content, parse_math=False)
    figure.savefig(path, dpi=110)
