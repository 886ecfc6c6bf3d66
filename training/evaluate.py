"""How well scores agree with labels: rank and linear correlation, per content, per kind, and the order of ladders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from training.synth import is_vmaf_labelled


def srcc(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, -1..1."""
    return float(stats.spearmanr(x, y).statistic)


def logistic_fit(scores: ArrayLike, labels: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores mapped to the labels' scale by the 4-parameter logistic of VQEG's test plans, before PLCC and RMSE."""
    x, y = np.asarray(scores, float), np.asarray(labels, float)

    def curve(v: Any, high: float, low: float, middle: float, width: float) -> Any:
        return low + (high - low) / (1 + np.exp(np.clip(-(v - middle) / (abs(width) + 1e-6), -50, 50)))

    start = (y.max(), y.min(), x.mean(), x.std() + 1e-3)
    try:
        found, _ = optimize.curve_fit(curve, x, y, p0=start, maxfev=20000)
    except RuntimeError:
        return np.polyval(np.polyfit(x, y, 1), x)
    return np.asarray(curve(x, *found))


def ladder_order(rows: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> tuple[int, int]:
    """(right, all) neighbouring steps of one content and kind whose scores fall in the order of the steps."""
    ladders: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row, score in zip(rows, scores, strict=True):
        ladders[row["content"], row["kind"]].append((int(row["step"]), score))
    right = total = 0
    for steps in ladders.values():
        ordered = [score for _, score in sorted(steps)]
        right += sum(a > b for a, b in pairwise(ordered))
        total += len(ordered) - 1
    return right, total


def summary(rows: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, Any]:
    """Agreement of scores with the labels `mos` of rows that also name `content`, `kind` and `step`.

    srcc, krcc, plcc, rmse: over the kinds that VMAF labels; plcc and rmse after `logistic_fit`. srcc_within: mean over
    contents. ladders: share of neighbouring ladder steps in the right order, all kinds, and by kind.
    """
    trusted = [i for i, row in enumerate(rows) if row["kind"] == "reference" or is_vmaf_labelled(row["kind"])]
    y = np.array([float(rows[i]["mos"]) for i in trusted])
    x = np.array([scores[i] for i in trusted])
    fitted = logistic_fit(x, y)
    contents = sorted({rows[i]["content"] for i in trusted})
    within = [srcc(*(v[[rows[i]["content"] == content for i in trusted]] for v in (x, y))) for content in contents]
    kinds = sorted({row["kind"] for row in rows} - {"reference"})
    by_kind = {}
    for kind in kinds:
        chosen = [i for i, row in enumerate(rows) if row["kind"] == kind]
        right, total = ladder_order([rows[i] for i in chosen], [scores[i] for i in chosen])
        by_kind[kind] = {"right": right, "steps": total}
    right, total = (sum(k[name] for k in by_kind.values()) for name in ("right", "steps"))
    return {
        "clips": len(rows),
        "srcc": srcc(x, y),
        "krcc": float(stats.kendalltau(x, y).statistic),
        "plcc": float(np.corrcoef(fitted, y)[0, 1]),
        "rmse": float(np.sqrt(np.mean((fitted - y) ** 2))),
        "mae": float(np.abs(x - y).mean()),
        "srcc_within": float(np.mean(within)),
        "ladders": right / max(1, total),
        "by_kind": by_kind,
    }
