"""A score as a coloured bar of text."""

from __future__ import annotations

from rich.text import Text


def score_bar(score: float, width: int = 20) -> Text:
    """A bar for a score 0-100, coloured by level. width: characters."""
    colour = ("red", "dark_orange", "yellow", "green_yellow", "green")[min(4, int(score // 20))]
    filled = round(score / 100 * width)
    return Text.assemble(("█" * filled, colour), ("·" * (width - filled), "bright_black"))
