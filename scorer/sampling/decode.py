"""Decoding with PyAV: what a file holds, and its frames in one pass, one at a time.

Media come from outside and are hostile. Only the bytes of the given file are read: the demuxer gets an open file, no
protocol to open others with, and only container formats that hold their media themselves (no playlists).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from scorer.errors import MediaError

MAX_PIXELS = 8192 * 8192
"""A picture larger than this is refused before a decoder allocates it."""

FORMATS = "mov,mp4,matroska,webm,mpegts,avi,flv,ogg,mpeg,mpegvideo,h264,hevc,obu,ivf,mxf,asf,m4v,nut,y4m,yuv4mpegpipe,gif,apng"
"""Containers that are read; playlists (hls, dash, concat) would make the demuxer open other files."""


@dataclass(frozen=True)
class VideoFacts:
    """What the demuxer says of a file's video stream.

    times: (N,) seconds of each frame from the first one, ascending. sizes: (N,) bytes of each frame's packet.
    duration: seconds, the last frame's length included.
    """

    width: int
    height: int
    codec: str
    times: NDArray[np.float64]
    sizes: NDArray[np.int64]
    duration: float


def probe(path: Path) -> VideoFacts:
    """What the file holds, from its packets alone. Raises `MediaError` where there is no video in it."""
    with _open(path) as (container, stream):
        raw: list[float] = []
        sizes: list[int] = []
        step = float(1 / stream.average_rate) if stream.average_rate else 0.04
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                stamp = packet.pts if packet.pts is not None else packet.dts
                # Raw streams have no clock: their frames follow each other evenly.
                raw.append(float(stamp * packet.time_base) if stamp is not None else len(raw) * step)
                sizes.append(packet.size)
        except FFmpegError:
            pass  # a truncated file: what was read until here counts
        if not raw:
            raise MediaError("the file has a video stream but no picture in it", kind="empty")
        order = np.argsort(raw, kind="stable")
        times = np.array(raw)[order]
        times = times - times[0]
        last = float(np.median(np.diff(times))) if len(times) > 1 else step
        if not 0 < last < 60:
            last = step
        context = stream.codec_context
        return VideoFacts(context.width, context.height, context.name, times, np.array(sizes)[order], float(times[-1] + last))


def frames(path: Path, start: float = 0.0) -> Generator[tuple[float, Any], None, None]:
    """(seconds from the first frame, `av.VideoFrame`) of every frame from `start` on that can be decoded.

    Damaged packets are skipped, as a player does.
    """
    with _open(path) as (container, stream):
        first = _first_stamp(container, stream)
        if start > 0:
            container.seek(int((first + start) / stream.time_base), stream=stream, backward=True)
        step = float(1 / stream.average_rate) if stream.average_rate else 0.04
        for count, frame in enumerate(_decoded(container, stream)):
            if frame.width * frame.height > MAX_PIXELS:
                raise _too_large(frame.width, frame.height)
            time = float(frame.time) - first if frame.time is not None else count * step
            if time >= start - step / 4:
                yield time, frame


def _first_stamp(container: Any, stream: Any) -> float:
    """The earliest time among the first packets: with B-frames the first packet need not be the first frame."""
    stamps = []
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                stamps.append(float(packet.pts * packet.time_base))
            if len(stamps) == 32:
                break
    except FFmpegError:
        pass
    container.seek(0)
    return min(stamps, default=0.0)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError):
            return
        try:
            yield from packet.decode()
        except FFmpegError:
            continue


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream, checked."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read: {error.strerror}", kind="not-found") from error
    with file:
        if not file.read(1):
            raise MediaError("the file is empty (0 bytes)", kind="empty")
        file.seek(0)
        try:
            container = av.open(
                file,
                container_options={"protocol_whitelist": "none", "format_whitelist": FORMATS},
                metadata_errors="replace",
                buffer_size=1 << 20,
            )
        except (FFmpegError, ValueError, OSError) as error:
            raise MediaError(
                f"not a media file that can be read ({_words(error)}); is it complete?", kind="undecodable"
            ) from error
        with container:
            if not container.streams.video:
                raise MediaError("the file has no video stream, only other streams", kind="no-video")
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None:
                raise MediaError("the video's codec is not known to this build of FFmpeg", kind="undecodable")
            if context.width * context.height > MAX_PIXELS:
                raise _too_large(context.width, context.height)
            # One thread: the pool runs several children, and results must not depend on timing.
            context.thread_count = 1
            yield container, stream


def _too_large(width: int, height: int) -> MediaError:
    return MediaError(
        f"pictures of {width}x{height} are over the limit of {math.isqrt(MAX_PIXELS)}x{math.isqrt(MAX_PIXELS)}", kind="too-large"
    )


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
