"""Figures and tables as the commands of evaluation print them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

IN_POINTS = ("reference", "drop", "double", "mae", "rmse", "error")
"""How the names of figures in points begin."""


def shown(value: float, digits: int = 3) -> str:
    """A figure with so many digits after the point; `-` where there is nothing to tell it from."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def shown_figure(name: str, value: float) -> str:
    """A figure of a report, by its name: points with one digit, shares and correlations with three."""
    return shown(value, 1 if name.startswith(IN_POINTS) else 3)


def table_of(title: str, names: Sequence[str], figures: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table. names, figures: headers of its columns, the second of numbers."""
    # `Text`, because names of models, people and scenes come from outside and are no markup.
    table = Table(title=Text(title, "table.title"), title_justify="left")
    for header in names:
        table.add_column(Text(header), no_wrap=True)
    for header in figures:
        # On a narrow terminal a figure goes on in the next line; half a figure would be a wrong one.
        table.add_column(Text(header), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
