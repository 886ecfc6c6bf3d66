"""Which files are complete: `Completion` is told what the kernel and the lists of the folder say, and decides. It does no I/O.

A file is complete when the kernel says that its writer has closed it or has renamed it into the folder. Where the kernel says
nothing (files that were there before, network file systems), it is complete when it has not changed for some seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.ingest.known import FileState, KnownFiles

LONGEST_SILENCE = 600.0
"""Seconds without a change after which a file counts as complete that nobody was seen to close: a program may link an
unnamed file into the folder, which looks like the beginning of one."""


class Completion:
    """The files of one folder. settle: seconds without a change."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._done: dict[str, tuple[int, int]] = {}
        self._writing: set[str] = set()
        self._since: dict[str, tuple[tuple[int, int, int], float]] = {}

    def join(self, files: Iterable[FileState], known: KnownFiles) -> None:
        """The folder was opened, for the first time or anew, and has these files. known: those that need no announcement."""
        self._writing.clear()
        self._since.clear()
        self._done = {file.name: file.signature for file in files if file in known}

    def opened(self, name: str) -> None:
        """A program has created this file, and is writing it."""
        self._writing.add(name)

    def events_were_lost(self) -> None:
        """The kernel had to drop events: nobody knows any more which files are being written."""
        self._writing.clear()

    def closed(self, files: Iterable[FileState]) -> list[FileState]:
        """Those of these files that are new, in order. files: as they are after their writer closed or renamed them."""
        new = []
        for file in files:
            self._writing.discard(file.name)
            if self._is_new(file):
                new.append(file)
        return sorted(new)

    def listed(self, files: Sequence[FileState], now: float) -> list[FileState]:
        """The new files that have not changed for long enough, in order. files: all of the folder. now: monotonic, seconds."""
        names = {file.name for file in files}
        self._writing &= names
        self._done = {name: signature for name, signature in self._done.items() if name in names}
        waiting, complete = {}, []
        for file in files:
            if not self._is_new(file):
                continue
            seen = (file.changed, *file.signature)
            before, since = self._since.get(file.name, (None, now))
            since = since if before == seen else now
            waiting[file.name] = (seen, since)
            # A second name shows that it was linked here, not opened: no close will come.
            is_written = file.name in self._writing and file.links == 1
            if now - since >= (max(LONGEST_SILENCE, self._settle) if is_written else self._settle):
                complete.append(file)
        self._since = waiting
        return sorted(complete)

    def done(self, file: FileState) -> None:
        """A file needs nothing more, as long as it stays as it is."""
        self._done[file.name] = file.signature
        self._writing.discard(file.name)
        self._since.pop(file.name, None)

    def _is_new(self, file: FileState) -> bool:
        return self._done.get(file.name) != file.signature
