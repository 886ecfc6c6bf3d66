"""`fvq ingest`: from live sources to segment events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import labels_of
from streams.settings import load_settings
from streams.text import printable


def ingest(
    path: Annotated[Path, typer.Option("--source", help="A video, or a folder of them.")],
    stream: Annotated[str | None, typer.Option(help="Stream id; the file's name without it.")] = None,
    fast: Annotated[bool, typer.Option(help="Announce every segment at once, not in real time.")] = False,
    segment_seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of a segment, seconds.")] = 2.0,
    label: Annotated[list[str] | None, typer.Option(help="A label of the stream, NAME=VALUE; may be repeated.")] = None,
) -> None:
    """Play files as live streams into Kafka; the segments are cut into FVQ_DATA_DIR/ingest and stay there."""
    from streams.ingest.announce import announce
    from streams.ingest.files import cut_all, events_of, find_sources, in_order, now

    settings = load_settings()
    connection, labels = parts.connection(settings), labels_of(label)
    sources = find_sources(path, stream)
    segments, problems = cut_all(sources, settings.data_dir / "ingest", segment_seconds, parts.cut_limits(settings))
    for source, reason in problems.items():
        print(f"fvq: not played: {printable(f'{source.path}: {reason}')}", file=sys.stderr)
    start = now()
    events = [event for source, cuts in segments.items() for event in events_of(source, cuts, start, labels)]
    count = announce(
        in_order(events, fast), connection, lambda event: print(printable(event.segment_id), flush=True), lambda: False
    )
    print(f"{count} segments announced", file=sys.stderr)
    raise typer.Exit(1 if problems else 0)
