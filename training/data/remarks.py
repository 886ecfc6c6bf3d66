"""What training and the making of data say beside their results: on standard error, so that programs can read the results."""

from __future__ import annotations

import sys

from tqdm import tqdm


def remark(text: str) -> None:
    """Say it in a line of its own, also while a bar of progress is shown."""
    tqdm.write(text, file=sys.stderr)
