"""How far `fvq score` is: one line of a terminal on standard error, which is gone before a row is printed."""

from __future__ import annotations

from typing import TextIO

from streams.text import printable

ERASE = "\r\x1b[2K"
"""Back to the line's beginning, and delete the line."""

LONGEST = 70
"""Characters of the line: a longer one would break, and only its last part could be erased."""


class ShownProgress:
    """Nothing is shown where standard error is no terminal: the rows themselves say there how far it is. total: files."""

    def __init__(self, total: int, err: TextIO) -> None:
        self._total, self._err = total, err
        self._shows = err.isatty()

    def show(self, number: int, name: str, seconds: float) -> None:
        """Show which file is scored. number: from 1. seconds: of it that are scored."""
        if self._shows:
            words = f"scoring {number} of {self._total}, {int(seconds // 60)}:{int(seconds % 60):02d} of {printable(name)}"
            self._err.write(f"{ERASE}{words if len(words) <= LONGEST else words[: LONGEST - 3] + '...'}")
            self._err.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shows:
            self._err.write(ERASE)
            self._err.flush()
