"""Opening a media file from outside: a regular file with something in it that may be media, and nothing else.

Media are hostile input. Only the given file is read: the demuxer gets an open file, no protocol with which it could open
others, and only container formats that hold their media themselves (no playlists).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.codec.context import Flags
from av.error import FFmpegError

from scorer.errors import MediaError
from scorer.sampling.bitstream.h264_shape import shape_of
from scorer.sampling.recognise import reason_unreadable, refuse_unplayable
from scorer.sampling.sizes import MAX_PIXELS

FORMATS = "mov,mp4,matroska,webm,mpegts,avi,flv,ogg,mpeg,mpegvideo,h264,hevc,obu,ivf,mxf,asf,m4v,nut,y4m,yuv4mpegpipe,gif,apng"
"""Containers that are read. Playlists (hls, dash, concat) are left out: they would make the demuxer open other files."""


SELF_TELLING = {"mov,mp4,m4a,3gp,3g2,mj2", "mpegts"}
"""Containers of live segments, whose packets have the same stamps whether or not a picture was decoded before."""

PATIENT = {"probesize": str(64 << 20), "analyzeduration": str(60_000_000)}
"""FFmpeg's options, bytes and microseconds, to look further for what the streams are than 5 MB and 5 s."""

_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""A title that is no UTF-8 keeps no file from being read. PyAV 19 reads it without being told."""


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


def open_container(file: BinaryIO, ignore_edits: bool = False, is_quick: bool = False) -> Any:
    """PyAV's demuxer of an open file. ignore_edits: read what an edit list of MP4 leaves out, too.

    is_quick: FFmpeg decodes no picture to learn more of the streams; it may then not know their pictures' size.

    Raises `MediaError` where FFmpeg cannot read the file.
    """
    options = {"protocol_whitelist": "none", "format_whitelist": FORMATS} | ({"ignore_editlist": "1"} if ignore_edits else {})
    if is_quick:
        options["codec_whitelist"] = "none"
    try:
        container = _opened(file, options)
        if not is_quick and any(_is_unseen(stream) for stream in container.streams.video):
            # A recording that begins within a long GOP, or with sound alone.
            container.close()
            container = _opened(file, options | PATIENT)
        return container
    except MemoryError:
        raise
    except (FFmpegError, ValueError, OSError) as error:
        if (recognised := reason_unreadable(file)) is not None:
            raise recognised from error
        if getattr(error, "errno", None) == errno.EINVAL:
            raise MediaError(
                "the file is not a supported video container: give mp4, mkv, ts or similar, not a text file or a playlist",
                kind="refused",
            ) from error
        words = str(getattr(error, "strerror", None) or error).lower()
        raise MediaError(f"the file cannot be opened as media ({words}); is it complete?") from error


def _opened(file: BinaryIO, options: dict[str, str]) -> Any:
    file.seek(0)
    return av.open(file, container_options=options, buffer_size=1 << 20, **_METADATA)


def _is_unseen(stream: Any) -> bool:
    """Whether FFmpeg has decoded no picture of a video stream, so that it does not know their size, or when they are decoded."""
    context = stream.codec_context
    return context is not None and not (context.width and context.height and context.pix_fmt)


def open_for_decoding(file: BinaryIO, ignore_edits: bool = False) -> Any:
    """The same, with all that a decoder and a player must know of its video.

    To know that, FFmpeg decodes pictures, at some tenth of the price of all of them. Where the streams' headers say as much
    (H.264 in a live segment's container), it is left out; no frame nor its time is another one then.
    """
    container = open_container(file, ignore_edits, is_quick=True)
    if container.format.name in SELF_TELLING and all(_is_known(stream) for stream in container.streams.video):
        return container
    container.close()
    return open_container(file, ignore_edits)


def prepare(context: Any) -> None:
    """Set what holds for every decoder of pictures, before it decodes the first."""
    # One thread: the pool runs several children at once, and results must not depend on timing.
    context.thread_count = 1
    # The header may state a wrong size; with this option the decoder checks again before it allocates.
    context.options = {"max_pixels": str(MAX_PIXELS)}
    # Else FFmpeg shows up to 63 columns of what the stream cuts off on the left, so that rows begin at a round address.
    context.flags |= Flags.unaligned


def _is_known(stream: Any) -> bool:
    """Whether a decoder would say nothing about the stream that is not known without it."""
    context = stream.codec_context
    if context is None or context.name != "h264" or not context.extradata:
        return False
    shape = shape_of(context.extradata)
    return (
        shape is not None
        and (shape.width, shape.height) == (context.width, context.height)
        # Else a decoder must see some pictures before it knows how many wait for those that are shown before them.
        and shape.delay is not None
        and shape.is_square
        and shape.is_progressive
    )


def _open_regular(path: str, flags: int) -> int:
    """Open a file, without waiting for the writer of a pipe. Raises `MediaError` where it is a pipe, a socket or a device."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the first read refuses a folder
        os.close(descriptor)
        raise MediaError("the media is not a regular file, but a pipe or a device", kind="refused")
    return descriptor
