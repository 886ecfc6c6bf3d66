"""What identifies a clip: not its path, under which another one may lie by the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

HEAD_BYTES = 1 << 20
"""Files of the same size are the same clip where their first `HEAD_BYTES` are equal."""

MOST_KNOWN = 1 << 18
"""Files whose hashes are remembered."""


def clip_digest(path: Path) -> str:
    """What identifies a clip wherever its file is: its size, and a hash of its first `HEAD_BYTES`."""
    status = path.stat()
    return f"{status.st_size}-{_hash_of_head(path, (status.st_size, status.st_mtime_ns, status.st_ino))}"


@lru_cache(MOST_KNOWN)
def _hash_of_head(path: Path, _version: tuple[int, int, int]) -> str:
    """The hash of a file's first bytes, remembered for that version of it: a training asks for each several times."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()


def digests_of(paths: Iterable[Path]) -> list[str]:
    """`clip_digest` of each clip, in order; empty where the file is missing, which sampling reports."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda path: clip_digest(path) if path.is_file() else "", paths))
