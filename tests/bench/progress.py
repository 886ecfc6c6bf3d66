"""What a benchmark does at the moment, for those who wait for it."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Tell on standard error what is being done, so that the figures can go to a file."""
    print(text, file=sys.stderr, flush=True)
