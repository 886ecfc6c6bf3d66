"""The forms in which `fvq score` prints the records of files: JSON lines, CSV, or a table."""

from __future__ import annotations

import csv
import json
from typing import Any, Literal, Protocol, TextIO

from streams.text import csv_path, csv_text, printable

Form = Literal["table", "json", "csv"]


class Writer(Protocol):
    """Prints records as `windows.record` makes them; of a file that failed, the record has only `file` and `error`."""

    def add(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def open_writer(form: Form, out: TextIO) -> Writer:
    """The writer of a form, which prints to `out`."""
    writers: dict[Form, type[_JsonLines | _Csv | _Table]] = {"json": _JsonLines, "csv": _Csv, "table": _Table}
    return writers[form](out)


class _JsonLines:
    """One JSON object per line, in ASCII. A byte of a file name that is no UTF-8 is a lone surrogate, as in Python's strings."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, record: dict[str, Any]) -> None:
        print(json.dumps(record), file=self._out, flush=True)

    def close(self) -> None:
        pass


class _Csv:
    """One row per segment, and one row per file that failed."""

    FIELDS = ("file", "start", "duration", "score", "level", "uncertainty", "faces", "error")

    def __init__(self, out: TextIO) -> None:
        self._writer = csv.DictWriter(out, self.FIELDS, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def add(self, record: dict[str, Any]) -> None:
        file = csv_path(record["file"])
        if "error" in record:
            self._writer.writerow({"file": file, "error": csv_text(record["error"])})
            return
        for segment in record["segments"]:
            self._writer.writerow({"file": file} | segment | {"faces": segment["faces"]["count"]})

    def close(self) -> None:
        pass


class _Table:
    """A table for people, printed at the end."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.table import Column, Table

        # A pipe has no width. With rich's default of 80 columns, long file names break into lines that nobody can search for.
        self._console = Console(file=out, width=None if out.isatty() else 200)
        self._table = Table(Column("file", overflow="fold"), "score", "", "level", "±", "faces", "worst segment")

    def add(self, record: dict[str, Any]) -> None:
        from rich.text import Text

        from streams.local.bars import score_bar

        file = Text(printable(record["file"]))
        if "error" in record:
            self._table.add_row(file, Text("error", "red"), "", Text(printable(record["error"])))
            return
        worst = min(record["segments"], key=lambda segment: segment["score"])
        self._table.add_row(
            file, f"{record['score']:.1f}", score_bar(record["score"]), record["level"],
            f"{record['uncertainty']:.0f}", str(record["faces"]["count"]), f"{worst['score']:.1f} at {worst['start']:.0f} s",
        )  # fmt: skip

    def close(self) -> None:
        self._console.print(self._table)
