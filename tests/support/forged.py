"""Files whose header forges the time: time scales, durations and stamps that cannot be, of a clip of two seconds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from tests.support.media import ffmpeg, make_clip

H264 = ("-c:v", "libx264", "-preset", "fast", "-crf", "20", "-pix_fmt", "yuv420p", "-g", "25")
FRAGMENTED = (*H264, "-movflags", "+frag_keyframe+empty_moov")
MOST = 2**32 - 1


def make_forged(path: Path) -> Path:
    """A file of `FORGED`: 50 pictures of a face."""
    FORGED[path.name](path)
    return path


def _whole(path: Path, options: tuple[str, ...]) -> Path:
    return make_clip(path.with_suffix(f".whole{path.suffix}"), 320, 180, 2, kind="face", options=options)


def _time_scale(value: int, options: tuple[str, ...] = H264) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        movie = bytearray(_whole(path, options).read_bytes())
        place = movie.index(b"mdhd")
        movie[place + 16 : place + 20] = struct.pack(">I", value)
        path.write_bytes(movie)

    return make


def _sample_durations(value: int, options: tuple[str, ...] = H264) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        movie = bytearray(_whole(path, options).read_bytes())
        place = movie.index(b"stts")
        (count,) = struct.unpack(">I", movie[place + 8 : place + 12])
        for entry in range(count):
            begin = place + 16 + 8 * entry
            movie[begin : begin + 4] = struct.pack(">I", value)
        path.write_bytes(movie)

    return make


def _matroska_scale(value: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = _whole(path, H264).read_bytes()
        place = data.index(b"\x2a\xd7\xb1\x83") + 4
        path.write_bytes(data[:place] + value.to_bytes(3, "big") + data[place + 3 :])

    return make


def _avi_rate(scale: int, rate: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = _whole(path, ("-c:v", "mpeg4", "-q:v", "3")).read_bytes()
        place = data.index(b"strh") + 28
        path.write_bytes(data[:place] + struct.pack("<II", scale, rate) + data[place + 8 :])

    return make


def _stamps(expression: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        ffmpeg("-i", _whole(path, H264), "-c", "copy", "-bsf:v", f"setts=ts={expression}", path)

    return make


FORGED = {
    **{f"scale-{value}.mp4": _time_scale(value) for value in (0, 1, 25, 2**31, MOST)},
    **{f"scale-{value}-without-b-frames.mp4": _time_scale(value, (*H264, "-bf", "0")) for value in (1, 2**31)},
    **{f"scale-{value}-fragmented.mp4": _time_scale(value, FRAGMENTED) for value in (1, 2**31)},
    **{f"durations-{value}.mp4": _sample_durations(value) for value in (0, 1)},
    **{f"durations-{value}-without-b-frames.mp4": _sample_durations(value, (*H264, "-bf", "0")) for value in (0, 2**31, MOST)},
    "scale-1.mkv": _matroska_scale(1),
    "scale-most.mkv": _matroska_scale(2**24 - 1),
    "rate-1.avi": _avi_rate(1, 1),
    "rate-most.avi": _avi_rate(1, 2**31 - 1),
    "rate-least.avi": _avi_rate(2**31 - 1, 1),
    "all-at-zero.mkv": _stamps("0"),
    "all-at-zero.mp4": _stamps("0"),
    "all-at-zero.flv": _stamps("0"),
}
"""Name of a file -> the function that makes it."""
