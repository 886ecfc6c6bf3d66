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


def first_in_both(paths: Iterable[Path], others: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first clip of `paths` that is among `others` too, by its content, and which one it is; None where none is.

    Only clips of the same size are read. Files that are missing count as none: sampling reports them.
    """
    sized = [{path: path.stat().st_size for path in some if path.is_file()} for some in (paths, others)]
    shared = set(sized[0].values()) & set(sized[1].values())
    ones, rest = ([path for path, size in sizes.items() if size in shared] for sizes in sized)
    known = dict(zip(digests_of(rest), rest, strict=True))
    return next(((path, known[digest]) for path, digest in zip(ones, digests_of(ones), strict=True) if digest in known), None)


def digests_of(paths: Iterable[Path]) -> list[str]:
    """`clip_digest` of each clip, in order; empty where the file is missing, which sampling reports."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda path: clip_digest(path) if path.is_file() else "", paths))
