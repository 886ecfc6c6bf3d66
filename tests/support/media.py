"""Media fixtures, made by ffmpeg when a test asks for them; none is stored.

python -m tests.support.media FOLDER        # writes one of each into a folder, to look at
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray


def ffmpeg(*arguments: str | Path, data: bytes | None = None) -> None:
    """Run ffmpeg, with `data` on its stdin; raises RuntimeError with its stderr where it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")


def live_segments(clip: Path, folder: Path, seconds: float) -> list[Path]:
    """The clip's pictures as segments of a live stream, fragmented MP4, in `folder`: cut at the keyframe after each `seconds`.

    The last one is left out, because it may be shorter.
    """
    fragmented = ["-segment_format", "mp4", "-segment_format_options", "movflags=frag_keyframe+empty_moov+default_base_moof"]
    cut = ["-f", "segment", "-segment_time", f"{seconds}", "-reset_timestamps", "1", *fragmented]
    ffmpeg("-i", clip, "-map", "0:v", "-c", "copy", *cut, folder / "segment%03d.mp4")
    return sorted(folder.glob("segment*.mp4"))[:-1]


def face_picture(side: int = 512) -> NDArray[np.uint8]:
    """(side, side, 3) RGB: a real face (NASA's portrait of Eileen Collins, public domain)."""
    from skimage import data

    return np.asarray(cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def face_frames(width: int, height: int, seconds: float, fps: float) -> list[NDArray[np.uint8]]:
    """(height, width, 3) RGB frames of the face, filmed by a slowly moving camera."""
    zoom = 1.15 * max(width, height) / 512
    frames = []
    for i in range(max(1, round(seconds * fps))):
        turn = 2 * np.pi * i / fps / 4
        x, y = 256 + 12 * np.sin(turn), 180 * height / width + 20 + 8 * np.cos(turn)
        y = max(y, height / zoom / 2)
        matrix = np.array([[zoom, 0, width / 2 - zoom * x], [0, zoom, height / 2 - zoom * y]])
        frames.append(
            np.asarray(cv2.warpAffine(face_picture(), matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
        )
    return frames


def write_frames(
    path: Path, frames: Sequence[NDArray[np.uint8]], fps: float, options: Sequence[str] = ("-crf", "18", "-pix_fmt", "yuv420p")
) -> Path:
    """Encode RGB frames of one size; the codec follows from the file's ending and the options."""
    height, width = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    ffmpeg(*raw, "-threads", "1", *options, path, data=b"".join(frame.tobytes() for frame in frames))
    return path


def make_clip(
    path: Path,
    width: int = 320,
    height: int = 240,
    seconds: float = 2.0,
    fps: float = 25.0,
    kind: str = "testsrc2",
    options: Sequence[str] = ("-pix_fmt", "yuv420p"),
) -> Path:
    """A clip of one of ffmpeg's sources (`testsrc2`, `mandelbrot`, `color=black`, ...), or of a real face (`face`)."""
    if kind == "face":
        return write_frames(path, face_frames(width, height, seconds, fps), fps, options)
    separator = ":" if "=" in kind else "="
    source = f"{kind}{separator}size={width}x{height}:rate={fps}"
    ffmpeg("-f", "lavfi", "-i", source, "-t", str(seconds), "-threads", "1", *options, path)
    return path


def with_empty_tracks(clip: Path, path: Path, count: int) -> Path:
    """A copy of an MP4 whose movie header has this number of tracks more, all of them empty."""
    movie = clip.read_bytes()
    begin = movie.index(b"moov") - 4
    (size,) = struct.unpack(">I", movie[begin : begin + 4])
    tracks = struct.pack(">I4s", 8, b"trak") * count
    header = struct.pack(">I", size + len(tracks)) + movie[begin + 4 : begin + size] + tracks
    path.write_bytes(movie[:begin] + header + movie[begin + size :])
    return path


def make_odd_file(folder: Path, name: str) -> Path:
    """A file of `ODD_FILES`, made in `folder` unless it is there. Its name says what is odd about it."""
    path = folder / name
    if path.exists():
        return path
    ODD_FILES[name](path)
    return path


def _truncated(path: Path) -> None:
    whole = make_clip(path.with_suffix(".whole.ts"), seconds=4)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 77])


def _headless(path: Path) -> None:
    # An mp4 without its index, which is at the end of the file: an upload that was cut off.
    whole = make_clip(path.with_suffix(".whole.mp4"))
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _damaged(path: Path) -> None:
    whole = make_clip(path.with_suffix(".whole.ts"), seconds=4)
    data = bytearray(whole.read_bytes())
    generator = np.random.default_rng(1)
    for place in generator.integers(2000, len(data), 200):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))


def _rotated(path: Path) -> None:
    plain = make_clip(path.with_suffix(".plain.mp4"), 320, 240, 1)
    ffmpeg("-display_rotation:v:0", "90", "-i", plain, "-c", "copy", path)


def _variable(path: Path) -> None:
    # Ten frames in the first half second, then one frame that lasts three and a half seconds.
    source = "testsrc2=size=160x120:rate=20"
    choose = "select='lt(n,10)+eq(n,79)'"
    ffmpeg("-f", "lavfi", "-t", "4", "-i", source, "-vf", choose, "-fps_mode", "vfr", "-pix_fmt", "yuv420p", path)


def _encoded(*options: str, width: int = 160, height: int = 120, seconds: float = 1.0):  # type: ignore[no-untyped-def]
    return lambda path: make_clip(path, width, height, seconds, options=options)


ODD_FILES = {
    "empty.mp4": lambda path: path.write_bytes(b""),
    "text.mp4": lambda path: path.write_text("This is no video, whatever its name says.\n" * 50),
    "noise.mp4": lambda path: path.write_bytes(np.random.default_rng(0).bytes(50_000)),
    "sound.m4a": lambda path: ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path),
    "truncated.ts": _truncated,
    "headless.mp4": _headless,
    "damaged.ts": _damaged,
    "one-frame.mp4": lambda path: make_clip(path, 160, 120, 0.04),
    "ten-bit.mp4": _encoded("-c:v", "libx265", "-x265-params", "log-level=0:pools=1", "-pix_fmt", "yuv420p10le"),
    "odd-size.mkv": _encoded("-c:v", "ffv1", "-pix_fmt", "yuv444p", "-vf", "scale=161:97,setsar=1"),
    "rotated.mp4": _rotated,
    "variable.mp4": _variable,
    "interlaced.ts": _encoded("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"),
    "alpha.webm": _encoded("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", seconds=0.3),
    "palette.gif": _encoded(),
    "rgb.mkv": _encoded("-c:v", "png", "-pix_fmt", "rgba"),
    "tiny.mp4": _encoded("-pix_fmt", "yuv420p", width=16, height=16),
    "raw.h264": _encoded("-pix_fmt", "yuv420p", seconds=3),
    "palette.avi": _encoded("-c:v", "rawvideo", "-pix_fmt", "pal8"),
    "old.avi": _encoded("-c:v", "mpeg4", "-bf", "2", "-q:v", "5", seconds=3),
    "flash.flv": _encoded("-c:v", "flv1", "-pix_fmt", "yuv420p"),
    "fragmented.mp4": _encoded("-pix_fmt", "yuv420p", "-movflags", "+frag_keyframe+empty_moov", seconds=3),
    "sparse-keys.ts": _encoded("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "500", "-x264-params", "scenecut=0", seconds=6),
}
"""Name of an odd file -> the function that makes it."""


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in ODD_FILES:
        make_odd_file(target, name)
    make_clip(target / "face.mp4", 640, 360, 4, kind="face")
