"""Opening a media file from outside: a regular file with something in it that may be media, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from scorer.errors import MediaError
from scorer.sampling.recognise import refuse_unplayable

FORMATS = "mov,mp4,matroska,webm,mpegts,avi,flv,ogg,mpeg,mpegvideo,h264,hevc,obu,ivf,mxf,asf,m4v,nut,y4m,yuv4mpegpipe,gif,apng"
"""Containers that are read. Playlists (hls, dash, concat) are left out: they would make the demuxer open other files."""


@contextmanager
def open_media(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading. Raises `MediaError` where it cannot be opened, is empty, or is known to be no video."""
    try:
        file = open(path, "rb", opener=_open_regular)  # noqa: SIM115 (closed below)
        is_empty = not file.read(1)
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read: {error.strerror}", kind="not-found") from error
    with file:
        if is_empty:
            raise MediaError("the file is empty (0 bytes); was its upload cut off?", kind="empty")
        refuse_unplayable(file)
        yield file


def _open_regular(path: str, flags: int) -> int:
    """Open a file, without waiting for the writer of a pipe. Raises `MediaError` where it is a pipe, a socket or a device."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the first read refuses a folder
        os.close(descriptor)
        raise MediaError("the media is not a regular file, but a pipe or a device", kind="refused")
    return descriptor
