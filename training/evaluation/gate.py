"""Whether a tuned model may take the place of the one that serves.

Both score the same clips: a reference set that never changes, on which the new one must be about as good, and newly rated
clips that it was not trained on, on which it must be better. The limits are the recipe's `gate`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.table import Table

from scorer.engine import Engine
from scorer.errors import ModelError
from training.data.rated import FEWEST, RatedClip, read_rated
from training.data.samples import ENCODE_BATCH, sample_all
from training.evaluation.agreement import agreement
from training.recipe import GatePart, faults_of


@dataclass(frozen=True)
class Check:
    """One line of the gate. limit: what the candidate's figure is compared with; at_least: else at most."""

    clips: str
    figure: str
    current: float
    candidate: float
    limit: float
    at_least: bool

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
        """Whether every check was."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON and the registry."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"current": self.current, "candidate": self.candidate, "passed": self.passed, "checks": checks}


def gate_of(model: Path, file: Path | None = None) -> GatePart:
    """The gate of a YAML file (the key `gate`, or the whole), or of the recipe that the model's own metrics hold.

    Raises ValueError that names the file and the key that is wrong.
    """
    source = file or model / "metrics.json"
    try:
        found = yaml.safe_load(source.read_text())
        if file is None:
            found = found["recipe"]
        return GatePart.model_validate(found.get("gate", found if file else {}))
    except ValidationError as error:
        raise ValueError(f"{source}: gate: {faults_of(error)}") from error
    except (yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{source}: there is no gate in it: {error!r}") from error


def judge(current: Engine, candidate: Engine, reference: Path, rated: Path, gate: GatePart, seed: int) -> Verdict:
    """Score both sets by both models and apply the gate.

    reference, rated: anything that `training.data.rated.read_rated` takes; seed: the candidate's recipe's, which decided what
    of `rated` it was trained on. Raises ValueError where a set has too few clips, `ModelError` where the candidate needs
    another sampling of the clips than the current model.
    """
    if candidate.spec != current.spec:
        raise ModelError(
            "the candidate was trained on another sampling of the clips than the current model's: they cannot be exchanged"
        )
    new = read_rated(rated, seed)
    on_reference = _figures(current, candidate, read_rated(reference).clips, reference)
    # Without a test split, the clips that only set the size of the uncertainty.
    on_rated = _figures(current, candidate, new.of("test") if len(new.of("test")) >= FEWEST else new.of("val"), rated)

    def check(name: str, figures: tuple[Mapping[str, float], Mapping[str, float]], figure: str, change: float, up: bool) -> Check:
        was, now = (found[figure] for found in figures)
        return Check(name, figure, was, now, was + change, up)

    checks = [
        check("reference", on_reference, "srcc", -gate.reference_srcc_drop, True),
        check("reference", on_reference, "mae", gate.reference_mae_rise, False),
        check("newly rated", on_rated, "mae", -gate.rated_mae_gain, False),
        check("newly rated", on_rated, "srcc", -gate.rated_srcc_drop, True),
    ]
    return Verdict(_name(current), _name(candidate), checks)


def recipe_seed(model: Path) -> int:
    """The seed that a model's metrics name; raises ValueError where they do not."""
    try:
        return int(json.loads((model / "metrics.json").read_text())["recipe"]["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{model / 'metrics.json'}: it names no recipe with a seed") from error


def table(verdict: Verdict) -> Table:
    """The gate for people."""
    made = Table(title=f"{verdict.current} -> {verdict.candidate}", title_justify="left")
    for column in ("clips", "figure", "current", "candidate", "limit", ""):
        made.add_column(column, justify="left" if column in ("clips", "figure", "") else "right")
    for check in verdict.checks:
        digits = 1 if check.figure == "mae" else 3
        sign = "≥" if check.at_least else "≤"
        made.add_row(
            check.clips,
            check.figure,
            f"{check.current:.{digits}f}",
            f"{check.candidate:.{digits}f}",
            f"{sign} {check.limit:.{digits}f}",
            "passed" if check.passed else "refused",
        )
    return made


def _figures(
    current: Engine, candidate: Engine, clips: Sequence[RatedClip], source: Path
) -> tuple[dict[str, float], dict[str, float]]:
    sampled = sample_all([{"path": clip.path} for clip in clips], current.spec, os.cpu_count() or 1)
    taken: list[RatedClip] = []
    scores: tuple[list[float], list[float]] = ([], [])
    while group := list(islice(sampled, ENCODE_BATCH)):
        taken += [clips[place] for place, _ in group]
        for engine, found in zip((current, candidate), scores, strict=True):
            found += [answer.score for answer in engine.score([clip for _, clip in group])]
    if len(taken) < FEWEST:
        raise ValueError(f"{source}: {len(taken)} clips to judge by, at least {FEWEST} are needed")
    labels, contents = [clip.mos for clip in taken], [clip.content for clip in taken]
    return agreement(scores[0], labels, contents), agreement(scores[1], labels, contents)


def _name(engine: Engine) -> str:
    return f"{engine.model.name}@{engine.model.version}"
