"""`fvq synth`, `train`, `evaluate`, `ablate`, `crossvalidate`: from clips to a model, and how good it is."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings, refuse, told_of
from streams.cli.table import output
from streams.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from streams.settings import Settings
    from training.nano.teacher import Lesson


def synth(
    out: Annotated[Path, typer.Argument(help="Folder for the degraded segments and labels.csv.")],
    sources: Annotated[list[Path], typer.Argument(help="Clean clips and stills, or folders of them.")],
    steps: Annotated[int, typer.Option(min=0, help="Degradations of each reference; more than there are means all.")] = 26,
    variants: Annotated[int, typer.Option(min=1, help="References made of each source, each degraded --steps times.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.2, max=3600, help="Length of a segment, seconds.")] = 2.0,
    jobs: Annotated[int, typer.Option(min=1, help="Encoders that run at once.")] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files.")] = 0,
    scenes: Annotated[
        int, typer.Option(min=0, help="Make that many scenes with labels in two steps, instead of --variants.")
    ] = 0,
    plain: Annotated[
        int, typer.Option(min=0, help="With --scenes: make that many more that show a person and nothing else.")
    ] = 0,
    kinds: Annotated[
        str | None, typer.Option(help="Only these kinds of damage, as x264,blur; scenes have more kinds.", show_default="all")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="With --scenes: write a picture of all scenes to look at.")] = None,
) -> None:
    """Make degraded segments with labels from clean clips and stills."""
    from training.data.alone import alone
    from training.data.damage.catalogue import LADDERS
    from training.data.degradations import KINDS
    from training.data.references import find_sources
    from training.data.synth import synthesise

    known = tuple(LADDERS if scenes else KINDS)
    wanted = known if kinds is None else tuple(filter(None, map(str.strip, kinds.split(","))))
    if not wanted:
        raise SettingsError("--kinds", f"names no kind of damage; there are {', '.join(known)}")
    if unknown := [kind for kind in wanted if kind not in known]:
        raise SettingsError("--kinds", f"no kind of damage is called {', '.join(unknown)}; there are {', '.join(known)}")
    if scenes:
        from training.data.scenes.make import make_scenes
        from training.data.scenes.sheet import ENDINGS

        if sheet is not None:
            from streams.local.plot import check_picture

            check_picture(sheet, "--sheet", ENDINGS)
        make = partial(make_scenes, out, find_sources(sources, out), scenes=scenes, plain=plain, steps=steps, seconds=seconds)
        with alone(out):
            print(make(jobs=jobs, seed=seed, kinds=wanted, sheet=sheet))
        return
    refuse({"--sheet": sheet, "--plain": plain}, "belongs to scenes: give --scenes N with it")
    clips = find_sources(sources, out)
    with alone(out):
        print(synthesise(out, clips, steps=steps, kinds=wanted, variants=variants, seconds=seconds, jobs=jobs, seed=seed))


def train(
    recipe: Annotated[
        Path, typer.Option(help="YAML recipe: of a whole model, or, if it names a base, of an adapter on it (training/recipes).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model, its card, metrics and curves; FVQ_MODEL takes it.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="labels.csv of `fvq synth`; for an adapter also a CSV with path and mos, FVQ-20K or CFVQA. "
            "With --from-queue: what the base was trained on, to be replayed."
        ),
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(help="labels.csv of other people, only to measure; an adapter's data has its own splits."),
    ] = None,
    from_queue: Annotated[bool, typer.Option("--from-queue", help="Tune an adapter on the rated clips of the queue.")] = False,
    rated: Annotated[Path | None, typer.Option(help="CSV of `fvq rate export`, instead of the rating page's ratings.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Scale of the ratings in --data, WORST-BEST: 1-5, 0-10, 0-100, or 100-0 where more is worse."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that train an adapter together on this machine: one for each GPU.")
    ] = 1,
    teacher: Annotated[
        str | None,
        typer.Option(help="A model whose scores a whole model learns too: as for `fvq evaluate`, or the address of `fvq serve`."),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="With --teacher: a folder of more clips, which only the teacher scores.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="A whole small model that is trained on with new clips: as for `fvq evaluate`.")
    ] = None,
    steady: Annotated[
        Path | None,
        typer.Option(help="labels.csv of clips of 4 s, within which a whole model's score is not to move."),
    ] = None,
    errors_of: Annotated[
        str | None,
        typer.Option(
            help="A whole small model whose errors teach the uncertainty, if not that of --start, which knows the clips."
        ),
    ] = None,
) -> None:
    """Train a model by a recipe; a run that was interrupted in the same folder continues."""
    from training.run import check_there, run

    if unlabelled is not None and teacher is None:
        raise SettingsError("--unlabelled", "are clips that the teacher scores: give --teacher with it")
    if from_queue:
        other_models = {"--teacher": teacher, "--start": start, "--steady": steady, "--errors-of": errors_of}
        refuse(other_models, "belongs to a whole model's recipe, without --from-queue")
        refuse({"--scale": scale}, "belongs to --data without --from-queue: what people rated on the rating page are points")
        metrics = _train_from_queue(load_settings(), recipe, rated, data, dev, out, processes)
    else:
        check_scale(scale)
        refuse({"--rated": rated}, "belongs to --from-queue; without it, --data are the clips to train on")
        if data is None:
            raise SettingsError("--data", "is missing: the clips to train on; or give --from-queue for those that were rated")
        from scorer.find import find_model

        check_there(unlabelled)
        settings = cache(load_settings)  # not loaded where no other model is needed, and once where several are
        lesson = None if teacher is None else partial(_lesson, settings(), teacher, unlabelled)
        begun, guesser = (
            None if model is None else find_model(model, parts.registry(settings()))[0] for model in (start, errors_of)
        )
        metrics = run(
            recipe, data, dev, out, scale=scale, processes=processes, lesson=lesson, start=begun, steady=steady, errors_of=guesser
        )
    shown = ("version", "srcc", "srcc_within", "plcc", "rmse", "ladders")
    if metrics:
        from training.evaluation.agreement import without_nan

        print(json.dumps(without_nan({name: metrics[name] for name in shown if name in metrics})))


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, `name@version` of the registry, or a directory.")],
    data: Annotated[Path | None, typer.Option(help="labels.csv of segments that the model was not trained on.")] = None,
    train_data: Annotated[Path | None, typer.Option(help="labels.csv that the learned baselines are fitted on.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a scatter of scores against labels.")] = None,
    benchmark: Annotated[
        Path | None, typer.Option(help="Instead of --data: folder of a benchmark; made there with --people, else taken as it is.")
    ] = None,
    people: Annotated[
        list[Path] | None, typer.Option(help="Clean clips and stills of people that no model was trained on, or a folder.")
    ] = None,
    ladder: Annotated[list[str] | None, typer.Option(help="A ladder of the benchmark that is made; else all ladders.")] = None,
    scenes: Annotated[int, typer.Option(min=0, help="Scenes of each person in the benchmark that is made.")] = 0,
    doubles: Annotated[int, typer.Option(min=0, help="Doubly damaged clips of each reference.")] = 4,
    against: Annotated[list[str] | None, typer.Option(help="Another model, in the benchmark's table.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same benchmark.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Agreement of a model's scores with labels, or its figures on a benchmark, beside baselines."""
    if (data is None) == (benchmark is None):
        raise SettingsError("fvq evaluate", "what shall the model be evaluated on? Give either --data or --benchmark")
    from training.run import check_there

    if benchmark is not None:
        refuse({"--plot": plot}, "belongs to --data")
        if (ladder or scenes) and not people:
            raise SettingsError("fvq evaluate", "--ladder and --scenes say what a benchmark is made of: they need --people")
        check_there(train_data)
        names = [model, *(against or [])]
        _benchmark(
            names, benchmark, people, ladder, scenes=scenes, doubles=doubles, seed=seed, train_data=train_data, as_json=as_json
        )
        return
    if people or ladder or scenes or against:
        raise SettingsError("fvq evaluate", "--people, --ladder, --scenes and --against belong to --benchmark")
    assert data is not None
    check_there(data, train_data)
    if plot is not None:
        from streams.local.plot import check_picture

        check_picture(plot)
    from scorer.load import load_engine

    settings = load_settings()
    engine = load_engine(model, settings.device, parts.registry(settings))  # before libraries are loaded that take seconds
    from training.evaluation import report

    results = report.evaluate(engine, data, train_data)
    _print(results, report.tables, as_json)
    if plot is not None:
        report.plot(results, plot)  # last: what was found in minutes is told also where this fails


