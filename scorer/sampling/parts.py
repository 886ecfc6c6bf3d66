"""A file whose video changes its PID, codec or parameters, as parts that are opened one after the other."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from typing import BinaryIO

from scorer.sampling.movies import movie_changes
from scorer.sampling.transport import video_changes


class Part(io.RawIOBase):
    """The bytes of an open file from `begin` to before `end`, as a file of its own."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self._begin, self._length = file, begin, end - begin
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        rest = max(0, self._length - self._place)
        self._file.seek(self._begin + self._place)
        data = self._file.read(rest if size < 0 else min(size, rest))
        self._place += len(data)
        return data


def parts_of(file: BinaryIO) -> list[BinaryIO]:
    """The file itself; or, where its video goes on in another way, each part of it. The file may be read meanwhile."""
    changes = video_changes(file) or movie_changes(file)
    if not changes:
        return [file]
    edges = [0, *changes, file.seek(0, os.SEEK_END)]
    return [Part(file, begin, end) for begin, end in pairwise(edges)]  # type: ignore[misc]
