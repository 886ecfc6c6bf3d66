"""What identifies a clip: not its path, under which another one may lie by the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HEAD_BYTES = 1 << 20
"""Files of the same size are the same clip where their first `HEAD_BYTES` are equal."""


def clip_digest(path: Path) -> str:
    """What identifies a clip wherever its file is: its size, and a hash of its first `HEAD_BYTES`."""
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD_BYTES))
    return f"{path.stat().st_size}-{head.hexdigest()}"


def digests_of(paths: Iterable[Path]) -> list[str]:
    """`clip_digest` of each clip, in order; empty where the file is missing, which sampling reports."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda path: clip_digest(path) if path.is_file() else "", paths))
