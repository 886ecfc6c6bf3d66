"""How well scores agree with labels: rank and linear correlation, per content, per kind, and the order of ladders."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from scorer.spec import LEVEL_WIDTH, LEVELS
from training.data.measures import is_measured, is_trusted

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
FIGURES = ("srcc", "srcc_within", "krcc", "plcc", "rmse", "ladders")
"""The main figures of `summary`; `intervals` gives their spread."""

FEWEST_FITTED = 5
"""Clips that the logistic needs: it has four parameters."""

FEWEST_RANKED = 3
"""Clips that a rank correlation needs: of two it is 1 or -1 whatever the scores are worth."""


def srcc(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where one side is constant, because it has no order; not a number of one or two."""
    return _of_ranks(stats.spearmanr, x, y)


def krcc(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's rank correlation (tau-b), as `srcc`."""
    return _of_ranks(stats.kendalltau, x, y)


def _of_ranks(correlation: Callable[[Floats, Floats], Any], x: ArrayLike, y: ArrayLike) -> float:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < FEWEST_RANKED:
        return float("nan")
    return float(correlation(x, y).statistic) if np.ptp(x) and np.ptp(y) else 0.0


def logistic_fit(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """Scores (N,) mapped to the labels' scale by a fitted 4-parameter logistic, for PLCC and RMSE; a line where no fit is found.

    After the test plans of VQEG.
    """
    x, y = np.asarray(scores, float), np.asarray(labels, float)

    def curve(v: Any, high: float, low: float, middle: float, width: float) -> Any:
        return low + (high - low) / (1 + np.exp(np.clip(-(v - middle) / (abs(width) + 1e-6), -50, 50)))

    falling = srcc(x, y) < 0
    start = (y.min() if falling else y.max(), y.max() if falling else y.min(), x.mean(), x.std() + 1e-3)
    try:
        with warnings.catch_warnings(action="ignore", category=optimize.OptimizeWarning):  # of the covariance, which nobody reads
            parameters, _ = optimize.curve_fit(curve, x, y, p0=start, maxfev=5000)
    except RuntimeError:
        return np.polyval(np.polyfit(x, y, 1), x)
    return np.asarray(curve(x, *parameters))


def ladder_order(rows: Rows, scores: Sequence[float]) -> tuple[int, int]:
    """(pairs in order, all pairs) of neighbouring steps of one content and kind; in order: the milder step scores higher.

    rows: they name `content`, `kind` and `step`. Equal scores are not in order.
    """
    ladders: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row, score in zip(rows, scores, strict=True):
        ladders[row["content"], row["kind"]].append((int(row["step"]), score))
    right = total = 0
    for steps in ladders.values():
        ordered = [score for _, score in sorted(steps)]
        right += sum(milder > stronger for milder, stronger in pairwise(ordered))
        total += len(ordered) - 1
    return right, total


def _after_fit(scores: Floats, labels: Floats) -> tuple[float, float]:
    """PLCC and RMSE after `logistic_fit`; not a number where it has too few clips."""
    if len(scores) < FEWEST_FITTED:
        return float("nan"), float("nan")
    fitted = logistic_fit(scores, labels)
    plcc = float(np.corrcoef(fitted, labels)[0, 1]) if np.ptp(fitted) else 0.0
    return plcc, float(np.sqrt(np.mean((fitted - labels) ** 2)))


def agreement(scores: ArrayLike, labels: ArrayLike, contents: Sequence[str]) -> dict[str, float]:
    """How well scores (N,) agree with labels (N,), both 0-100.

    Returns srcc and krcc; srcc_within, the mean srcc within contents of at least `FEWEST_RANKED` clips (not a number without
    any); plcc and rmse after `logistic_fit`; mae of the scores as they are.
    """
    x, y, names = np.asarray(scores, float), np.asarray(labels, float), np.asarray(contents)
    plcc, rmse = _after_fit(x, y)
    of_content = [names == name for name in dict.fromkeys(contents)]
    within = [srcc(x[clips], y[clips]) for clips in of_content if clips.sum() >= FEWEST_RANKED]
    return {
        "srcc": srcc(x, y),
        "srcc_within": float(np.mean(within)) if within else float("nan"),
        "krcc": krcc(x, y),
        "plcc": plcc,
        "rmse": rmse,
        "mae": float(np.abs(x - y).mean()) if len(x) else float("nan"),
    }


def summary(rows: Rows, scores: Sequence[float]) -> dict[str, Any]:
    """Agreement of scores with the labels `mos` of rows that also name `content`, `kind` and `step`.

    The figures of `agreement` are over the kinds of `training.data.measures.is_trusted`, among them those that are not made here:
    those have labels of another origin. srcc_vmaf: over every kind that is labelled with VMAF. ladders: share of neighbouring
    steps in the right order, over all kinds. by_kind: kind -> n, srcc, and of `ladder_order` right and steps.
    """
    trusted = [i for i, row in enumerate(rows) if is_trusted(row["kind"])]
    labelled = [i for i, row in enumerate(rows) if is_measured(row["kind"])]
    labels = np.array([float(row["mos"]) for row in rows])
    given = np.asarray(scores, float)
    by_kind: dict[str, dict[str, Any]] = {}
    for kind in sorted({row["kind"] for row in rows} - {"reference"}):
        chosen = [i for i, row in enumerate(rows) if row["kind"] == kind]
        right, steps = ladder_order([rows[i] for i in chosen], given[chosen].tolist())
        by_kind[kind] = {"n": len(chosen), "srcc": srcc(given[chosen], labels[chosen]), "right": right, "steps": steps}
    right, steps = (sum(kind[name] for kind in by_kind.values()) for name in ("right", "steps"))
    return {
        "clips": len(rows),
        **agreement(given[trusted], labels[trusted], [rows[i]["content"] for i in trusted]),
        "srcc_vmaf": srcc(given[labelled], labels[labelled]),
        "ladders": right / steps if steps else float("nan"),
        "by_kind": by_kind,
    }


def intervals(rows: Rows, scores: Sequence[float], repeats: int = 300) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of the `FIGURES` of `summary`.

    Contents are drawn, not clips, because segments of one content are not independent. A figure that no draw has is NaN.
    repeats: draws.
    """
    rng = np.random.default_rng(0)
    by_content: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by_content[row["content"]].append(i)
    names = sorted(by_content)
    drawn: list[list[float]] = []
    for _ in range(repeats):
        taken, chosen = [], []
        for copy, name in enumerate(rng.choice(names, len(names))):
            # A content that is drawn twice counts as two contents.
            taken += [dict(rows[i]) | {"content": f"{name}/{copy}"} for i in by_content[name]]
            chosen += [scores[i] for i in by_content[name]]
        figures = summary(taken, chosen)
        drawn.append([figures[figure] for figure in FIGURES])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a figure that no draw has is NaN
        low, high = np.nanpercentile(np.array(drawn), [2.5, 97.5], axis=0)
    return {figure: (float(a), float(b)) for figure, a, b in zip(FIGURES, low, high, strict=True)}


def calibration(labels: ArrayLike, scores: ArrayLike, uncertainty: ArrayLike, levels: Sequence[int]) -> dict[str, float]:
    """How far uncertainty and levels can be trusted.

    labels, scores: (N,) 0-100. uncertainty: (N,) expected absolute errors, points. levels: (N,) 0-4. Returns the share of
    right levels, Spearman's correlation of uncertainty with absolute error, the means of both, and the mean error of the
    most certain fifth and of the rest.
    """
    y, x, spread = (np.asarray(v, float) for v in (labels, scores, uncertainty))
    errors = np.abs(x - y)
    certain = np.zeros(len(y), bool)
    certain[np.argsort(spread, kind="stable")[: max(1, len(y) // 5)]] = True
    right = np.minimum(len(LEVELS) - 1, y // LEVEL_WIDTH) == np.asarray(levels)
    return {
        "level_accuracy": float(right.mean()),
        "uncertainty_vs_error": srcc(spread, errors),
        "uncertainty_mean": float(spread.mean()),
        "error_mean": float(errors.mean()),
        "error_certain_fifth": float(errors[certain].mean()),
        "error_rest": float(errors[~certain].mean()) if len(y) > 1 else float("nan"),
    }


def cross_validated(rows: Rows, fit_and_score: Callable[[Sequence[int], Sequence[int]], Sequence[float]], folds: int) -> Floats:
    """Scores (N,) of every row, by a model that was trained without the row's `person`.

    fit_and_score: (places to train on, places to score) -> scores of the places to score. folds: parts that the people are
    divided into.
    """
    names = sorted({row["person"] for row in rows})
    order = np.random.default_rng(0).permutation(len(names))
    if len(names) < 2:
        raise ValueError("all clips are of one person: nobody would be left to train on")
    scores = np.full(len(rows), np.nan)
    for fold in range(min(folds, len(names))):
        held = {names[i] for i in order[fold::folds]}
        inside = [i for i, row in enumerate(rows) if row["person"] not in held]
        outside = [i for i, row in enumerate(rows) if row["person"] in held]
        scores[outside] = fit_and_score(inside, outside)
    return scores


def without_nan(value: Any) -> Any:
    """The report as JSON can have it: a figure that there is nothing to tell from is null."""
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
