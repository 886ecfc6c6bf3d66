"""`fvq promote`: a trained model serves, if the gate holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings
from streams.cli.table import output
from streams.cli.training import check_scale
from streams.errors import SettingsError


def promote(
    model: Annotated[Path, typer.Argument(help="Directory of the model that `fvq train` made.")],
    reference: Annotated[
        Path, typer.Option(help="Labelled clips that stay the same for all promotions; labels.csv or rated CSV.")
    ],
    rated: Annotated[
        Path | None,
        typer.Option(help="Rated clips that it was trained on, whose test split decides; not needed after --from-queue."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Scale of the ratings in --rated, WORST-BEST, as for `fvq train`; --reference says its own."),
    ] = None,
    name: Annotated[str, typer.Option(help="The model whose place it takes, as FVQ_MODEL names it.")] = "nano",
    gate: Annotated[
        Path | None, typer.Option(help="YAML with the gate's limits, instead of those of the model's recipe.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a model serve, if the gate holds: about as good on the reference, better on the newly rated."""
    from training.adapter.replay import FROZEN
    from training.run import check_model, check_there

    settings = load_settings()
    if scale is not None and rated is None:
        raise SettingsError("--scale", "belongs to --rated: what people rated on the rating page are points")
    check_scale(scale)
    check_there(model, reference, rated, gate)
    check_model(model)
    judged = rated or model / FROZEN
    if not judged.exists():
        raise ValueError(f"{judged}: there is no such file; name the rated clips that {model} was tuned on by --rated")
    from scorer.load import load_engine

    registry = parts.registry(settings)
    current = load_engine(name, settings.device, registry)  # before libraries are loaded that take seconds
    from scorer.runtime.export import export_graph
    from streams.models.publish import publish
    from training.evaluation.gate import gate_of, judge, recipe_seed, table

    limits, seed = gate_of(model, gate), recipe_seed(model)
    export_graph(model)
    # Whole, because a folder `nano` here is not the model that ships by this name.
    candidate = load_engine(str(model.resolve()), settings.device)
    verdict = judge(current, candidate, reference, judged, limits, seed, scale, model)
    about = {"gate": verdict.as_dict()}
    update = publish(registry, model, name, about, current.model.version) if verdict.passed else None
    if as_json:
        print(json.dumps(verdict.as_dict()))
    else:
        output().print(table(verdict))
        print(f"{verdict.candidate}: " + (f"promoted, serves as {name}" if verdict.passed else "refused"))
    if update is not None:
        parts.announce_update(settings, update)  # last: it serves also where no broker answers, and the verdict is told
    raise typer.Exit(0 if verdict.passed else 1)