def ablate(
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    data: Annotated[Path, typer.Option(help="labels.csv of the training segments.")],
    dev: Annotated[Path, typer.Option(help="labels.csv of segments of other people.")],
    work: Annotated[Path, typer.Option(help="The folder `work` in the model that `fvq train` made.")],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, whose mean is shown.")] = 2,
    as_json: JsonFlag = False,
) -> None:
    """Fit the model without each of its parts, to see what each is worth."""
    from training.run import check_there

    check_there(data, dev)
    _check_work(work)
    from training.nano import ablate as ablation
    from training.recipe import load_nano_recipe

    results = ablation.ablate(load_nano_recipe(recipe), data, dev, work, seeds)
    _print(results, lambda rows: [ablation.table(rows)], as_json)


def crossvalidate(
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    data: Annotated[Path, typer.Option(help="labels.csv of the training segments.")],
    work: Annotated[Path, typer.Option(help="The folder `work` in the model that `fvq train` made.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts that the people are divided into.")] = 5,
) -> None:
    """Fit the recipe on four fifths of the people and score the fifth, five times; prints JSON."""
    from training.run import check_there

    check_there(data)
    _check_work(work)
    from training.evaluation.agreement import without_nan
    from training.nano.crossvalidate import crossvalidate as run
    from training.recipe import load_nano_recipe

    print(json.dumps(without_nan(run(load_nano_recipe(recipe), data, work, folds))))


