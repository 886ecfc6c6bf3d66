"""`fvq queue`: what waits to be rated, and how it is taken away."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scorer.errors import MediaError
from streams.cli.rate import forget_clips, forget_stream
from streams.events import StreamDeletion, TrainingExample
from streams.queue.topic import clip_store, open_queue, read_queue
from streams.settings import Settings

SHOWN_ID = 12
"""Characters of an id in a table; as many as are needed may be given to the commands."""

COLUMNS = ("path", "mos", "stream_id", "example_id", "segment_id", "start", "score", "uncertainty", "reason", "model")


def list_examples(settings: Settings, stream: str | None, as_json: bool) -> None:
    """Print what waits; of one stream, or of all."""
    examples = [one for one in read_queue(settings) if stream in (None, one.stream_id)]
    if as_json:
        print(json.dumps([one.model_dump(mode="json", exclude_none=True) for one in examples]))
        return
    table = Table(title=f"{len(examples)} clips wait to be rated", title_justify="left")
    for column in ("clip", "stream", "start (UTC)", "score", "±", "why", "model", "kB"):
        table.add_column(column, justify="right" if column in ("score", "±", "kB") else "left")
    for one in examples:
        table.add_row(
            one.example_id[:SHOWN_ID], Text(one.stream_id), f"{one.start:%Y-%m-%d %H:%M:%S}", f"{one.score:.1f}",
            f"{one.uncertainty:.1f}", one.reason, Text(f"{one.model.name}@{one.model.version}"), f"{one.size / 1000:.0f}",
        )  # fmt: skip
    Console().print(table)


def show_example(settings: Settings, example: str) -> None:
    """Print an example."""
    print(json.dumps(_find(read_queue(settings), example).model_dump(mode="json", exclude_none=True), indent=1))


def export(settings: Settings, folder: Path) -> int:
    """Copy the clips; returns the exit code: 1 where a clip is missing, which is said, and the others are there."""
    store, missing = clip_store(settings), 0
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    examples = read_queue(settings)
    with (folder / "queue.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for one in examples:
            try:
                data = store.read(one.clip_uri)
            except MediaError as error:
                print(f"fvq: {error.reason}", file=sys.stderr)
                missing += 1
                continue
            # Two streams may have the same clip.
            name = f"{one.example_id}-{one.clip_uri.split('/')[-2][:8]}.{one.clip_uri.rsplit('.', 1)[-1]}"
            (clips / name).write_bytes(data)
            known = {"path": f"clips/{name}", "mos": "", "start": one.start.isoformat(), "model": one.model.version}
            row = one.model_dump(include=set(COLUMNS) - set(known)) | known
            writer.writerow({name: _plain(value) for name, value in row.items()})
    print(f"{len(examples) - missing} clips in {folder}, {missing} missing")
    return 1 if missing else 0


def remove(settings: Settings, examples: list[str], stream: str | None) -> int:
    """Delete clips, or all of a stream; returns the exit code: 1 where a clip is in another store, which is said.

    Raises `ValueError` where nothing is named, or there is no such clip.
    """
    if bool(examples) == (stream is not None):
        raise ValueError("name clips by their ids, or a stream by --stream")
    store = clip_store(settings)
    if settings.broker:
        with open_queue(settings) as topic:
            if stream is not None:
                # First, so that what a worker queues from now on is seen here or deleted by the worker.
                topic.add([StreamDeletion(stream_id=stream, deleted_at=datetime.now(UTC))])
                found = topic.refresh().of_stream(stream)
            else:
                found = _find_all(topic.refresh().examples(), examples)
            topic.take_back(found)
    else:
        found = [] if stream is not None else _find_all(read_queue(settings), examples)
    # The store last: whatever stops this, a clip that nothing names is swept.
    if stream is not None:
        # A rating page elsewhere reads the deletion from the topic.
        forget_stream(settings, stream)
        print(f"{store.delete_stream(stream)} clips deleted of stream {stream}")
        return 0
    forget_clips(settings, [(one.stream_id, one.example_id) for one in found])
    code = 0
    for one in found:
        try:
            store.delete(one.clip_uri)
        except MediaError as error:
            print(f"fvq: {error.reason}: run this where FVQ_CLIP_STORE is that store", file=sys.stderr)
            code = 1
    print(f"{len(found)} clips deleted")
    return code


def _find_all(waiting: list[TrainingExample], names: list[str]) -> list[TrainingExample]:
    """The examples of these ids; the same clip may wait in several streams."""
    ids = {_find(waiting, name).example_id for name in names}
    return [one for one in waiting if one.example_id in ids]


def _find(examples: list[TrainingExample], name: str) -> TrainingExample:
    found = [one for one in examples if name and one.example_id.startswith(name)]
    if not found:
        raise ValueError(f"no clip {name!r} waits; `fvq queue ls` lists them")
    if len({one.example_id for one in found}) > 1:
        raise ValueError(f"{name!r} begins the ids of {len(found)} clips: give more characters")
    return found[0]


def _plain(value: object) -> object:
    """A cell that a spreadsheet does not take for a formula: streams name themselves."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
