"""`fvq ingest`: from live sources to segment events."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streams import parts
from streams.cli.options import JsonFlag, labels_of, live, load_settings
from streams.errors import SettingsError
from streams.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from streams.ingest.base import Plan, Stream
    from streams.ingest.folder.source import FolderPlan
    from streams.ingest.names import Listed
    from streams.ingest.run import LiveOptions
    from streams.life import Life
    from streams.settings import Settings

app = typer.Typer(
    help="Announce segments: of files that play as live streams, of live HLS, DASH, RTMP and SRT sources, of recorders' folders."
)

NAME = "ingester"
"""What the log of live sources calls this process."""

SourceOption = Annotated[Path, typer.Option("--source", help="A video, or a folder of them.")]
StreamOption = Annotated[str | None, typer.Option(help="Stream id; the file's name without it.")]
FastFlag = Annotated[bool, typer.Option(help="Announce every segment at once, not in real time.")]
SecondsOption = Annotated[float, typer.Option(min=0.5, max=60, help="Length of a segment, seconds.")]
LabelOption = Annotated[list[str] | None, typer.Option(help="A label of the stream, NAME=VALUE; may be repeated.")]


@app.callback(invoke_without_command=True)
def ingest(
    context: typer.Context,
    path: Annotated[Path | None, typer.Option("--source", help="A video, or a folder of them: as `fvq ingest files`.")] = None,
    stream: StreamOption = None,
    fast: FastFlag = False,
    segment_seconds: SecondsOption = 2.0,
    label: LabelOption = None,
) -> None:
    """Without a command: `fvq ingest files`."""
    if context.invoked_subcommand is None:
        if path is None:
            commands = "files, hls, dash, push, folder, status"
            raise SettingsError("--source", f"is missing: name a video or a folder, or a command: {commands}")
        files(path, stream, fast, segment_seconds, label)
    elif path is not None or stream is not None or fast or label:
        raise SettingsError("fvq ingest", f"options of a command follow its name: fvq ingest {context.invoked_subcommand} ...")


@app.command()
def files(
    path: SourceOption,
    stream: StreamOption = None,
    fast: FastFlag = False,
    segment_seconds: SecondsOption = 2.0,
    label: LabelOption = None,
) -> None:
    """Play files as live streams into Kafka; the segments are cut into FVQ_DATA_DIR/ingest and stay for FVQ_INGEST_HOURS."""
    from streams.ingest.announce import announce
    from streams.ingest.files import cut_all, events_of, find_sources, in_order, note_announcements, now
    from streams.privacy.sweep import sweep

    settings = load_settings()
    connection, labels = parts.connection(settings), labels_of(label)
    sources = find_sources(path, stream)
    sweep(parts.folder_limits(settings), time.time())
    segments, problems = cut_all(sources, settings.data_dir / "ingest", segment_seconds, parts.cut_limits(settings))
    for source, reason in problems.items():
        print(f"fvq: not played: {printable(f'{source.path}: {reason}')}", file=sys.stderr)
    start = now()
    if not fast:
        for cuts in segments.values():
            note_announcements(cuts, start.timestamp())
    events = [event for source, cuts in segments.items() for event in events_of(source, cuts, start, labels)]
    count = announce(
        in_order(events, fast), connection, lambda event: print(printable(event.segment_id), flush=True), lambda: False
    )
    print(f"{counted(count, 'segment')} announced", file=sys.stderr)
    raise typer.Exit(1 if problems else 0)


UrlsArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME=]URL...", help="A stream's name, and its address.")]
ListOption = Annotated[Path | None, typer.Option("--list", help="A file with one source a line, read again when it changes.")]
RenditionsOption = Annotated[str, typer.Option(help="Which encodings: highest, all, or a rendition's name.")]
FromOption = Annotated[Literal["edge", "start"], typer.Option("--from", help="Where to join: newest or oldest segment.")]
ClockOption = Annotated[Literal["auto", "source", "arrival"], typer.Option(help="Whose clock dates the segments.")]
LabelsOption = Annotated[list[str] | None, typer.Option("--label", help="A label of all streams, NAME=VALUE; may be repeated.")]
OnceFlag = Annotated[
    bool,
    typer.Option("--once", help="End when all streams have ended; one that is away for 5 minutes is given up: exit code 1."),
]


@app.command()
def hls(
    urls: UrlsArgument = None,
    list_file: ListOption = None,
    renditions: RenditionsOption = "highest",
    start: FromOption = "edge",
    clock: ClockOption = "auto",
    label: LabelsOption = None,
    once: OnceFlag = False,
) -> None:
    """Follow live HLS sources and announce their segments, until told to stop."""
    from streams.ingest.hls.source import SourcePlan

    _follow_addresses(SourcePlan, urls or [], list_file, renditions, start, clock, label, once)


@app.command()
def dash(
    urls: UrlsArgument = None,
    list_file: ListOption = None,
    renditions: RenditionsOption = "highest",
    start: FromOption = "edge",
    clock: ClockOption = "auto",
    label: LabelsOption = None,
    once: OnceFlag = False,
) -> None:
    """Follow live DASH sources and announce their segments, until told to stop."""
    from streams.ingest.dash.source import SourcePlan

    _follow_addresses(SourcePlan, urls or [], list_file, renditions, start, clock, label, once)


def _follow_addresses(
    kind: Callable[[Stream, str, str, bool], Plan],
    urls: list[str],
    list_file: Path | None,
    renditions: str,
    start: Literal["edge", "start"],
    clock: Literal["auto", "source", "arrival"],
    label: list[str] | None,
    once: bool,
) -> None:
    """Follow sources that are loaded from addresses, by plans of this kind, until told to stop."""
    import uvloop

    from streams.ingest.base import Stream
    from streams.ingest.names import sources_of
    from streams.ingest.run import run_live

    def run(settings: Settings, life: Life) -> None:
        life.starts()
        labels = labels_of(label)

        def plan(name: str, url: str) -> Plan:
            return kind(Stream(name, labels=labels, clock=clock, from_start=start == "start"), url, renditions, once)

        _check_given("URL", "[NAME=]URL", urls, list_file)
        options = _live_options(settings, life, plan, lambda lines: sources_of(urls, lines), list_file, once)
        # Most of a load's time is spent in the loop and its sockets: uvloop's take less of it than asyncio's own.
        with _sweeping(settings):
            uvloop.run(run_live(options, parts.playlist_reader(settings)))

    live(NAME, run)


def _sweeping(settings: Settings) -> AbstractContextManager[None]:
    """The data folder is swept as long as the context lasts: this may be the only process that has it."""
    from streams.kafka.agent import running
    from streams.privacy.sweep import sweep_agent

    return running([sweep_agent(parts.folder_limits(settings))])


def _check_given(what: str, written: str, given: list[str], list_file: Path | None) -> None:
    """Raise `SettingsError` where no source is named. what: what a source is called. written: how it is written."""
    if not given and list_file is None:
        raise SettingsError(what, f"no source is given: name them as {written}, or a file of them with --list")


def _live_options(
    settings: Settings,
    life: Life,
    plan: Callable[[str, str], Plan],
    sources_with: Callable[[list[str]], Listed],
    list_file: Path | None,
    once: bool = False,
) -> LiveOptions:
    """What is followed: sources that are given, and those in a list, which is read again when it changes.

    plan: makes the plan of a source from its name and address. sources_with: all sources, from the list's lines.
    """
    from streams.ingest.names import SourceList
    from streams.ingest.run import LiveOptions

    connection = parts.connection(settings)
    if list_file is not None and once:
        raise SettingsError("--once", "does not go with --list, which is followed until the process is told to stop")
    source_list = SourceList(list_file) if list_file is not None else None
    sources = sources_with((source_list.lines() or []) if source_list is not None else [])

    def read_list() -> Listed | None:
        lines = source_list.lines() if source_list is not None else None
        return sources_with(lines) if lines is not None else None

    changed = read_list if source_list is not None else None
    return LiveOptions(connection, sources, plan, settings.host_of("ingest"), settings.ingest_port, changed, once, life.stops)


@app.command()
def push(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=ADDRESS...",
            help="A name, and rtmp://HOST/APPLICATION/KEY or srt://HOST:PORT?passphrase=...; ?mode=listener takes encoders.",
        ),
    ] = None,
    list_file: Annotated[
        Path | None,
        typer.Option("--list", help="A file with one source a line, read again when it changes; `ps` does not show it."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label of all streams, NAME=VALUE; may be repeated.")] = None,
) -> None:
    """Take streams that encoders push by RTMP and SRT, or pull them, and announce their segments, until told to stop.

    RTMP sources share a port, and are told apart by application and stream key. Each SRT listener needs a port of its own.
    """
    import asyncio

    from streams.ingest.base import Stream
    from streams.ingest.push.address import parse_address, push_sources_of
    from streams.ingest.push.source import PushPlan
    from streams.ingest.push.spool import SpoolReader, prepare
    from streams.ingest.run import run_live
    from streams.media import ffmpeg

    def run(settings: Settings, life: Life) -> None:
        life.starts()
        ffmpeg.program("fvq ingest push")
        labels, means = labels_of(label), parts.push_means(settings)

        def plan(name: str, address: str) -> PushPlan:
            return PushPlan(Stream(name, labels=labels), parse_address(address), means)

        given = addresses or []
        _check_given("ADDRESS", "NAME=ADDRESS", given, list_file)
        options = _live_options(settings, life, plan, lambda lines: push_sources_of(given, lines), list_file)
        prepare(means.spool, means.limits, settings.media_roots)
        with _sweeping(settings):
            asyncio.run(run_live(options, SpoolReader(means.spool)))

    live(NAME, run)


@app.command()
def folder(
    folders: Annotated[list[str], typer.Argument(metavar="[NAME=]DIR...", help="A stream's name, and its recorder's folder.")],
    start: Annotated[
        Literal["edge", "start"], typer.Option("--from", help="Only files that are completed from now on, or all.")
    ] = "edge",
    segment_seconds: SecondsOption = 2.0,
    cut_over: Annotated[float, typer.Option(min=1, max=3600, help="Cut files that are longer, seconds.")] = 15.0,
    keep_hours: Annotated[
        float | None, typer.Option(min=0.1, max=8760, help="Delete what was cut earlier than FVQ_INGEST_HOURS says, hours.")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=1, max=3600, help="A file that nobody was seen to close is complete after this time, seconds.")
    ] = 5.0,
    poll: Annotated[bool, typer.Option("--poll", help="List the folder every second, and do not ask the kernel.")] = False,
    label: Annotated[list[str] | None, typer.Option(help="A label of all streams, NAME=VALUE; may be repeated.")] = None,
) -> None:
    """Watch recorders' folders and announce their complete files, until told to stop."""
    import asyncio

    from streams.ingest.base import Stream
    from streams.ingest.folder.segmenter import Segmenter, SegmenterOptions
    from streams.ingest.folder.source import FolderPlan
    from streams.ingest.names import folders_of
    from streams.ingest.run import LiveOptions, run_live

    def run(settings: Settings, life: Life) -> None:
        life.starts()
        connection, labels = parts.connection(settings), labels_of(label)
        sources = folders_of(folders)
        if keep_hours is not None and 0 < settings.ingest_hours < keep_hours:
            reason = (
                f"{keep_hours:g} is more than FVQ_INGEST_HOURS ({settings.ingest_hours:g}), after which every process deletes it"
            )
            raise SettingsError("--keep-hours", f"{reason}: set that")
        kept = keep_hours or settings.ingest_hours or None
        options = SegmenterOptions(settings.data_dir / "ingest" / "folder", segment_seconds, cut_over, kept)
        with Segmenter(options, parts.cut_limits(settings)) as segmenter, _sweeping(settings):

            def plan(name: str, path: str) -> FolderPlan:
                stream = Stream(name, labels=labels, from_start=start == "start")
                return FolderPlan(stream, Path(path), segmenter, settle, poll)

            followed = LiveOptions(
                connection, sources, plan, settings.host_of("ingest"), settings.ingest_port, stopping=life.stops
            )
            asyncio.run(run_live(followed, parts.playlist_reader(settings)))

    live(NAME, run)


@app.command()
def status(as_json: JsonFlag = False) -> None:
    """Show the live sources of the `fvq ingest` that runs at FVQ_INGEST_HOST and FVQ_INGEST_PORT."""
    from streams.ingest.pages import ask_status, table_of

    settings = load_settings()
    sources = ask_status(settings.host_of("ingest"), settings.ingest_port)
    if as_json:
        print(json.dumps({"sources": sources}, indent=2))
    else:
        print("\n".join(table_of(sources)))
