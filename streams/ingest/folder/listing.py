"""What is in a folder: its videos as the file system lists them. No file is opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.errors import MediaError
from streams.ingest.known import FileState
from streams.media.videos import VIDEO_SUFFIXES

MOST_FILES = 1_000_000
"""Entries of a folder: its list takes some 300 MB."""

UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".incomplete")
"""Endings of names that programs give to files which they have not finished. All but one of them hide the video's own ending."""

PLAYLISTS = (".m3u8", ".m3u", ".mpd")


@dataclass(frozen=True)
class Listing:
    """The videos of a folder, and how many entries were left out for what reason.

    identity: device and number of the folder itself: another folder at the same path has another one.
    """

    files: list[FileState]
    left_out: Mapping[str, int]
    has_playlist: bool
    identity: tuple[int, int]


def is_video_name(name: str) -> bool:
    """Whether a name is a finished video's: with an ending of one, not hidden, and not marked as unfinished."""
    lower = name.lower()
    if lower.startswith((".", "~")):
        return False
    stem, ending = os.path.splitext(lower)
    return ending in VIDEO_SUFFIXES and not stem.endswith(UNFINISHED)


def list_folder(folder: Path) -> Listing:
    """The videos that stand in a folder itself, not in its sub-folders.

    Links, pipes, devices and sockets that are named as videos are left out, whatever they lead to. Raises OSError, and
    `MediaError` where there are too many entries.
    """
    own = os.stat(folder)
    files: list[FileState] = []
    left_out: Counter[str] = Counter()
    has_playlist = False
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= MOST_FILES:
                raise MediaError(f"there are more than {MOST_FILES} files in it", kind="too-large")
            has_playlist = has_playlist or entry.name.lower().endswith(PLAYLISTS)
            if is_video_name(entry.name):
                state = state_of(folder, entry.name, left_out)
                if state is not None:
                    files.append(state)
    return Listing(files, left_out, has_playlist, (own.st_dev, own.st_ino))


def state_of(folder: Path, name: str, left_out: Counter[str] | None = None) -> FileState | None:
    """A file of a folder as it is now; None where it is gone, or is no regular file, which is counted in `left_out`."""
    try:
        facts = os.stat(folder / name, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        if left_out is not None:
            left_out["links" if stat.S_ISLNK(facts.st_mode) else "folders" if stat.S_ISDIR(facts.st_mode) else "no files"] += 1
        return None
    return FileState(facts.st_ctime_ns, name, facts.st_mtime_ns, facts.st_size, facts.st_nlink)
