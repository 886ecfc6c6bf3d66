"""Labels files: the rows that `fvq synth` writes beside its segments."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scorer.storage import write_whole
from training.data.degradations import REFERENCE_LABEL
from training.data.tabular import read_text

NEEDED = ("path", "content", "kind", "step", "mos")
"""Columns that a labels file must have."""


def read_labels(labels: Path) -> list[dict[str, Any]]:
    """Rows of a labels file (`path,content,kind,step,mos,...`), with paths relative to the file resolved and numbers parsed.

    `person`, by which data is split, is the content where the file has no such column. `relative` and `source_grade` are those
    of a flawless source where the file has no such columns: labels are then against the clip's own reference, `absolute` is
    False. Raises ValueError that names the file and the line where a column is missing or a number is wrong.
    """
    rows: list[dict[str, Any]] = []
    with io.StringIO(read_text(labels), newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if missing := [column for column in NEEDED if row.get(column) is None]:
                raise ValueError(f"{labels}, line {number}: it has no {', '.join(missing)}; needed are {', '.join(NEEDED)}")
            try:
                grades = {column: float(row.get(column) or default) for column, default in _grades(row).items()}
                parsed = {"path": labels.parent / row["path"], "mos": float(row["mos"]), "step": int(row["step"]), **grades}
                rows.append({"person": row["content"], "absolute": bool(row.get("source_grade"))} | row | parsed)
            except ValueError as error:
                raise ValueError(f"{labels}, line {number}: {error}") from error
            for column in ("mos", "relative", "source_grade"):
                if not 0 <= rows[-1][column] <= 100:
                    raise ValueError(f"{labels}, line {number}: {column} {rows[-1][column]} is outside 0-100")
    if not rows:
        raise ValueError(f"{labels}: no rows")
    return rows


def people_of(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The people that the rows of a labels file show: a scene's are named in `people`, those of others in `person`."""
    return {name for row in rows for name in (row["people"].split() if row.get("people") else [row["person"]])}


def read_apart(data: Path, dev: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of two labels files, to train on and to judge by. Raises ValueError where one is wrong, or both show a person."""
    rows, judging = read_labels(data), read_labels(dev)
    shown, judged = ({row.get("people") or row["person"] for row in of_file} for of_file in (rows, judging))
    if both := sorted(shown & judged):
        named = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
        raise ValueError(f"{dev}: {named} is in {data} too, and a model is judged by people that it was not trained on")
    return rows, judging


def write_labels(labels: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows' columns, all at once: a run that is killed leaves no half of a file. Returns its path."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(labels, (file.getvalue().encode(),))
    return labels


def _grades(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a label's two steps, and their values where the file has none."""
    return {"relative": min(100.0, 100 * float(row["mos"]) / REFERENCE_LABEL), "source_grade": REFERENCE_LABEL}


def fingerprint(labels: Path) -> str:
    """Short hash of a labels file; metrics and cards name the data by it."""
    return hashlib.sha256(labels.read_bytes()).hexdigest()[:12]
