"""Text from outside (names of files, streams and models, reasons, messages) made fit for one line of a terminal, table or log."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that are escaped: control characters, marks of direction, lone surrogates, ends of lines and paragraphs."""

_JOINERS = "\u200c\u200d"
"""Marks that scripts and emoji need between letters: they are kept."""

_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet runs as a formula."""


def printable(text: str, keep: str = "") -> str:
    """The text with everything escaped that a terminal obeys or that nobody sees, so that it stays on one line.

    A newline becomes `\\n`, ESC becomes `\\x1b`. A byte of a file name that is no UTF-8 becomes `\\xff`. keep: characters
    that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in _INVISIBLE and char not in _JOINERS + keep else char for char in text
    )


def csv_path(text: str) -> str:
    """A path for a cell of a CSV: printable, and no formula, but still the path of the same file."""
    cell = printable(text)
    return f"./{cell}" if cell.startswith(_FORMULA) else cell


def csv_text(text: str) -> str:
    """A sentence for a cell of a CSV: printable, and no formula."""
    cell = printable(text)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of printable texts as lines of a table, in columns as a terminal shows them: wide letters take two cells."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in few words: `0-3, 7`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _escaped(char: str) -> str:
    code = ord(char)
    # How Python writes the bytes of a file name that are no UTF-8 ("surrogateescape").
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(char)[1:-1]


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 clip`, `2 clips`. plural: where it is not the noun with an s."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
