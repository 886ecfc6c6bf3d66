"""Which files are videos, finding them in folders, and what a file must be to be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from streams.errors import MediaError

_MP4 = ".mp4 .m4v .mov .qt .3gp .3gpp .3g2 .3gpp2 .mj2 .f4v .psp .ismv .m4s .m4f .cmfv .cmaf"
_MATROSKA = ".mkv .mk3d .webm"
_TRANSPORT_STREAMS = ".ts .m2t .m2ts .mts .mpegts .tp .trp .tod"
_MPEG = ".mpg .mpeg .mpe .m1v .m2v .mpv .m2p .vob .vro .evo"
_OTHERS = ".avi .divx .flv .ogv .ogg .ogm .ogx .mxf .wmv .asf .nut"
_STREAMS_AND_PICTURES = ".h264 .h26l .264 .avc .h265 .265 .hevc .obu .ivf .y4m .gif .apng"

VIDEO_SUFFIXES = frozenset(" ".join((_MP4, _MATROSKA, _TRANSPORT_STREAMS, _MPEG, _OTHERS, _STREAMS_AND_PICTURES)).split())
"""Endings of the containers that are read (`scorer.sampling.decode.FORMATS`), in lower case.

Without those of sound (.m4a, .mka, .wma), subtitles (.mks), stills (.heic, .avif) and playlists (.ism).
"""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """The files named, and, sorted, every video in the folders named and in their sub-folders.

    What a user expects to be read is kept, so that the caller reports it by `check_file`: a path that is named, whatever its
    suffix is and whether or not it exists; in a folder, a link whose target is gone, a pipe that is named like a video, and a
    sub-folder that may not be read. Links to folders are not followed.
    """
    videos: list[Path] = []
    for path in paths:
        # `Path.is_dir` raises an error for a path that is too long or in a closed folder.
        videos += _in_folder(path) if os.path.isdir(path) else [path]
    return videos


def _in_folder(folder: Path) -> list[Path]:
    entries: list[Path] = []

    def unreadable(error: OSError) -> None:
        entries.append(Path(error.filename))

    for parent, _, files in os.walk(folder, onerror=unreadable):
        entries += [Path(parent, name) for name in files if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    return sorted(entries)


def check_file(path: Path) -> None:
    """Raises `MediaError` where a path is no regular file that can be read. Nothing is opened: a pipe would be waited for."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise MediaError(f"it is a link to {os.readlink(path)}, which does not exist", kind="not-found") from None
        raise MediaError("no such file", kind="not-found") from None
    except (OSError, ValueError) as error:
        # Python's words for a name that ends early are others since 3.13.
        reason = "its name has a null byte" if "\0" in str(path) else getattr(error, "strerror", None) or error
        raise MediaError(f"it cannot be read: {reason}", kind="not-found") from None
    if stat.S_ISDIR(mode) and not os.access(path, os.R_OK | os.X_OK):
        raise MediaError("the folder cannot be read: Permission denied", kind="not-found")
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise MediaError(f"it is not a regular file: it is {kind}", kind="refused")
    if not os.access(path, os.R_OK):
        raise MediaError("it cannot be read: Permission denied", kind="not-found")


def for_children(path: Path) -> Path:
    """A path by which a child process finds the same file: `/dev/stdin` and `/dev/fd/3` are those of who opens them."""
    return path.resolve() if path.is_relative_to("/dev") or path.is_relative_to("/proc") else path
