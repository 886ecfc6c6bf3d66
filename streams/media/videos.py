"""Which files are videos, and finding them in folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

VIDEO_SUFFIXES = {
    ".mp4",
    ".mkv",
    ".mov",
    ".webm",
    ".ts",
    ".m4s",
    ".m4v",
    ".avi",
    ".flv",
    ".mpg",
    ".mpeg",
    ".mxf",
    ".wmv",
    ".3gp",
    ".ogv",
}


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """The files named, and, sorted, every video in the folders named and in their sub-folders.

    A file that is named is kept whatever its suffix is, and also where it does not exist: the caller reports it.
    """
    videos: list[Path] = []
    for path in paths:
        if path.is_dir():
            videos += sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in VIDEO_SUFFIXES)
        else:
            videos.append(path)
    return videos
