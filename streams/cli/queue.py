"""`fvq queue`: list, show, export and delete the clips that wait to be rated."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, lists, load_settings
from streams.cli.table import print_table
from streams.errors import SettingsError
from streams.text import counted, printable

app = typer.Typer(help="The training queue: clips that wait to be rated.")

SHOWN_ID = 12
"""The table shows this many characters of an id. The commands take fewer, as long as only one clip's id begins with them."""


@app.callback(invoke_without_command=True)
def queue(context: typer.Context, as_json: JsonFlag = False) -> None:
    """The training queue: clips that wait to be rated. Without a command: `fvq queue ls`."""
    if lists(context, as_json):
        queue_ls(as_json=as_json)


@app.command("ls")
def queue_ls(
    stream: Annotated[str | None, typer.Option(help="Only this stream's clips.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the clips that wait, oldest first."""
    from streams.queue.clips import folder_of, place_of

    place = parts.queue(load_settings())
    left_out: list[str] = []
    waiting, _ = place.read(left_out)
    alone = [uri for uri in left_out if stream is None or place_of(uri).startswith(folder_of(stream))]
    if alone:
        clips = counted(len(alone), "stored clip is", "stored clips are")
        beside = alone[0] if len(alone) == 1 else f"them: the first is {alone[0]}"
        print(f"fvq: {clips} not listed, as no example that can be read lies beside {printable(beside)}", file=sys.stderr)
    examples = [example for example in waiting if stream in (None, example.stream_id)]
    if as_json:
        print(json.dumps([example.model_dump(mode="json", exclude_none=True) for example in examples]))
        return
    rows = [
        (
            example.example_id[:SHOWN_ID], example.stream_id, f"{example.start:%Y-%m-%d %H:%M:%S}", f"{example.score:.1f}",
            f"{example.uncertainty:.1f}", example.reason, f"{example.model.name}@{example.model.version}",
            f"{example.size / 1000:.0f}",
        )
        for example in examples
    ]  # fmt: skip
    columns = ("clip", "stream", "start (UTC)", "score", "±", "why", "model", "kB")
    title = f"{counted(len(rows), 'clip waits', 'clips wait')} to be rated"
    print_table(columns, rows, title=title, whole=("clip", "stream"))
    if not waiting:
        print(f"none in {place.shown}", file=sys.stderr)


@app.command("show")
def queue_show(example: Annotated[str, typer.Argument(help="The clip's id, or its first characters.")]) -> None:
    """Print all that is known of a clip, as JSON."""
    from streams.queue.removal import find_example

    waiting, _ = parts.queue(load_settings()).read()
    print(json.dumps(find_example(waiting, example).model_dump(mode="json", exclude_none=True), indent=1))


@app.command("export")
def queue_export(
    folder: Annotated[Path, typer.Argument(help="Folder for the clips and queue.csv; made if it is missing.")],
) -> None:
    """Copy all clips into a folder, with a table whose column `mos` is to be filled in."""
    from streams.privacy.exports import kept_words, note_export
    from streams.queue.export import check_nothing_is_filled_in, export_queue

    settings = load_settings()
    place = parts.queue(settings)
    examples, _ = place.read()
    check_nothing_is_filled_in(folder)  # before it is noted: the sweep deletes what is
    note_export(settings.data_dir, "queue", folder, time.time())
    print(kept_words(settings.export_days), file=sys.stderr)
    missing = export_queue(examples, place.store, folder)
    for reason in missing:
        print(f"fvq: {printable(reason)}", file=sys.stderr)
    print(f"{counted(len(examples) - len(missing), 'clip')} in {printable(str(folder))}, {len(missing)} missing")
    raise typer.Exit(1 if missing else 0)


@app.command("rm")
def queue_rm(
    examples: Annotated[list[str] | None, typer.Argument(help="Clips' ids, or their first characters.")] = None,
    stream: Annotated[str | None, typer.Option(help="All clips of this stream, with their ratings.")] = None,
) -> None:
    """Delete clips for good: from the queue, the clip store and the ratings."""
    from streams.queue.removal import remove_clips, remove_stream

    if bool(examples) == (stream is not None):
        raise SettingsError("EXAMPLES", "name clips by their ids, or a stream by --stream")
    settings = load_settings()
    place, ratings = parts.queue(settings), parts.rating_data(settings)
    if stream is not None:
        clips = remove_stream(place, stream, lambda: ratings.forget_stream(stream))
        print(f"{counted(clips, 'clip')} deleted of stream {printable(stream)}")
        return
    removed = remove_clips(place, examples or [], ratings.forget_examples)
    for reason in removed.elsewhere:
        print(f"fvq: {printable(reason)}; it still waits: run this with FVQ_CLIP_STORE as that store", file=sys.stderr)
    print(f"{counted(removed.clips, 'clip')} deleted")
    raise typer.Exit(1 if removed.elsewhere else 0)
