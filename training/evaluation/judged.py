"""The figures of a benchmark: what scores of known clips of known people say, each with an interval over the people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.benchmark import REFERENCE
from training.data.measures import is_twice
from training.evaluation.agreement import srcc

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

GAPS = ((15.0, 30.0), (30.0, 50.0), (50.0, 100.0))
"""(over, up to) points between the truths of two clips of different people."""

ORDER = (*(f"pairs_{low:.0f}_{high:.0f}" for low, high in GAPS), "ladders", "within_median", "within_worst", "srcc")
"""Figures that need an order only. pairs: share of the pairs of clips of different people, by gap, in the right order. ladders:
share of neighbouring steps in order. within: mean SRCC of a person's contents, the median person and the worst."""

POINTS = ("reference_sd", "reference_lowest", "drop", "double_mae", "mae")
"""Figures of scores in points. reference: the people's mean scores of undamaged clips. drop: from the reference to a ladder's
last step, the mean over the ladders. double_mae: mean absolute error on doubly damaged clips."""

TRUST = ("coverage", "error_certain_fifth", "error_rest")
"""Figures of the uncertainty: share of the errors within it, mean error of the most certain fifth and of the rest."""

FIGURES = (*POINTS[:2], *ORDER, *POINTS[2:], *TRUST)


