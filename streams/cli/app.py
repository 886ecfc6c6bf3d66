"""The command line: `fvq`. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from scorer.errors import MediaError, ModelError
from streams.cli.rate import app as rate_app
from streams.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help="Live face-video quality monitoring."
)
topics_app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
app.add_typer(topics_app, name="topics")
alerts_app = typer.Typer(no_args_is_help=True, help="The alerts' policy, and how good it is.")
app.add_typer(alerts_app, name="alerts")
models_app = typer.Typer(no_args_is_help=True, help="The model registry: versions, and which one serves.")
app.add_typer(models_app, name="models")
queue_app = typer.Typer(no_args_is_help=True, help="The training queue: clips that wait to be rated.")
app.add_typer(queue_app, name="queue")
app.add_typer(rate_app, name="rate")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(help="Videos, or folders of them.")],
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one CSV row per segment.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the scores over time.")] = None,
    model: Annotated[str | None, typer.Option(help="A shipped name or a model's directory, instead of FVQ_MODEL.")] = None,
) -> None:
    """Score files without any server: one score per file, and the course over its segments."""
    from streams.local.files import score_files

    form = "json" if as_json else "csv" if as_csv else "table"
    raise typer.Exit(score_files(files, load_settings(model=model), form=form, plot=plot))


@app.command()
def up(
    source: Annotated[Path, typer.Option(help="A video, or a folder of them: each plays as a live stream.")],
    fast: Annotated[bool, typer.Option(help="Play as fast as it can be scored, not in real time.")] = False,
    segment_seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of a segment, seconds.")] = 2.0,
    as_json: JsonFlag = False,
) -> None:
    """Run everything on this machine: broker, worker, store; play the source and show its scores."""
    from streams.local.up import run_up

    raise typer.Exit(run_up(load_settings(), source, fast=fast, segment_seconds=segment_seconds, as_json=as_json))


@app.command()
def worker() -> None:
    """Score segments from Kafka until told to stop."""
    from streams.worker import run_worker

    raise typer.Exit(run_worker(load_settings()))


@app.command()
def ingest(
    source: Annotated[Path, typer.Option(help="A video, or a folder of them.")],
    stream: Annotated[str | None, typer.Option(help="Stream id; the file's name without it.")] = None,
    fast: Annotated[bool, typer.Option(help="Announce every segment at once, not in real time.")] = False,
    segment_seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of a segment, seconds.")] = 2.0,
    label: Annotated[list[str] | None, typer.Option(help="A label of the stream, NAME=VALUE; may be repeated.")] = None,
) -> None:
    """Play files as live streams into Kafka; the segments are cut into FVQ_DATA_DIR/ingest and stay there."""
    from streams.ingest.files import announce, cut, events_of, find_sources, in_order, now
    from streams.kafka.connection import client_options

    settings = load_settings()
    labels = dict(_label(one) for one in label or [])
    sources = find_sources(source, stream)
    segments = {one.stream_id: cut(one, settings.data_dir / "ingest", segment_seconds) for one in sources}
    began = now()
    events = [event for one in sources for event in events_of(one, segments[one.stream_id], began, labels)]
    count = announce(
        in_order(events, fast),
        _broker(settings),
        lambda event: print(event.segment_id, flush=True),
        lambda: False,
        client_options(settings),
    )
    print(f"{count} segments announced", file=sys.stderr)


@topics_app.command("create")
def topics_create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics that are keyed by stream.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    retention_hours: Annotated[int, typer.Option(min=1, help="Hours that messages are kept.")] = 168,
) -> None:
    """Create the topics that are missing; those that are there stay as they are."""
    from streams.kafka.connection import client_options
    from streams.kafka.topics import create_topics

    settings = load_settings()
    for name in create_topics(_broker(settings), partitions, replication, retention_hours, client_options(settings)):
        print(f"created {name}")


@topics_app.command("check")
def topics_check(
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions that are wanted.")] = None,
    replication: Annotated[int | None, typer.Option(min=1, help="Copies that are wanted.")] = None,
    retention_hours: Annotated[int | None, typer.Option(min=1, help="Hours that messages are wanted to be kept.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the topics with what is wanted; the exit code is 1 where they differ."""
    from streams.kafka.connection import client_options
    from streams.kafka.topics import check_topics

    settings = load_settings()
    reports = check_topics(_broker(settings), partitions, replication, retention_hours, client_options(settings))
    for one in reports:
        print(
            json.dumps(vars(one))
            if as_json
            else f"{one.name}: {one.problem or f'{one.partitions} partitions, replication {one.replication}'}"
        )
    raise typer.Exit(1 if any(one.problem for one in reports) else 0)


PolicyOption = Annotated[Path | None, typer.Option(help="YAML policy; the one of FVQ_ALERT_POLICY without it.")]
LimitsOfOption = Annotated[list[str] | None, typer.Option("--label", help="A label of the stream, NAME=VALUE; may be repeated.")]


