"""Labels files: the rows that `fvq synth` writes beside its segments."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scorer.storage import write_whole
from training.data.degradations import REFERENCE_LABEL
from training.data.digests import first_in_both
from training.data.tabular import number_of, read_table

NEEDED = ("path", "content", "kind", "step", "mos")
"""Columns that a labels file must have."""

FIGURES = ("vmaf", "ssim", "psnr")
"""Columns of figures against the reference, which may be empty."""

NUMBERS = ("mos", "step", "relative", "source_grade", *FIGURES)
"""Columns of numbers, in which a spreadsheet may write decimal commas."""


def read_labels(labels: Path) -> list[dict[str, Any]]:
    """Rows of a labels file (`path,content,kind,step,mos,...`), with paths relative to the file resolved and numbers parsed;
    as spreadsheets write them, see `training.data.tabular`.

    `person`, by which data is split, is the content where the file has no such column. `relative` and `source_grade` are those
    of a flawless source where the file has no such columns: labels are then against the clip's own reference, `absolute` is
    False. Raises ValueError that names the file and the line where a column is missing, a number is wrong, or a clip is there
    twice.
    """
    columns, lines = read_table(labels)
    rows: list[dict[str, Any]] = []
    line_of: dict[str, int] = {}
    for number, texts in lines:
        row = {column: text.strip() for column, text in texts.items()}
        # Clips that nobody damaged on purpose may be of no kind.
        if missing := [column for column in NEEDED if column not in row or not (row[column] or column == "kind")]:
            raise ValueError(f"{labels}, line {number}: it has no {', '.join(missing)}; needed are {', '.join(NEEDED)}")
        row |= {column: number_of(row[column]) for column in NUMBERS if column in row}
        try:
            parsed = {"mos": _number(row, "mos"), "step": _number(row, "step")}
            grades = {"relative": min(100.0, 100 * parsed["mos"] / REFERENCE_LABEL), "source_grade": REFERENCE_LABEL}
            parsed |= {column: _number(row, column) if row.get(column) else value for column, value in grades.items()}
            if parsed["step"] % 1:
                raise ValueError(f"step is {row['step']}, not a whole number")
            for column in FIGURES:
                if row.get(column):
                    _number(row, column)
            if outside := [column for column in ("mos", "relative", "source_grade") if not 0 <= parsed[column] <= 100]:
                raise ValueError(f"{outside[0]} {row[outside[0]]} is outside 0-100")
            if (first := line_of.setdefault(row["path"], number)) != number:
                raise ValueError(f"{row['path']} is there already, in line {first}: a clip has one label, and counts once")
        except ValueError as error:
            raise ValueError(f"{labels}, line {number}: {error}") from None
        row["person"] = row.get("person") or row["content"]
        path = {"path": labels.parent / row["path"], "absolute": bool(row.get("source_grade"))}
        rows.append(row | path | parsed | {"step": int(parsed["step"])})
    if not rows:
        raise ValueError(f"{labels}: no rows" + (f"; its columns are {', '.join(columns)}" if columns else ""))
    return rows


def _number(row: Mapping[str, str], column: str) -> float:
    """A finite number in a row. Raises ValueError that names the column."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is {row[column]}, not a number")
    return value


def people_of(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The people of a labels file's rows. Rows of scenes have `people`; their `person` is a cast, with `+` between its names."""
    return {name for row in rows for name in (row["person"].split("+") if row.get("people") else [row["person"]])}


def read_apart(data: Path, dev: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of two labels files, to train on and to judge by. Raises ValueError where one is wrong, and as `check_apart`."""
    rows, judging = read_labels(data), read_labels(dev)
    check_apart(data, rows, dev, judging)
    return rows, judging


def check_apart(data: Path, rows: Sequence[Mapping[str, Any]], dev: Path, judging: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError where the rows of two labels files, to train on and to judge by, show the same person or the same clip."""
    if both := sorted(people_of(rows) & people_of(judging)):
        named = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
        raise ValueError(f"{dev}: {named} is in {data} too, and a model is judged by people that it was not trained on")
    if same := first_in_both((row["path"] for row in judging), (row["path"] for row in rows)):
        raise ValueError(
            f"{dev}: {same[0]} is the same clip as {same[1]} of {data}: a model is judged by clips that it was not trained on"
        )


def write_labels(labels: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows' columns, all at once: a run that is killed leaves no half of a file. Returns its path."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(labels, (file.getvalue().encode(),))
    return labels


def fingerprint(labels: Path) -> str:
    """Short hash of a labels file; metrics and cards name the data by it."""
    return hashlib.sha256(labels.read_bytes()).hexdigest()[:12]
