"""The forms in which `fvq score` prints the records of files: JSON lines, CSV, or a table."""

from __future__ import annotations

import csv
import json
from typing import Any, Literal, Protocol, TextIO

from streams.text import counted, csv_path, csv_text, printable

Form = Literal["table", "json", "csv"]

BAR = 10
"""Characters of the bar beside a score."""


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
        self._out = out
        self._writer = csv.DictWriter(out, self.FIELDS, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def add(self, record: dict[str, Any]) -> None:
        file = csv_path(record["file"])
        if "error" in record:
            self._writer.writerow({"file": file, "error": csv_text(record["error"])})
        for segment in record.get("segments", ()):
            self._writer.writerow({"file": file} | segment | {"faces": segment["faces"]["count"]})
        self._out.flush()

    def close(self) -> None:
        pass


class _Table:
    """Rows for people: one as soon as its file is done, and the errors in a list below them.

    The name is in the last column, so that none is cut, however long it is and however narrow the terminal.
    """

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._errors: list[tuple[str, str]] = []
        self._begun = False
        self._faceless = 0

    def add(self, record: dict[str, Any]) -> None:
        file = printable(record["file"])
        if "error" in record:
            self._errors.append((file, printable(record["error"])))
            self._row("error", "red", None, "", "", "", "", file)
            return
        self._faceless += record["faces"]["count"] == 0
        worst = min(record["segments"], key=lambda segment: segment["score"])
        self._row(
            f"{record['score']:.1f}", "", record["score"], record["level"], f"{record['uncertainty']:.0f}",
            str(record["faces"]["count"]), f"{worst['score']:.1f} at {worst['start']:.0f} s", file,
        )  # fmt: skip

    def close(self) -> None:
        if self._errors:
            self._print(f"\n{counted(len(self._errors), 'file')} could not be scored:")
        for file, reason in self._errors:
            self._print(f"  {file}: {reason}")
        if self._faceless:
            words = "its score says little" if self._faceless == 1 else "their scores say little"
            self._print(f"\nno face was found in {counted(self._faceless, 'file')}: {words}, because the model rates faces")

    def _row(self, score: str, style: str, bar: float | None, level: str, spread: str, faces: str, worst: str, file: str) -> None:
        from rich.text import Text

        from streams.local.bars import score_bar

        if not self._begun:
            self._begun = True
            self._print(f"{'score':>5}  {'':{BAR}}  {'level':<9}  {'±':>3}  {'faces':>5}  {'worst segment':<16}  file")
        shown_bar = Text(" " * BAR) if bar is None else score_bar(bar, BAR)
        cells = (f"  {level:<9}  {spread:>3}  {faces:>5}  {worst:<16}  ", file)
        self._print(Text.assemble((f"{score:>5}", style), "  ", shown_bar, *cells))

    def _print(self, line: Any) -> None:
        self._console.print(line, soft_wrap=True)
