"""Versions in the registry: list them, publish a model, roll back to the version before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.find import find_model, version_of
from scorer.registry import Registry
from streams.errors import ModelError

if TYPE_CHECKING:
    from streams.events import ModelUpdate


@dataclass(frozen=True)
class VersionRow:
    """One version in the registry. created: when it was published, ISO 8601 UTC. current: whether it serves. problem: why its
    manifest cannot be read, or which version is current; '' for none.
    """

    name: str
    version: str
    created: str
    current: bool
    problem: str = ""


def list_versions(registry: Registry) -> list[VersionRow]:
    """All versions of all models; what is damaged has a problem, and hides no other."""
    rows: list[VersionRow] = []
    for name in registry.names():
        problems: dict[str, str] = {}
        current = None
        try:
            current = registry.current(name)
        except (ModelError, OSError) as error:
            rows.append(VersionRow(name, "", "", False, str(error)))
        versions = {manifest.version: manifest.created for manifest in registry.versions(name, problems)}
        if current is not None and current not in (*versions, *problems):
            problems[current] = "its manifest is gone"
        rows += [VersionRow(name, version, created, version == current) for version, created in versions.items()]
        rows += [VersionRow(name, version, "", version == current, problem) for version, problem in problems.items()]
    return rows


def manifest_of(registry: Registry, model: str) -> dict[str, Any]:
    """The manifest of a version. model: `name@version`, or a name for its current version. Raises `ModelError` where none is."""
    name, _, version = model.partition("@")
    wanted = version or registry.current(name)
    if wanted is None:
        raise ModelError(f"registry {registry.shown}: no version of {name} is current")
    return vars(registry.manifest(name, wanted))


def roll_back(registry: Registry, name: str) -> ModelUpdate:
    """Make the previous version of a model current again; returns the update to announce."""
    from streams.events import ModelUpdate  # listing and showing versions need no event

    before = registry.current(name)
    version = registry.rollback(name)
    return ModelUpdate(name=name, version=version, before=before, time=datetime.now(UTC))


def publish(registry: Registry, model: Path, name: str, about: dict[str, Any], judged_against: str) -> ModelUpdate:
    """Put a model directory into the registry and make it current; returns the update to announce.

    about: what the manifest records beside the metrics, for example the gate's verdict. judged_against: the version that the
    gate has compared it with; raises `ModelError` where another one serves by now.
    """
    from streams.events import ModelUpdate

    promoted = registry.current(name)
    _, before = find_model(name, registry)
    if before.version != judged_against:
        raise ModelError(f"{before} serves by now, and {model} was judged against {name}@{judged_against}: promote it once more")
    version = version_of(model)
    metrics = json.loads((model / "metrics.json").read_text())
    registry.publish(name, version, model, {"metrics": metrics} | about)
    registry.promote(name, version, promoted)  # a large model's upload takes minutes, in which another one may be promoted
    return ModelUpdate(name=name, version=version, before=before.version, time=datetime.now(UTC))