def check_scale(scale: str | None) -> None:
    """Raises `SettingsError` where --scale names none."""
    from training.data.scale import parse_scale

    if scale is not None:
        with told_of("--scale"):
            parse_scale(scale)


def _check_work(work: Path) -> None:
    """Raise `SettingsError` where no training has been: all clips would be sampled there, for an hour."""
    if not any((work / part).is_dir() for part in ("train", "dev")):
        raise SettingsError("--work", f"{work} has no samples of a training: name the folder `work` in the model of `fvq train`")


def _benchmark(
    names: list[str],
    folder: Path,
    people: list[Path] | None,
    ladders: list[str] | None,
    *,
    scenes: int,
    doubles: int,
    seed: int,
    train_data: Path | None,
    as_json: bool,
) -> None:
    """Make the benchmark where people are given, and print the figures of the models, the first of which is judged."""
    from scorer.load import load_engine

    settings, jobs = load_settings(), os.cpu_count() or 1
    # Before the clips are made, which takes hours, and before libraries are loaded that take seconds.
    models = [load_engine(name, settings.device, parts.registry(settings)) for name in names]
    from training.data.alone import alone
    from training.data.benchmark import Plan, make_benchmark
    from training.data.damage.catalogue import LADDERS
    from training.data.references import find_sources
    from training.evaluation.benchmark import evaluate_benchmark, tables

    if people:
        with told_of("--ladder"):
            plan = Plan(ladders=tuple(ladders or LADDERS), scenes=scenes, doubles=doubles, seed=seed)
        sources = find_sources(people, folder)
        with alone(folder):
            make_benchmark(folder, sources, plan, jobs)
    results = evaluate_benchmark(models, folder, jobs, train_data)
    _print(results, tables, as_json)


def _print(results: dict[str, Any], tables: Callable[[dict[str, Any]], Sequence[Table]], as_json: bool) -> None:
    """Print results as tables, or as JSON for scripts, which has no figure that is not a number."""
    from training.evaluation.agreement import without_nan

    if as_json:
        print(json.dumps(without_nan(results)))
        return
    for table in tables(results):
        output().print(table)


def _lesson(settings: Settings, name: str, unlabelled: Path | None) -> Lesson:
    """The teacher, and the clips that it scores beside those with labels.

    name: of a model as `load_engine` takes it, or the address of a served scorer.
    """
    from training.nano.teacher import Lesson

    if name.startswith(("http://", "https://")):
        served = parts.remote_scorer(settings, [name])
        served.connect()
        return Lesson(served, unlabelled)
    from scorer.load import load_engine

    return Lesson(load_engine(name, settings.device, parts.registry(settings)), unlabelled)


def _train_from_queue(
    settings: Settings, recipe: Path, rated: Path | None, replay: Path | None, dev: Path | None, out: Path, processes: int
) -> dict[str, Any]:
    """Tune an adapter on rated clips of the queue; returns the metrics.

    rated: CSV of `fvq rate export`; None: the present ratings of the rating page. replay: what the base was trained on.
    processes: that train together. A run that goes on has its ratings, and asks neither the queue nor the rating page for them.
    """
    from training.adapter.replay import FROZEN
    from training.recipe import load_tune_recipe, read_mapping
    from training.run import tune_from_queue

    if dev is not None:
        raise SettingsError("--dev", "is for whole models; an adapter's data has splits of its own")
    if "base" not in read_mapping(recipe):
        reason = "it makes a whole model; --from-queue tunes an adapter, whose recipe names its base, as nano_adapter.yaml does"
        raise SettingsError(str(recipe), reason)
    tune_recipe = load_tune_recipe(recipe)
    exported = settings.data_dir / "rated.csv"
    if rated is None and not (out / FROZEN).exists():
        from streams.cli.rate import check_some, lines_of
        from streams.privacy.exports import note_export
        from streams.rating.export import export, read_queue
        from streams.rating.store import RatingStore

        store, queue = RatingStore(settings.data_dir), parts.queue(settings)
        examples = read_queue(store, queue)  # before the export is noted: the sweep deletes what is
        note_export(settings.data_dir, "ratings", exported, time.time())
        rows = export(store, examples, queue.store.read, exported)
        print("\n".join(lines_of(rows)), file=sys.stderr)
        check_some(rows, exported, len(examples), queue, store)
    return tune_from_queue(tune_recipe, rated or exported, replay, out, processes)
