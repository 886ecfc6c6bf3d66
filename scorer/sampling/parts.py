"""A file whose video or sound goes on in another way, as parts that are opened one after the other."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from scorer.sampling.movies import movie_changes
from scorer.sampling.transport import stream_changes


class Part(io.RawIOBase):
    """The bytes of an open file from `begin` to before `end`, as a file of its own."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self.begin, self._length = file, begin, end - begin
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
        self._file.seek(self.begin + self._place)
        data = self._file.read(rest if size < 0 else min(size, rest))
        self._place += len(data)
        return data


@dataclass(frozen=True)
class Parts:
    """The parts of a file.

    video: the file itself; or, where its video goes on in another way, each part of it. sound: where only its sound does so, each
    part of the file from one change of it to the next (see `sound_parts`); else none.
    """

    video: list[BinaryIO]
    sound: list[Part]


def parts_of(file: BinaryIO) -> Parts:
    """The file's parts, which may be read in turn. Raises `MediaError` where its video changes too often."""
    video, sound = stream_changes(file)
    video = video or movie_changes(file)
    size = file.seek(0, os.SEEK_END)
    if video:
        return Parts(_between(file, [0, *video, size]), [])  # type: ignore[arg-type]
    if sound:
        return Parts(_between(file, [0, size]), _between(file, [0, *sound, size]))  # type: ignore[arg-type]
    return Parts([file], [])


def _between(file: BinaryIO, edges: list[int]) -> list[Part]:
    return [Part(file, begin, end) for begin, end in pairwise(edges)]
