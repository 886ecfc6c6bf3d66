"""The forms in which `fvq score` prints files whose names are odd."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, get_args

import pytest

from streams.local.output import Form, open_writer

NAMES = [
    "Morning show [dQw4w9WgXcQ].mp4",
    "old [/x].mp4",
    "[/]",
    "[red]a[/red].mp4",
    "trailing \\",
    "a\nb.mp4",
    "a\x1b[2Jb.mp4",
    "a\u202egpm.mp4",
    "晚间新闻 🎬.mp4",
    os.fsdecode(b"caf\xe9.mp4"),
    "=cmd|'x'!A1.mp4",
    ":smile:.mp4",
]


def record(name: str) -> dict[str, Any]:
    segment = {"start": 0.0, "duration": 2.0, "score": 91.3, "level": "excellent", "uncertainty": 5.0, "faces": {"count": 1}}
    return {"file": name, "score": 91.3, "level": "excellent", "uncertainty": 5.0, "faces": {"count": 1}, "segments": [segment]}


def printed(form: Form, records: list[dict[str, Any]]) -> str:
    """What a form prints, as the bytes of standard output in UTF-8."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    writer = open_writer(form, out)
    for one_record in records:
        writer.add(one_record)
    writer.close()
    out.flush()
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *((name, name) for name in NAMES if name.isprintable()),
        ("a\nb.mp4", r"a\nb.mp4"),
        ("a\x1b[2Jb.mp4", r"a\x1b[2Jb.mp4"),
        ("a\u202egpm.mp4", r"a\u202egpm.mp4"),
        (os.fsdecode(b"caf\xe9.mp4"), r"caf\xe9.mp4"),
    ],
)
def test_the_table_shows_names_as_they_are(name: str, shown: str) -> None:
    table = printed("table", [record(name), {"file": name, "error": f"{name} cannot be read"}])
    lines = table.splitlines()
    assert lines[0].endswith("  file")
    assert lines[1].startswith(" 91.3  ")
    assert lines[1].endswith(f"  {shown}")
    assert lines[2].startswith("error  ")
    assert lines[2].endswith(f"  {shown}")
    assert lines[3:] == ["", "1 file could not be scored:", f"  {shown}: {shown} cannot be read"]


def test_a_row_is_there_as_soon_as_its_file_is_done_and_no_name_is_cut() -> None:
    out = io.StringIO()
    writer = open_writer("table", out)
    long = "x" * 300 + ".mp4"
    writer.add(record("a.mp4"))
    assert len(out.getvalue().splitlines()) == 2
    writer.add(record(long))
    assert out.getvalue().splitlines()[2].endswith(long), "one line, whatever the width of a terminal"


def test_below_the_table_stands_that_a_score_without_a_face_says_little() -> None:
    faceless = record("slate.mp4") | {"faces": {"count": 0}}
    last = "no face was found in 1 file: its score says little, because the model rates faces"
    assert printed("table", [record("a.mp4"), faceless]).splitlines()[-1] == last
    assert "no face was found in 2 files: their scores" in printed("table", [faceless, faceless])
    assert "no face" not in printed("table", [record("a.mp4")])


def test_json_gives_the_very_name_back() -> None:
    lines = printed("json", [record(name) for name in NAMES]).splitlines()
    assert [json.loads(line)["file"] for line in lines] == NAMES
    assert all(line.isascii() for line in lines)


def test_csv_has_one_line_for_each_record_and_no_formula() -> None:
    records = [given for name in NAMES for given in (record(name), {"file": name, "error": name})]
    text = printed("csv", records)
    assert len(text.splitlines()) == 1 + len(records)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(records)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert [row["file"] for row in rows[::2] if row["file"].isascii()][:2] == NAMES[:2]


@pytest.mark.parametrize("form", get_args(Form))
def test_names_are_printed_in_any_encoding(form: Form) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    writer = open_writer(form, out)
    for name in NAMES:
        writer.add(record(name))
    writer.close()
    out.flush()