@alerts_app.command("check")
def alerts_check(policy: PolicyOption = None, label: LimitsOfOption = None) -> None:
    """Check a policy and its receivers' secrets; print the limits of a stream with these labels as JSON."""
    from streams.alerts.policy import check_policy

    settings = load_settings()
    print(check_policy(policy or settings.alert_policy).of(dict(_label(one) for one in label or [])).model_dump_json(indent=2))


@alerts_app.command("evaluate")
def alerts_evaluate(
    policy: PolicyOption = None,
    label: LimitsOfOption = None,
    days: Annotated[float, typer.Option(min=1, help="Stream-days that are made, in all.")] = 70.0,
    cuts: Annotated[bool, typer.Option(help="Streams whose shots change framing, not of one camera.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same streams.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Detection delay, missed incidents and false alarms on streams with known incidents, made from real scores."""
    from streams.alerts.backtest import evaluate as run
    from streams.alerts.backtest import table
    from streams.alerts.policy import load_policy

    limits = load_policy(policy or load_settings().alert_policy).of(dict(_label(one) for one in label or []))
    report = run(limits, days, cuts, seed).report()
    print(json.dumps(report) if as_json else table(report))


@app.command()
def doctor(
    as_json: JsonFlag = False,
    setup: Annotated[bool, typer.Option(help="Create InfluxDB's buckets and its downsampling task first.")] = False,
) -> None:
    """Print the effective settings and check broker, sink, model, ffmpeg and system libraries."""
    from streams.doctor import run_doctor

    raise typer.Exit(run_doctor(load_settings(), as_json, setup))


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder for the degraded segments and labels.csv.")],
    sources: Annotated[list[Path], typer.Argument(help="Clean clips and stills, or folders of them.")],
    steps: Annotated[int, typer.Option(min=1, help="Degradations of each reference; more than there are means all.")] = 26,
    variants: Annotated[int, typer.Option(min=1, help="References made of each source, each degraded by so many steps.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of a segment, seconds.")] = 2.0,
    jobs: Annotated[int, typer.Option(min=1, help="Encoders that run at once.")] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files.")] = 0,
) -> None:
    """Make degraded segments with labels from clean clips and stills."""
    from training.data.references import find_sources
    from training.data.synth import synthesise

    print(synthesise(out, find_sources(sources), steps=steps, variants=variants, seconds=seconds, jobs=jobs, seed=seed))


@app.command()
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
        Path | None, typer.Option(help="labels.csv of other people, only looked at; an adapter's data has its own splits.")
    ] = None,
    from_queue: Annotated[bool, typer.Option("--from-queue", help="Tune an adapter on the rated clips of the queue.")] = False,
    rated: Annotated[Path | None, typer.Option(help="Their ratings as exported, instead of the rating page's own.")] = None,
) -> None:
    """Train a model by a recipe; what was begun in the folder is taken up again."""
    from training.run import run

    if from_queue:
        from streams.models.publish import tune_from_queue

        metrics = tune_from_queue(load_settings(), recipe, rated, data, dev, out)
    elif rated is not None:
        raise ValueError("--rated belongs to --from-queue; without it, --data are the clips to train on")
    elif data is None:
        raise ValueError("--data is missing: the clips to train on; or give --from-queue for those that were rated")
    else:
        metrics = run(recipe, data, dev, out)
    shown = ("version", "srcc", "srcc_within", "plcc", "rmse", "ladders")
    if metrics:
        print(json.dumps({name: metrics[name] for name in shown if name in metrics}))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, `name@version` of the registry, or a directory.")],
    data: Annotated[Path, typer.Option(help="labels.csv of segments that the model was not trained on.")],
    train_data: Annotated[Path | None, typer.Option(help="labels.csv that the learned baselines are fitted on.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a scatter of scores against labels.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Agreement of a model's scores with labels, beside baselines."""
    from rich.console import Console

    from scorer.engine import load_engine
    from streams.models.follow import registry_of
    from training.evaluation import report

    settings = load_settings()
    found = report.evaluate(load_engine(model, settings.device, registry_of(settings)), data, train_data)
    if plot is not None:
        report.plot(found, plot)
    if as_json:
        print(json.dumps(found))
        return
    for table in report.tables(found):
        Console().print(table)


@app.command()
def ablate(
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    data: Annotated[Path, typer.Option(help="labels.csv of the training segments.")],
    dev: Annotated[Path, typer.Option(help="labels.csv of segments of other people.")],
    work: Annotated[Path, typer.Option(help="The folder `work` in the model that `fvq train` made.")],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, whose mean is shown.")] = 2,
    as_json: JsonFlag = False,
) -> None:
    """Fit the model without each of its parts, to see what each is worth."""
    from rich.console import Console

    from training.nano import ablate as ablation
    from training.recipe import load_nano_recipe

    found = ablation.ablate(load_nano_recipe(recipe), data, dev, work, seeds)
    print(json.dumps(found)) if as_json else Console().print(ablation.table(found))


@app.command()
def crossvalidate(
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    data: Annotated[Path, typer.Option(help="labels.csv of the training segments.")],
    dev: Annotated[Path, typer.Option(help="labels.csv of segments of other people.")],
    work: Annotated[Path, typer.Option(help="The folder `work` in the model that `fvq train` made.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts that the people are divided into.")] = 5,
) -> None:
    """Fit the recipe on four fifths of the people and score the fifth, five times; prints JSON."""
    from training.nano.crossvalidate import crossvalidate as run
    from training.recipe import load_nano_recipe

    print(json.dumps(run(load_nano_recipe(recipe), data, dev, work, folds)))


@app.command()
def promote(
    model: Annotated[Path, typer.Argument(help="Directory of the model that `fvq train` made.")],
    reference: Annotated[
        Path, typer.Option(help="Labelled clips that stay the same for all promotions; labels.csv or rated CSV.")
    ],
    rated: Annotated[
        Path | None,
        typer.Option(help="What it was trained on, unless from the queue: the clips of its test split are judged by."),
    ] = None,
    name: Annotated[str, typer.Option(help="The model whose place it takes, as FVQ_MODEL names it.")] = "nano",
    gate: Annotated[
        Path | None, typer.Option(help="YAML with the gate's limits, instead of those of the model's recipe.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a model serve, if the gate holds: about as good on the reference, better on the newly rated."""
    from streams.models.publish import promote_model

    raise typer.Exit(promote_model(load_settings(), model, name, reference, rated, gate, as_json))


@queue_app.command("ls")
def queue_ls(
    stream: Annotated[str | None, typer.Option(help="Only this stream's clips.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the clips that wait, oldest first."""
    from streams.cli.queue import list_examples

    list_examples(load_settings(), stream, as_json)


@queue_app.command("show")
def queue_show(example: Annotated[str, typer.Argument(help="The clip's id, or its first characters.")]) -> None:
    """Print all that is known of a clip, as JSON."""
    from streams.cli.queue import show_example

    show_example(load_settings(), example)


@queue_app.command("export")
def queue_export(
    folder: Annotated[Path, typer.Argument(help="Folder for the clips and queue.csv; made if it is missing.")],
) -> None:
    """Copy all clips into a folder, with a table whose column `mos` is to be filled in."""
    from streams.cli.queue import export

    raise typer.Exit(export(load_settings(), folder))


@queue_app.command("rm")
def queue_rm(
    examples: Annotated[list[str] | None, typer.Argument(help="Clips' ids, or their first characters.")] = None,
    stream: Annotated[str | None, typer.Option(help="All clips of this stream, with their ratings.")] = None,
) -> None:
    """Delete clips for good: from the queue, the clip store and the ratings."""
    from streams.cli.queue import remove

    raise typer.Exit(remove(load_settings(), examples or [], stream))


@models_app.command("ls")
def models_ls(as_json: JsonFlag = False) -> None:
    """List all versions."""
    from streams.models.publish import list_models

    list_models(load_settings(), as_json)


@models_app.command("show")
def models_show(model: Annotated[str, typer.Argument(help="`name@version`, or a name for its current version.")]) -> None:
    """Print a version's manifest: files, digests, metrics, gate."""
    from streams.models.publish import show_model

    show_model(load_settings(), model)


@models_app.command("rollback")
def models_rollback(name: Annotated[str, typer.Argument(help="The model.")]) -> None:
    """Let the version before serve again."""
    from streams.models.publish import roll_back

    roll_back(load_settings(), name)


def _broker(settings: Settings) -> str:
    if not settings.broker:
        raise SettingsError("FVQ_BROKER", "is not set: name the Kafka servers as host:port")
    return settings.broker


def _label(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise SettingsError("--label", f"{text!r} is not NAME=VALUE")
    return name, value


def main() -> None:
    """Run the command; what a user can mend is one line on standard error, exit code 2 for settings and 1 for the rest."""
    try:
        app()
    except SettingsError as error:
        _fail(error, 2)
    except (MediaError, ModelError, ValueError) as error:
        _fail(error, 1)
    except OSError as error:
        if not error.filename:
            raise
        _fail(f"{error.filename}: {error.strerror}", 1)
    except ImportError as error:
        _fail(f"{error.name} is not installed: pip install 'fvq-monitor[serve,train]'", 1)
    except Exception as error:
        # Late import: the broker's client takes a while, and only some commands need it.
        from streams.kafka.connection import BrokerError

        if not isinstance(error, BrokerError):
            raise
        _fail(error, 1)


def _fail(error: object, code: int) -> None:
    print(f"fvq: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
