"""`fvq score`, `fvq up`, `fvq worker`, `fvq doctor`: score files or live streams, and check the setup."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings, settings_of_process
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.local.output import Form


def score(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE|FOLDER|URL...", help="Videos, folders of them, or their addresses.")
    ],
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one CSV row per segment.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the scores over time.")] = None,
    model: Annotated[str | None, typer.Option(help="A shipped name or a model's directory, instead of FVQ_MODEL.")] = None,
) -> None:
    """Score files without any server: one score per file, and the course over its segments.

    An address is fetched as a worker fetches segments: FVQ_FETCH_PRIVATE, FVQ_FETCH_HOSTS, FVQ_FETCH_MAX_MB and
    FVQ_FETCH_TIMEOUT say what is allowed.
    """
    from streams.local.files import Scoring, score_files

    if as_json and as_csv:
        raise SettingsError("--json or --csv", "give one of them")
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
    fetch = parts.fetch_limits(settings) if any("://" in file for file in files) else None
    raise typer.Exit(score_files(files, scoring, fetch=fetch, form=form, plot=plot))


def up(
    source: Annotated[
        list[str],
        typer.Option(metavar="PATH|[NAME=]URL", help="A video or a folder of them, played as live; or live sources."),
    ],
    fast: Annotated[bool, typer.Option(help="Play files as fast as they can be scored, not in real time.")] = False,
    segment_seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of a file's segment, seconds.")] = 2.0,
    watch: Annotated[bool, typer.Option("--watch", help="A recorder's folder: score each file that it completes.")] = False,
    seconds: Annotated[float | None, typer.Option(min=1, help="End a live source after this time, not at Ctrl-C.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="When all is played, keep the wall until Ctrl-C.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run everything on this machine: broker, worker, store, wall; play or follow the source and show its scores."""
    from streams.local.live import check_sources, find_live, run_live_up
    from streams.local.up import run_up

    settings = load_settings()
    # `docker stop` and `timeout` end a run as Ctrl-C does: with its summary, and nothing of it is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if check_sources(source, watch):
        if fast:
            raise SettingsError("--fast", "is for files: a live source is as fast as it is")
        following = find_live(settings, source, segment_seconds, watch)
        raise typer.Exit(run_live_up(settings, following, seconds=seconds, as_json=as_json, keep=keep))
    if seconds is not None:
        raise SettingsError("--seconds", "is for live sources: a file ends by itself")
    path = Path(source[0])
    raise typer.Exit(run_up(settings, path, fast=fast, segment_seconds=segment_seconds, as_json=as_json, keep=keep))


def worker() -> None:
    """Score segments from Kafka until told to stop."""
    from streams.worker_start import start_worker

    raise typer.Exit(start_worker(settings_of_process("worker", load_settings)))


def doctor(
    as_json: JsonFlag = False,
    setup: Annotated[bool, typer.Option(help="Create InfluxDB's buckets and its downsampling task first.")] = False,
    role: Annotated[
        Literal["worker", "ingest", "web", "rate"] | None,
        typer.Option("--for", help="Check what this command needs, and nothing else; without what it needs it fails."),
    ] = None,
    uri: Annotated[str | None, typer.Option(help="Fetch, decode and score this segment, and say each step.")] = None,
    init_uri: Annotated[str | None, typer.Option(help="With --uri: its init segment.")] = None,
) -> None:
    """Check broker, sink, model, ffmpeg and system libraries; then print the settings that differ from the defaults."""
    from streams.doctor.run import run_doctor

    if init_uri is not None and uri is None:
        raise SettingsError("--init-uri", "goes with --uri: name the segment too")
    raise typer.Exit(run_doctor(load_settings(), as_json, setup, role, uri, init_uri))
