"""`fvq models` and `fvq promote`: what is in the registry, and what serves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from scorer.engine import find_model, load_engine
from scorer.errors import ModelError
from scorer.registry import Registry
from streams.events import ModelUpdate
from streams.kafka.connection import BrokerError
from streams.models.follow import announce, registry_of
from streams.settings import Settings


def list_models(settings: Settings, as_json: bool) -> None:
    """Print every version, and which one is current."""
    registry = registry_of(settings)
    rows: list[dict[str, Any]] = [
        {"name": name, "version": one.version, "created": one.created, "current": one.version == registry.current(name)}
        for name in registry.names()
        for one in registry.versions(name)
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(title=f"registry {registry.url}" + ("" if rows else ": empty, the shipped models serve"), title_justify="left")
    for column in ("model", "version", "promoted", ""):
        table.add_column(column)
    for row in rows:
        table.add_row(row["name"], row["version"], row["created"], "current" if row["current"] else "")
    Console().print(table)


def show_model(settings: Settings, model: str) -> None:
    """Print the manifest of `name@version`, or of the current version of a name."""
    registry = registry_of(settings)
    name, _, version = model.partition("@")
    chosen = version or registry.current(name)
    if chosen is None:
        raise ModelError(f"registry {registry.url}: no version of {name} is current")
    print(json.dumps(vars(registry.manifest(name, chosen)), indent=1))


def roll_back(settings: Settings, name: str) -> None:
    """Make the version before current again, and announce it."""
    registry = registry_of(settings)
    before = registry.current(name)
    version = registry.rollback(name)
    print(f"{name}: {version or 'the shipped version'} serves again, {before} does no more")
    _tell(settings, ModelUpdate(name=name, version=version, before=before, time=datetime.now(UTC)))


def tune_from_queue(
    settings: Settings, recipe: Path, rated: Path | None, replay: Path | None, dev: Path | None, out: Path
) -> dict[str, Any]:
    """Tune an adapter on the rated clips of the queue, see `training.run`; returns the metrics.

    rated: an export of the ratings; None: of the store in the data folder, as it is now.
    """
    from training.recipe import load_tune_recipe
    from training.run import tune_from_queue as tune

    if dev is not None:
        raise ValueError("--dev is for whole models; an adapter's data has splits of its own")
    wanted = load_tune_recipe(recipe)
    if rated is None:
        from streams.rating.export import export_ratings

        rated = settings.data_dir / "rated.csv"
        export_ratings(settings, rated)
    return tune(wanted, rated, replay, out)


def promote_model(
    settings: Settings, model: Path, name: str, reference: Path, rated: Path | None, gate: Path | None, as_json: bool
) -> int:
    """Judge a model directory against the one that serves under the name; publish, promote and announce it if it passes.

    rated: None where it was tuned from the queue, whose ratings it keeps. Returns the exit code: 1 where the gate refuses it.
    """
    from training.adapter.replay import FROZEN
    from training.evaluation.gate import gate_of, judge, recipe_seed, table

    judged = rated or model / FROZEN
    if not judged.exists():
        raise ValueError(f"{judged}: there is no such file; name the rated clips that {model} was tuned on by --rated")
    registry = registry_of(settings)
    limits, seed = gate_of(model, gate), recipe_seed(model)
    current, candidate = load_engine(name, settings.device, registry), load_engine(str(model), settings.device)
    verdict = judge(current, candidate, reference, judged, limits, seed)
    if verdict.passed:
        publish(settings, registry, model, name, {"gate": verdict.as_dict()})
    if as_json:
        print(json.dumps(verdict.as_dict()))
    else:
        Console().print(table(verdict))
        print(f"{verdict.candidate}: " + (f"promoted, serves as {name}" if verdict.passed else "refused"))
    return 0 if verdict.passed else 1


def publish(settings: Settings, registry: Registry, model: Path, name: str, about: dict[str, Any]) -> str:
    """Put a model directory into the registry, make it current, announce it; returns the version."""
    _, before = find_model(name, registry)
    _, identity = find_model(str(model))
    metrics = json.loads((model / "metrics.json").read_text())
    registry.publish(name, identity.version, model, {"metrics": metrics} | about)
    registry.promote(name, identity.version)
    _tell(settings, ModelUpdate(name=name, version=identity.version, before=before.version, time=datetime.now(UTC)))
    return identity.version


def _tell(settings: Settings, update: ModelUpdate) -> None:
    """Announce it where there is a broker; workers that hear nothing look into the registry once a minute."""
    if not settings.broker:
        return
    try:
        announce(settings, update)
    except KafkaError as error:
        raise BrokerError(
            f"{update.name}@{update.version} is current in the registry, but could not be announced: {error}"
        ) from error
