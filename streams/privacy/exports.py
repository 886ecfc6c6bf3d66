"""The exports of a data folder: where `fvq queue export` and `fvq rate export` have written clips and tables.

An export lies where its user wanted it. So that it can be found again, its path is noted in `FVQ_DATA_DIR/exports`, one small
file for each. From there a stream can be removed from it, and it is deleted after its time. Only files that an export has
written are ever touched: the table, and clips named by their digests in the folder of its clips. The table is the file at its
path, also where people have replaced it: it may still say who was seen.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scorer.storage import write_whole
from streams.text import csv_text

log = logging.getLogger(__name__)
Kind = Literal["queue", "ratings"]
NOTES = "exports"
CLIP = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{8})?\.(ts|mp4|mkv|bin)")
"""Names of the clips that exports write."""

MOST_NOTE = 64 * 1024
DAY = 86400.0


@dataclass(frozen=True)
class Export:
    """An export. note: the file that tells of it. path: what its user named, a folder (queue) or CSV (ratings). at: Unix time."""

    note: Path
    kind: Kind
    path: Path
    at: float

    @property
    def table(self) -> Path:
        """Its CSV."""
        return self.path / "queue.csv" if self.kind == "queue" else self.path

    @property
    def clips(self) -> Path:
        """The folder of its clips. An export of ratings has none where the clip store is a folder."""
        return self.path / "clips" if self.kind == "queue" else self.path.with_name(self.path.name + ".clips")


def note_export(data_dir: Path, kind: Kind, path: Path, now: float) -> None:
    """Note an export before it is written. path: as its user named it. now: Unix time.

    Raises OSError; also where a file is in the place of the folder, or a folder in that of the CSV: then nothing is noted.
    """
    target = path.absolute()
    if kind == "queue" and target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if kind == "ratings" and target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    note = data_dir / NOTES / f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:32]}.json"
    told = {"kind": kind, "path": os.fsencode(target).hex(), "shown": str(target), "at": now}
    write_whole(note, [json.dumps(told, indent=1).encode()])


def kept_words(days: float) -> str:
    """For its user, how long an export stays. days: `FVQ_EXPORT_DAYS`, 0 for ever."""
    stays = f"it is deleted after {days:g} days (FVQ_EXPORT_DAYS)" if days else "it stays until somebody deletes it"
    return f"{stays}; `fvq forget STREAM` removes a stream from it while it is not moved"


def exports(data_dir: Path) -> Iterator[Export]:
    """The exports that are noted, by their paths. A damaged note is left out with a word."""
    for note in sorted((data_dir / NOTES).glob("*.json")):
        try:
            with note.open("rb") as file:
                told = json.loads(file.read(MOST_NOTE))
            if told["kind"] not in ("queue", "ratings"):
                raise ValueError("another kind")
            yield Export(note, told["kind"], Path(os.fsdecode(bytes.fromhex(told["path"]))), float(told["at"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s tells of no export: %s", note, error)


def delete_expired(data_dir: Path, days: float, now: float) -> int:
    """Delete exports that were written over `days` ago; returns how many files went. now: Unix time.

    One that cannot be deleted, as where another user wrote it, is logged and keeps no other.
    """
    count = 0
    for export in list(exports(data_dir)):
        if now - export.at > days * DAY:
            try:
                count += _delete(export)
            except OSError as error:
                log.warning("export %s cannot be deleted: %s", export.path, error)
    return count


def count_rows(export: Export, stream_id: str) -> int:
    """The number of a stream's rows in an export. Raises OSError, and ValueError where the table is not one of ours any more."""
    return sum(row_is_of(row, stream_id) for row in _rows(export.table)[1])


def forget_rows(export: Export, stream_id: str) -> int:
    """Remove a stream's rows from an export, and the clips that only they name; returns the number of rows.

    Raises as `count_rows`. The table is replaced at the end: if this stops before, the rows are still there for the next try.
    """
    columns, rows, encoding = _rows(export.table)
    gone = [row for row in rows if row_is_of(row, stream_id)]
    kept = [row for row in rows if not row_is_of(row, stream_id)]
    if not gone:
        return 0
    names = {Path(row["path"] or "").name for row in gone} - {Path(row["path"] or "").name for row in kept}
    for name in names:
        if CLIP.fullmatch(name):
            (export.clips / name).unlink(missing_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(kept)
    write_whole(export.table, [text.getvalue().encode(encoding)])
    return len(gone)


def unnamed_clips(export: Export) -> list[Path]:
    """The clips of an export that its table does not name: a killed export has copied them, and written no table yet.

    A name counts wherever it is in the table, which people may have changed. Raises OSError, but for a table that is not there.
    """
    try:
        table = export.table.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        table = ""
    named = {match.group() for match in CLIP.finditer(table)}
    return [export.clips / name for name in _names(export.clips) if CLIP.fullmatch(name) and name not in named]


def row_is_of(row: dict[str, str], stream_id: str) -> bool:
    """Whether a row of a table is a stream's. A cell has the id as `csv_text` writes it."""
    return row["stream_id"] in (stream_id, csv_text(stream_id))


def _rows(table: Path) -> tuple[list[str], list[dict[str, str]], str]:
    """A table's columns, its rows, and its encoding: a spreadsheet may have put a mark before UTF-8."""
    data = table.read_bytes()
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    reader = csv.DictReader(io.StringIO(data.decode(encoding), newline=""), restval="")
    columns = list(reader.fieldnames or ())
    if not {"path", "stream_id"} <= set(columns):
        raise ValueError(f"{table} has no columns `path` and `stream_id` any more")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{table} cannot be read: {error}") from error
    if any(None in row for row in rows):
        raise ValueError(f"{table} has rows with more cells than columns")
    return columns, rows, encoding


def _delete(export: Export) -> int:
    """Delete an export's files, then its note; returns how many files."""
    files = [export.clips / name for name in _names(export.clips) if CLIP.fullmatch(name)]
    if export.table.is_file():
        files.append(export.table)
    for file in files:
        file.unlink(missing_ok=True)
    for folder in (export.clips, export.path):
        with suppress(OSError):  # it has other files, or is the CSV
            folder.rmdir()
    export.note.unlink(missing_ok=True)
    return len(files)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
