"""What the kernel says of a folder (inotify): which files are created, and which are closed or renamed into it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from dataclasses import dataclass, field
from pathlib import Path

from asyncinotify import Inotify, Mask

log = logging.getLogger(__name__)

EVENTS = Mask.CREATE | Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.ONLYDIR
MOST_EVENTS = 10_000
"""Events that are taken at once."""


@dataclass
class Changes:
    """What happened since the last call. created, closed: names of files, in their order. lost: the kernel dropped events."""

    created: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    lost: bool = False


class Watch:
    """Watches one folder; use it as a context manager. Where the kernel cannot watch, it is a clock, and says so once."""

    def __init__(self, folder: Path, poll: bool) -> None:
        self._folder = folder
        self._poll = poll
        self._inotify: Inotify | None = None

    @property
    def is_watching(self) -> bool:
        """Whether the kernel tells of events."""
        return self._inotify is not None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def open(self) -> None:
        """Watch what is at the path now, and nothing that was watched before."""
        if self._inotify is not None:
            self._inotify.close()
        self._inotify = None if self._poll else self._opened()

    async def changes(self, seconds: float) -> Changes:
        """Wait until something happens, at most for some seconds; then all that has happened."""
        changes = Changes()
        if self._inotify is None:
            await asyncio.sleep(seconds)
            return changes
        # Not Inotify.get: where its wait is cancelled by a time-out, events that it has read may be lost.
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._inotify.fd, ready.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), seconds)
        finally:
            loop.remove_reader(self._inotify.fd)
        for event in itertools.islice(self._inotify, MOST_EVENTS):
            if event.mask & Mask.Q_OVERFLOW:
                changes.lost = True
            elif event.name is not None:
                (changes.created if event.mask & Mask.CREATE else changes.closed).append(str(event.name))
        return changes

    def _opened(self) -> Inotify | None:
        inotify = None
        try:
            inotify = Inotify(sync_timeout=0)
            inotify.add_watch(self._folder, EVENTS)
        except OSError as error:
            if inotify is not None:
                inotify.close()
            log.warning("%s cannot be watched (%s): it is listed again and again instead", self._folder, error.strerror)
            return None
        return inotify
