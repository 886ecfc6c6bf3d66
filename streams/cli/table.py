"""What commands show to people: how far they are, and tables.

In a table, what a person copies into another command is never cut and never broken into lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.text import printable

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 10_000
"""A pipe has no width: every row stays one line there, which `grep` finds."""

LINE_SECONDS = 30.0
"""Between two lines about a long command in a log file, as `training.data.progress` has them."""

LEAST_COLUMNS = 8
"""Cells of the terminal that a column which may be broken into lines keeps, at least. A wide letter takes two."""


@contextmanager
def progress_shown() -> Iterator[Callable[[str], None]]:
    """Gives a function that takes a line about how far a long command is, and shows it on standard error.

    A terminal has the newest line, and none at the end. Else a line is printed every `LINE_SECONDS`, for a log file.
    """
    is_watched, told = sys.stderr.isatty(), time.monotonic()

    def show(line: str) -> None:
        nonlocal told
        if is_watched:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if is_watched:
            show("")


def output() -> Console:
    """The console that tables are printed to: as wide as the terminal, or as wide as they are."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", whole: Sequence[str] = ()) -> None:
    """Print rows of texts under their columns. whole: the columns of ids; the others fold where the terminal is narrow.

    Where the ids alone are wider than the terminal, the table is too, and the terminal breaks its lines. Without a row the title
    is all that is printed.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    shown = [[printable(cell) for cell in row] for row in rows]
    longest = [max([cell_len(column), *(cell_len(row[place]) for row in shown)]) for place, column in enumerate(columns)]
    needed = [length if column in whole else min(length, LEAST_COLUMNS) for column, length in zip(columns, longest, strict=True)]
    width = sum(needed) + 3 * len(columns) + 1  # a border before each column with a space on both sides, and the last border
    table = Table(
        *(
            Column(Text(column), no_wrap=column in whole, overflow="fold", min_width=least)
            for column, least in zip(columns, needed, strict=True)
        ),
    )
    if title:
        Console().print(Text(printable(title), "bold"), soft_wrap=True)
    if not rows:
        return
    for row in shown:
        table.add_row(*(Text(cell) for cell in row))
    console = output()
    if console.width < width:
        console = Console(width=width)
    console.print(table)