class Judged:
    """A method's scores of a benchmark's clips. Everything is summed up for each person once, so that drawing people is cheap."""

    def __init__(self, rows: Rows, scores: Sequence[float], uncertainty: Sequence[float] | None, in_points: bool) -> None:
        """rows: as `read_labels` returns them, with `scene`; (N,) scores. in_points: whether they are on the labels' scale."""
        self._rows, self._in_points = rows, in_points
        self._scores, self._truths = np.asarray(scores, float), np.array([float(row["mos"]) for row in rows])
        self._errors = np.abs(self._scores - self._truths)
        self._uncertainty = None if uncertainty is None else np.asarray(uncertainty, float)
        names = np.array([row["person"] for row in rows])
        self.people = sorted(set(names.tolist()))
        self._of_person = [np.flatnonzero(names == person) for person in self.people]
        self._pairs = self._count_pairs()
        self._within = np.array([self._srcc_within(clips) for clips in self._of_person])
        ladders = [self._ladders(clips) for clips in self._of_person]
        self._steps = np.array([_steps_in_order(of_person) for of_person in ladders]).reshape(len(self.people), 2)
        self._drops = [[drop for ladder in of_person for drop in ladder.drop] for of_person in ladders]

    def figures(self, drawn: Sequence[int] | NDArray[np.int64] | None = None) -> dict[str, float]:
        """`FIGURES` of the drawn people, by their place in `people`; one may be drawn several times. None: of everybody.

        Not a number where there is nothing to tell it from.
        """
        people = np.arange(len(self.people)) if drawn is None else np.asarray(drawn)
        clips = np.concatenate([self._of_person[person] for person in people])
        right, total = self._pairs[:, people][:, :, people].sum(axis=(1, 2)).T
        steps_right, steps = self._steps[people].sum(axis=0)
        within = self._within[people][~np.isnan(self._within[people])]
        figures = {
            **{name: _share(a, b) for name, a, b in zip(ORDER, right, total, strict=False)},
            "ladders": _share(steps_right, steps),
            "within_median": float(np.median(within)) if len(within) else float("nan"),
            "within_worst": float(within.min()) if len(within) else float("nan"),
            "srcc": srcc(self._scores[clips], self._truths[clips]),
        }
        if self._in_points:
            figures |= self._point_figures(people, clips)
        if self._uncertainty is not None:
            figures |= self._trust(clips, self._uncertainty)
        return {name: figures.get(name, float("nan")) for name in FIGURES}

    def intervals(self, repeats: int = 200) -> dict[str, tuple[float, float]]:
        """95 % bootstrap intervals of the figures. People are drawn, not clips: clips of one person are not independent."""
        rng = np.random.default_rng(0)
        draws = [self.figures(rng.integers(len(self.people), size=len(self.people))) for _ in range(repeats)]
        spread: dict[str, tuple[float, float]] = {}
        for name in FIGURES:
            values = np.array([draw[name] for draw in draws])
            values = values[~np.isnan(values)]
            low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
            spread[name] = float(low), float(high)
        return spread

    def by_ladder(self) -> dict[str, dict[str, float]]:
        """Kind -> `order`, the share of neighbouring steps in order, and `drop` from the reference to the last step, points."""
        of_kind: dict[str, list[_Climb]] = defaultdict(list)
        for clips in self._of_person:
            for climb in self._ladders(clips):
                of_kind[climb.kind].append(climb)
        return {
            kind: {
                "order": _share(*_steps_in_order(climbs)),
                "drop": _mean([drop for climb in climbs for drop in climb.drop]) if self._in_points else float("nan"),
            }
            for kind, climbs in sorted(of_kind.items())
        }

    def by_scene(self) -> dict[str, dict[str, float]]:
        """Scene -> `clips`, `reference` (mean score of undamaged clips) and `mae`, both not a number unless in points.

        A clip with several names in its `scene`, separated by spaces, counts in each of them.
        """
        of_scene: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(self._rows):
            for scene in str(row.get("scene", "")).split():
                of_scene[scene].append(place)
        figures: dict[str, dict[str, float]] = {}
        for scene, places in sorted(of_scene.items()):
            references = [place for place in places if self._rows[place]["kind"] == REFERENCE]
            shown = (_mean(self._scores[references]), _mean(self._errors[places])) if self._in_points else (np.nan, np.nan)
            figures[scene] = {"clips": len(places), "reference": shown[0], "mae": shown[1]}
        return figures

    def by_person(self) -> dict[str, dict[str, float]]:
        """Person -> the mean score of their references and the mean SRCC within their contents."""
        return {
            person: {"reference": _mean(self._scores[self._places(clips, REFERENCE)]), "within": float(within)}
            for person, clips, within in zip(self.people, self._of_person, self._within, strict=True)
        }

    def _point_figures(self, people: NDArray[np.int64], clips: NDArray[np.int64]) -> dict[str, float]:
        undamaged = [self._places(self._of_person[person], REFERENCE) for person in people]
        references = [_mean(self._scores[places]) for places in undamaged if places]
        return {
            "reference_sd": float(np.std(references, ddof=1)) if len(references) > 1 else float("nan"),
            "reference_lowest": min(references, default=float("nan")),
            "drop": _mean([drop for person in people for drop in self._drops[person]]),
            "double_mae": _mean(self._errors[[place for place in clips if is_twice(self._rows[place]["kind"])]]),
            "mae": _mean(self._errors[clips]),
        }

    def _trust(self, clips: NDArray[np.int64], uncertainty: Floats) -> dict[str, float]:
        errors, spread = self._errors[clips], uncertainty[clips]
        order = np.argsort(spread, kind="stable")
        fifth = max(1, len(clips) // 5)
        return {
            "coverage": float((errors <= spread).mean()),
            "error_certain_fifth": _mean(errors[order[:fifth]]),
            "error_rest": _mean(errors[order[fifth:]]),
        }

    def _count_pairs(self) -> NDArray[np.int64]:
        """(gap, person, person, 2): pairs of a clip of each in the right order, and all."""
        counts = np.zeros((len(GAPS), len(self.people), len(self.people), 2), np.int64)
        for first, clips in enumerate(self._of_person):
            for second, others in enumerate(self._of_person[:first]):
                truth = self._truths[clips][:, None] - self._truths[others]
                is_right = (self._scores[clips][:, None] - self._scores[others]) * np.sign(truth) > 0
                for gap, (low, high) in enumerate(GAPS):
                    of_gap = (np.abs(truth) > low) & (np.abs(truth) <= high)
                    counts[gap, first, second] = (of_gap & is_right).sum(), of_gap.sum()
        # A bootstrap may draw the two people in either order.
        return counts + counts.transpose(0, 2, 1, 3)

    def _srcc_within(self, clips: NDArray[np.int64]) -> float:
        of_content: dict[str, list[int]] = defaultdict(list)
        for place in clips:
            of_content[self._rows[place]["content"]].append(place)
        return _mean([srcc(self._scores[places], self._truths[places]) for places in of_content.values() if len(places) > 2])

    def _ladders(self, clips: NDArray[np.int64]) -> list[_Climb]:
        steps: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        for place in clips:
            row = self._rows[place]
            if not is_twice(row["kind"]):
                steps[row["content"], row["kind"]].append((row["step"], self._scores[place]))
        return [
            _Climb(kind, [score for _, score in sorted(scores)], [score for _, score in steps.get((content, REFERENCE), [])])
            for (content, kind), scores in steps.items()
            if kind != REFERENCE
        ]

    def _places(self, clips: NDArray[np.int64], kind: str) -> list[int]:
        return [int(place) for place in clips if self._rows[place]["kind"] == kind]


class _Climb:
    """The scores of one ladder of one content, from the mildest step."""

    def __init__(self, kind: str, scores: list[float], reference: list[float]) -> None:
        self.kind = kind
        self.right = sum(milder > stronger for milder, stronger in pairwise(scores))
        self.steps = len(scores) - 1
        self.drop = [clean - scores[-1] for clean in reference]


def _steps_in_order(climbs: Sequence[_Climb]) -> tuple[int, int]:
    return sum(climb.right for climb in climbs), sum(climb.steps for climb in climbs)


def _share(right: float, total: float) -> float:
    return float(right / total) if total else float("nan")


def _mean(values: Sequence[float] | Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
