"""Which files of a folder were announced already, as it is kept on the positions' topic: pure, and of a bounded size.

The time of a file's last change of status (`st_ctime`) says when it was completed here: each write and a rename into the folder
set it to now, and no program can set it back, as copying programs do with `st_mtime`. So all files up to a time, the floor, are
known, and of those after it the digests are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

MOST_RECENT = 128
"""Files whose digests are kept: some 5 kB in each message. Enough for all that can be completed within one tick of a clock."""


@dataclass(frozen=True, order=True)
class FileState:
    """A file as its folder lists it. changed, modified: `st_ctime_ns` and `st_mtime_ns`. name: as Python decodes its bytes."""

    changed: int
    name: str
    modified: int
    size: int
    links: int = 1

    @property
    def signature(self) -> tuple[int, int]:
        """What differs where the content does."""
        return self.modified, self.size

    @property
    def digest(self) -> str:
        """16 hexadecimal digits for this content under this name."""
        text = repr((self.name, *self.signature)).encode(errors="surrogatepass")
        return hashlib.sha256(text).hexdigest()[:16]


@dataclass(frozen=True)
class KnownFiles:
    """The files that need no announcement. floor: ns since 1970. recent: change time and digest of files after it, sorted."""

    floor: int = 0
    recent: tuple[tuple[int, str], ...] = ()

    @classmethod
    def of(cls, files: Iterable[FileState]) -> KnownFiles:
        """All these files: the newest by their digests, too, so that one whose rights change or that gets a link stays known."""
        by_change = sorted(files)
        older, newest = by_change[:-MOST_RECENT], by_change[-MOST_RECENT:]
        return cls(older[-1].changed if older else 0, tuple(sorted((file.changed, file.digest) for file in newest)))

    def __contains__(self, file: FileState) -> bool:
        return file.changed <= self.floor or any(digest == file.digest for _, digest in self.recent)

    def __add__(self, file: FileState) -> KnownFiles:
        """With one file more; the oldest makes room where there are too many, and raises the floor."""
        recent = tuple(sorted({*self.recent, (file.changed, file.digest)}))
        if len(recent) <= MOST_RECENT:
            return replace(self, recent=recent)
        return KnownFiles(max(self.floor, recent[0][0]), recent[1:])
