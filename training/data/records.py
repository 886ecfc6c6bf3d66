"""What takes long to make is kept in a record beside it: a run that was killed does not make it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scorer.storage import write_whole

Made = TypeVar("Made")


def kept_record(record: Path, make: Callable[[], Made]) -> Made:
    """What the record says; where there is none, it is made, and kept unless it is None.

    record: a JSON file, which is whole or not there, also after a kill. make: gives what JSON gives back as it was (no tuples,
    texts as keys). Raises what `make` raises; then nothing is kept.
    """
    if record.exists():
        kept: Made = json.loads(record.read_text())
        return kept
    made = make()
    if made is not None:
        write_record(record, made)
    return made


def write_record(record: Path, content: object) -> None:
    """Write a JSON file, which is whole or as it was before, also after a kill."""
    write_whole(record, (json.dumps(content).encode(),))
