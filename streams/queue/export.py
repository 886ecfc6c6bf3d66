"""Export: copies the queue's clips into a folder, with a table in which people fill in the column `mos`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from scorer.storage import write_whole
from streams.errors import MediaError
from streams.events import TrainingExample
from streams.queue.clips import ClipStore
from streams.text import csv_text

COLUMNS = ("path", "mos", "stream_id", "example_id", "segment_id", "start", "score", "uncertainty", "reason", "model")
CLIP = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}\.\w+")
"""Names that this gives to clips."""


def export_queue(examples: Sequence[TrainingExample], store: ClipStore, folder: Path) -> list[str]:
    """Copy clips into FOLDER/clips and list them in FOLDER/queue.csv; returns why clips are missing, one sentence for each.

    folder: made if it is missing. Clips of an earlier export that are not in this one are deleted: the table names them no more,
    so nothing else would. Raises `OSError` where the store does not answer, or the folder cannot be written, and as
    `check_nothing_is_filled_in`.
    """
    check_nothing_is_filled_in(folder)
    table, clips = folder / "queue.csv", folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    missing, kept = [], set()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for example in examples:
        try:
            data = store.read(example.clip_uri)
        except MediaError as error:
            missing.append(error.reason)
            continue
        # Two streams may have the same clip, so the name has the beginning of the stream's folder in it.
        name = f"{example.example_id}-{example.clip_uri.split('/')[-2][:8]}.{example.clip_uri.rsplit('.', 1)[-1]}"
        (clips / name).write_bytes(data)
        kept.add(name)
        cells = {"path": f"clips/{name}", "mos": "", "start": example.start.isoformat(), "model": example.model.version}
        row = example.model_dump(include=set(COLUMNS) - set(cells)) | cells
        writer.writerow({column: csv_text(value) if isinstance(value, str) else value for column, value in row.items()})
    # The table before stands until this one is whole: nothing else names the clips that are there.
    write_whole(table, [text.getvalue().encode()])
    for old in clips.iterdir():
        if old.name not in kept and CLIP.fullmatch(old.name):
            old.unlink()
    return missing


def check_nothing_is_filled_in(folder: Path) -> None:
    """Raise `ValueError` where a folder has a table with ratings, in whatever way a spreadsheet saved it.

    A table without a column `mos` was changed by somebody: its ratings may be in a column of another name, or encoding.
    """
    table = folder / "queue.csv"
    try:
        text = table.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return
    heading = text.partition("\n")[0]
    rows = csv.DictReader(text.splitlines(), delimiter=next((mark for mark in ",;\t" if mark in heading), ","))
    if text and "mos" not in (rows.fieldnames or ()):
        raise ValueError(f"{table} has no column `mos`, so it is another table than was exported: name another folder")
    if any((row["mos"] or "").strip() for row in rows):
        raise ValueError(f"{table} has ratings in its column `mos`, which a new export would delete: name another folder")
