"""`fvq score`, `fvq up`, `fvq worker`, `fvq doctor`: score files or live streams, and check the setup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag
from streams.settings import load_settings

if TYPE_CHECKING:
    from streams.local.output import Form


def score(
    files: Annotated[list[Path], typer.Argument(help="Videos, or folders of them.")],
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one CSV row per segment.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the scores over time.")] = None,
    model: Annotated[str | None, typer.Option(help="A shipped name or a model's directory, instead of FVQ_MODEL.")] = None,
) -> None:
    """Score files without any server: one score per file, and the course over its segments."""
    from streams.local.files import Scoring, score_files

    settings = load_settings(model=model)
    scoring = Scoring(
        model=settings.model,
        device=settings.device,
        registry=parts.registry(settings),
        batch_size=settings.batch_size,
        workers=settings.sampler_workers,
        window_timeout=settings.sample_timeout,
        memory_mb=settings.sample_memory_mb,
    )
    form: Form = "json" if as_json else "csv" if as_csv else "table"
    raise typer.Exit(score_files(files, scoring, form=form, plot=plot))


def up(
    source: Annotated[Path, typer.Option(help="A video, or a folder of them: each plays as a live stream.")],
    fast: Annotated[bool, typer.Option(help="Play as fast as it can be scored, not in real time.")] = False,
    segment_seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of a segment, seconds.")] = 2.0,
    as_json: JsonFlag = False,
) -> None:
    """Run everything on this machine: broker, worker, store; play the source and show its scores."""
    from streams.local.up import run_up

    raise typer.Exit(run_up(load_settings(), source, fast=fast, segment_seconds=segment_seconds, as_json=as_json))


def worker() -> None:
    """Score segments from Kafka until told to stop."""
    from streams.worker import run_worker

    raise typer.Exit(run_worker(load_settings()))


def doctor(
    as_json: JsonFlag = False,
    setup: Annotated[bool, typer.Option(help="Create InfluxDB's buckets and its downsampling task first.")] = False,
) -> None:
    """Print the effective settings and check broker, sink, model, ffmpeg and system libraries."""
    from streams.doctor import run_doctor

    raise typer.Exit(run_doctor(load_settings(), as_json, setup))
