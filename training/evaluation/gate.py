"""The gate of `fvq promote`: whether a tuned model may replace the current one.

Both models score the same clips: a reference set that never changes, on which the candidate must be about as good, and
newly rated clips that it was not trained on, on which it must be better. The limits are the recipe's `gate`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from scorer.errors import ModelError
from scorer.load import LoadedModel
from scorer.yaml_text import KeyTwiceError, load_yaml
from training.data.rated import RatedClip, read_rated
from training.data.remarks import remark
from training.data.samples import in_batches, sample_all
from training.data.splits import FEWEST
from training.data.trained import not_trained_on
from training.evaluation.agreement import agreement
from training.evaluation.shown import shown_figure
from training.recipe import GatePart, faults_of


@dataclass(frozen=True)
class Check:
    """One figure on one set of clips, of both models, and the candidate's limit."""

    clips: str
    """`reference` or `newly rated`."""
    figure: str
    """`srcc` or `mae`."""
    current: float
    candidate: float
    limit: float
    at_least: bool
    """Whether the limit is the smallest value that passes; else it is the largest."""

    @property
    def passed(self) -> bool:
        """Whether the candidate is on the right side of the limit."""
        return self.candidate >= self.limit if self.at_least else self.candidate <= self.limit


@dataclass(frozen=True)
class Verdict:
    """The gate's answer. current and candidate: `name@version`."""

    current: str
    candidate: str
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as `fvq promote --json` prints it and the registry stores it."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"current": self.current, "candidate": self.candidate, "passed": self.passed, "checks": checks}


def gate_of(model: Path, file: Path | None = None) -> GatePart:
    """The gate of a YAML file, or without a file that of the recipe in the model's metrics.json.

    The file has the limits under the key `gate`, or nothing but the limits. Raises ValueError that names the file and the
    key that is wrong.
    """
    source = file or model / "metrics.json"
    try:
        content: Any = load_yaml(source.read_text(encoding="utf-8-sig"))
        if file is None:
            content = content["recipe"]
        return GatePart.model_validate(content.get("gate", content if file else {}))
    except ValidationError as error:
        raise ValueError(f"{source}: gate: {faults_of(error)}") from error
    except KeyTwiceError as error:
        raise ValueError(f"{source}: {error}") from error
    except (yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{source}: there is no gate in it: {error!r}") from error


def judge(
    current: LoadedModel,
    candidate: LoadedModel,
    reference: Path,
    rated: Path,
    gate: GatePart,
    seed: int,
    scale: str | None = None,
    model: Path | None = None,
) -> Verdict:
    """Score both sets by both models and apply the gate.

    reference, rated: any sources that `training.data.rated.read_rated` takes. seed: of the candidate's recipe; it decided
    which clips of `rated` the candidate was trained on. scale: of `rated`, where its columns do not say it. model: the
    candidate's folder, which tells of what it was trained on, also where the splits were others then. Raises ValueError where a
    set has too few clips, `ModelError` where the candidate needs another sampling of the clips than the current model.
    """
    if candidate.spec != current.spec:
        raise ModelError(
            "the candidate was trained on another sampling of the clips than the current model's: they cannot be exchanged"
        )
    newly_rated, unchanged = read_rated(rated, seed, scale), read_rated(reference)
    for source, clips_of in ((reference, unchanged), (rated, newly_rated)):
        if clips_of.dropped:
            remark(f"{source}: {clips_of.report()}")
    # Without enough test clips, take the val clips: training used them only to set the size of the uncertainty.
    tested, validated = (
        clips if model is None else not_trained_on(model, clips) for clips in map(newly_rated.of, ("test", "val"))
    )
    unseen = validated if len(tested) < FEWEST <= len(validated) else tested
    # Before the reference is scored, which may take minutes.
    _check_enough(unseen, rated, " of contents that it was not trained on, in the split test or val")
    on_reference = _figures(current, candidate, unchanged.clips, reference)
    on_rated = _figures(current, candidate, unseen, rated)

    rules = [
        ("reference", on_reference, "srcc", -gate.reference_srcc_drop),
        ("reference", on_reference, "mae", gate.reference_mae_rise),
        ("newly rated", on_rated, "mae", -gate.rated_mae_gain),
        ("newly rated", on_rated, "srcc", -gate.rated_srcc_drop),
    ]
    checks = [
        Check(clips, figure, old[figure], new[figure], old[figure] + change, at_least=figure == "srcc")
        for clips, (old, new), figure, change in rules
    ]
    return Verdict(str(current.model), str(candidate.model), checks)


def recipe_seed(model: Path) -> int:
    """The seed of the recipe in a model's metrics.json; raises ValueError where the file names none."""
    try:
        return int(json.loads((model / "metrics.json").read_text())["recipe"]["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{model / 'metrics.json'}: it names no recipe with a seed") from error


def table(verdict: Verdict) -> Table:
    """The verdict as a table to print."""
    # The names of models come from outside and are no markup.
    table = Table(title=Text(f"{verdict.current} -> {verdict.candidate}", "table.title"), title_justify="left")
    for column in ("clips", "figure", "current", "candidate", "limit", ""):
        table.add_column(column, justify="left" if column in ("clips", "figure", "") else "right")
    for check in verdict.checks:
        sign = "≥" if check.at_least else "≤"
        table.add_row(
            check.clips,
            check.figure,
            shown_figure(check.figure, check.current),
            shown_figure(check.figure, check.candidate),
            f"{sign} {shown_figure(check.figure, check.limit)}",
            "passed" if check.passed else "refused",
        )
    return table


def _figures(
    current: LoadedModel, candidate: LoadedModel, clips: Sequence[RatedClip], source: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """`agreement` of the current model and of the candidate on the same clips. source: named where they are too few."""
    sampled = sample_all([{"path": clip.path} for clip in clips], current.spec, os.cpu_count() or 1)
    taken: list[RatedClip] = []
    scores: tuple[list[float], list[float]] = ([], [])
    for group in in_batches(sampled):
        taken += [clips[place] for place, _ in group]
        for engine, of_model in zip((current, candidate), scores, strict=True):
            of_model += [answer.score for answer in engine.score([clip for _, clip in group])]
    _check_enough(taken, source)
    labels, contents = [clip.mos for clip in taken], [clip.content for clip in taken]
    return agreement(scores[0], labels, contents), agreement(scores[1], labels, contents)


def _check_enough(clips: Sequence[RatedClip], source: Path, which: str = "") -> None:
    if len(clips) < FEWEST:
        raise ValueError(f"{source}: {len(clips)} clips to judge by{which}; at least {FEWEST} are needed")
