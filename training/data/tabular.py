"""Tables as spreadsheets write them: encodings, separators and decimal commas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""The first bytes of a file, and its encoding; UTF-32's mark begins with UTF-16's, and is looked for first."""

SEPARATORS = ",;\t"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, or else in Windows-1252.

    Raises ValueError that names the file where it is none of these.
    """
    data = path.read_bytes()
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        try:
            # What spreadsheets of western Europe write; of Latin-1 it is a superset.
            text = data.decode("cp1252" if encoding == "utf-8" else encoding)
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ValueError(f"{path}, line {line}: neither UTF-8, UTF-16 nor Windows-1252; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: it has zero bytes, as UTF-16 without a byte order mark or no text; save it as UTF-8")
    return text


def read_table(path: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The columns of a table, in lower case, and its rows: number of the line, value by column; '' where a row is short.

    The separator is the one of comma, semicolon and tab that gives the header the most columns. Raises ValueError that names
    the file, also where a column is there twice: of its two values one would be lost.
    """
    text = read_text(path)
    first, _, rest = text.partition("\n")
    named = 1 if first.strip().lower().startswith("sep=") else 0  # a line that Excel reads
    body = rest if named else text
    header = body.partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{path}: no table: {error}") from error
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise ValueError(f"{path}: the column {twice} is there twice: delete or rename one of the two")

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        try:
            for values in reader:
                if any(value.strip() for value in values):
                    filled = values + [""] * (len(columns) - len(values))
                    yield reader.line_num + named, dict(zip(columns, filled, strict=False))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num + named}: {error}") from error

    return columns, rows()


def number_of(text: str) -> str:
    """The text of a number with a point for a decimal comma."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
