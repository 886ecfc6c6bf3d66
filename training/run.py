"""The entrance to training: picks the pipeline that a recipe asks for. Nothing else in `training` imports this module.

    fvq train --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --out MODEL
    fvq train --recipe training/recipes/nano_more.yaml --start MODEL --data ... --dev ... --out MODEL2
    fvq train --recipe training/recipes/nano.yaml --teacher LARGE --data ... --dev ... --out MODEL
    fvq train --recipe training/recipes/nano_adapter.yaml --data RATED.csv --out MODEL
    fvq train --from-queue --recipe training/recipes/nano_adapter.yaml --data BASE/labels.csv --out MODEL

A recipe that names a `base` tunes an adapter on that base (`training.adapter.tune`). Any other recipe trains a whole small
model (`training.nano.train`). Each pipeline is imported only when it runs, because its libraries take seconds to load.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.errors import SettingsError
from training.adapter.replay import FROZEN, freeze
from training.data.alone import alone
from training.data.labels import read_apart
from training.data.remarks import remark
from training.recipe import TuneRecipe, check_division, load_nano_recipe, load_tune_recipe, read_mapping

if TYPE_CHECKING:
    from training.nano.teacher import Lesson

ADAPTER, WHOLE = "adapter_config.json", "model.safetensors"
"""Files that only an adapter's folder has, and only that of a whole small model."""

WORK = "work"
"""Folder in a model's folder for what a run that goes on needs; only one run at a time writes there."""


def run(
    recipe: Path,
    data: Path,
    dev: Path | None,
    out: Path,
    *,
    scale: str | None = None,
    processes: int = 1,
    lesson: Callable[[], Lesson] | None = None,
    start: Path | None = None,
    steady: Path | None = None,
    errors_of: Path | None = None,
) -> dict[str, Any]:
    """Run a recipe of either kind; returns the metrics that it wrote into `out`, or an empty dict in all but the main process.

    data: a labels file of `fvq synth`; for an adapter any source that `training.data.rated.read_rated` takes. dev: a labels
    file of other people, only for a whole model: an adapter's data has its own splits. scale: of the ratings in `data`, for an
    adapter, as `read_rated` takes it. processes: of this machine in which an adapter is trained, one for each GPU. lesson:
    loads the teacher of a whole model. start: directory of a whole model that is trained on. steady: a labels file of longer
    clips, between whose windows a whole model's score is not to move. errors_of: directory of a whole model, whose errors teach
    the uncertainty of one. Raises SettingsError where the recipe and the options do not fit together, FileNotFoundError where
    a file is not there, ValueError where the recipe and the data do not fit, or `out` has a model of the other kind, and what
    `run_in_processes` raises.
    """
    if "base" not in read_mapping(recipe):
        if dev is None:
            raise SettingsError(str(recipe), "it makes a whole model, and needs --dev")
        if scale is not None:
            raise SettingsError(str(recipe), "it makes a whole model, whose labels are points; leave --scale out")
        if processes > 1:
            raise SettingsError(str(recipe), "it makes a whole model, which is too small to be divided; leave --processes out")
        _check_folder(out, ADAPTER)
        check_there(data, dev, steady)
        # Before libraries and models are loaded, of which a teacher may be a large one.
        whole = load_nano_recipe(recipe)
        read_apart(data, dev)
        from training.nano.start import Start
        from training.nano.train import train

        begun, guesser = (Start.load(model) if model else None for model in (start, errors_of))
        taught = lesson() if lesson else None
        with alone(out / WORK):
            return train(whole, data, dev, out, taught, start=begun, steady=steady, errors_of=guesser)
    for option, value in {"--steady": steady, "--errors-of": errors_of, "--teacher": lesson}.items():
        if value is not None:
            raise SettingsError(str(recipe), f"it tunes an adapter, which learns from ratings alone; leave {option} out")
    if start is not None:
        raise SettingsError(str(recipe), "it tunes an adapter, whose base the recipe names; leave --start out")
    if dev is not None:
        raise SettingsError(str(recipe), "it tunes an adapter, whose data has splits of its own; leave --dev out")
    _check_folder(out, WHOLE)
    check_there(data)
    adapter = load_tune_recipe(recipe)
    check_division(adapter, processes)
    with alone(out / WORK):
        return _tune(adapter, data, out, None, scale, processes)


def tune_from_queue(recipe: TuneRecipe, rated: Path, replay: Path | None, out: Path, processes: int = 1) -> dict[str, Any]:
    """Tune an adapter on rated clips of the queue; returns the metrics.

    rated: the exported ratings, a CSV with path, stream_id, mos, ci. They are frozen in `out` when the run starts: a run
    that goes on after a kill uses the frozen ones. replay: what the base was trained on, any source that
    `training.data.rated.read_rated` takes; None: nothing is replayed. processes: as of `run`. Raises ValueError where the
    ratings are too few.
    """
    _check_folder(out, WHOLE)
    check_division(recipe, processes)
    frozen = out / FROZEN
    check_there(replay, None if frozen.exists() else rated)
    with alone(out / WORK):
        if frozen.exists():
            remark(f"{frozen}: the ratings of this run as it began; another --out takes those of now")
        else:
            freeze(rated, frozen, recipe.seed)
        if replay is None or not recipe.replay_share:
            remark("nothing is replayed: what the base knows may fade (--data names the base's data, replay_share how much)")
        return _tune(recipe, frozen, out, replay, None, processes)


def check_there(*paths: Path | None) -> None:
    """Raise FileNotFoundError for the first that is not there, before libraries are loaded that take seconds."""
    for path in paths:
        if path is not None:
            path.stat()


def check_model(folder: Path) -> None:
    """Raise ValueError where a folder has no model that `fvq train` has made."""
    if not any((folder / file).is_file() for file in (WHOLE, ADAPTER)):
        raise ValueError(
            f"{folder}: this is no model's folder: one that `fvq train` has made holds {WHOLE} or {ADAPTER}, and metrics.json"
        )
    if not (folder / "metrics.json").is_file():
        raise ValueError(
            f"metrics.json is not in the model's folder {folder}: its training has not ended, give the same `fvq train` again"
        )


def _check_folder(out: Path, file: str) -> None:
    """Raise ValueError where the folder has a model of the other kind: of a folder with both, the adapter would be served."""
    if (out / file).exists():
        kind = "an adapter" if file == ADAPTER else "a whole model"
        raise ValueError(f"{out}: there is {kind} in it ({file}), and this recipe makes the other kind: take another --out")


def _tune(recipe: TuneRecipe, data: Path, out: Path, replay: Path | None, scale: str | None, processes: int) -> dict[str, Any]:
    from training.adapter.tune import tune

    if processes == 1:
        return tune(recipe, data, out, replay, scale)
    from training.adapter.processes import run_in_processes

    run_in_processes(processes, tune, recipe, data, out, replay, scale)
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics
