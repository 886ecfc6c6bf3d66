"""Videos whose clock jumps, made by ffmpeg from one short clip of a face.

python -m tests.support.jumping FOLDER        # writes all of them into a folder, to look at
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.media import ffmpeg, make_clip

X264 = ("-c:v", "libx264", "-preset", "fast", "-crf", "20", "-pix_fmt", "yuv420p", "-g", "50", "-threads", "1")
NO_B_FRAMES = (*X264, "-bf", "0")


def make_jumping(folder: Path, name: str) -> Path:
    """A file of `JUMPING` or `STEADY`, made in `folder` unless it is there. Its name says how its clock jumps."""
    path = folder / name
    if not path.exists():
        (JUMPING | STEADY)[name](path)
    return path


def joined(*offsets: float, encoder: tuple[str, ...] = X264) -> Callable[[Path], None]:
    """Makes a transport stream of one-second parts of the clip; part i begins at `offsets[i]` on its own clock."""

    def make(path: Path) -> None:
        parts = []
        for i, offset in enumerate(offsets):
            part = path.with_suffix(f".{i}.part.ts")
            ffmpeg("-ss", str(i % 2), "-t", "1", "-i", _source(path.parent), *encoder, "-output_ts_offset", str(offset), part)
            parts.append(part.read_bytes())
        path.write_bytes(b"".join(parts))

    return make


def stamped(expression: str, encoder: tuple[str, ...] = X264) -> Callable[[Path], None]:
    """Makes a file whose stamps ffmpeg's `setts` has changed. expression: with T for PTS and DTS; 12800 ticks a second."""

    def make(path: Path) -> None:
        steady = path.with_suffix(".steady.mp4")
        ffmpeg("-i", _source(path.parent), *encoder, steady)
        stamps = ":".join(f"{stamp.lower()}='{expression.replace('T', stamp)}'" for stamp in ("PTS", "DTS"))
        ffmpeg("-i", steady, "-c", "copy", "-bsf:v", f"setts={stamps}", path)

    return make


def _source(folder: Path) -> Path:
    path = folder / "source.mkv"
    if not path.exists():
        make_clip(path, 320, 180, 2, kind="face", options=("-c:v", "ffv1", "-pix_fmt", "yuv420p"))
    return path


def _overlapping(path: Path) -> None:
    first, second = path.with_suffix(".1.part.ts"), path.with_suffix(".2.part.ts")
    ffmpeg("-t", "1.08", "-i", _source(path.parent), *X264, first)
    ffmpeg("-ss", "1.04", "-t", "1", "-i", _source(path.parent), *X264, "-output_ts_offset", "1.04", second)
    path.write_bytes(first.read_bytes() + second.read_bytes())


def _one_shown_in_the_future(path: Path) -> None:
    steady = path.with_suffix(".steady.mp4")
    ffmpeg("-i", _source(path.parent), *X264, steady)
    ffmpeg("-i", steady, "-c", "copy", "-bsf:v", f"setts=pts='if(eq(N,30),PTS+{300 * 12800},PTS)'", path)


def _resized(path: Path) -> None:
    first, second = path.with_suffix(".1.part.ts"), path.with_suffix(".2.part.ts")
    close = "crop=180:102:70:20"
    ffmpeg("-t", "1", "-i", _source(path.parent), "-vf", f"{close},scale=1280:720", *X264, first)
    ffmpeg(
        "-ss",
        "1",
        "-t",
        "1",
        "-i",
        _source(path.parent),
        "-vf",
        f"{close},scale=320:180",
        *X264,
        "-output_ts_offset",
        "1",
        second,
    )
    path.write_bytes(first.read_bytes() + second.read_bytes())


def _since_1970(path: Path) -> None:
    whole = path.with_suffix(".whole.mp4")
    ffmpeg("-i", _source(path.parent), *X264, "-movflags", "+frag_keyframe+empty_moov+default_base_moof", whole)
    data = bytearray(whole.read_bytes())
    place = data.find(b"tfdt")
    timescale = struct.unpack(">I", data[data.find(b"mdhd") + 16 : data.find(b"mdhd") + 20])[0]
    assert data[place + 4] == 1  # 64 bits
    data[place + 8 : place + 16] = struct.pack(">Q", 1_769_890_504 * timescale)
    path.write_bytes(bytes(data))


def _promising(path: Path) -> None:
    whole = path.with_suffix(".whole.mkv")
    ffmpeg("-i", _source(path.parent), *X264, whole)
    data = whole.read_bytes()
    place = data.index(b"\x44\x89\x88")
    path.write_bytes(data[: place + 3] + struct.pack(">d", 4e15) + data[place + 11 :])


WRAP = 2**33 / 90_000
"""Seconds after which the clock of MPEG-TS starts again at 0."""

JUMPING: dict[str, Callable[[Path], None]] = {
    "forward-10.5s.ts": joined(10, 21.5),
    "forward-40s.ts": joined(10, 50),
    "forward-hours.ts": joined(10, 20_000),
    "back-8s.ts": joined(10, 2),
    "back-half-a-second.ts": joined(10, 10.5),
    "joined.ts": joined(0, 0),
    "joined-without-b-frames.ts": joined(0, 0, encoder=NO_B_FRAMES),
    "restarted-twice.ts": joined(50, 20, encoder=NO_B_FRAMES),
    "wrapped.ts": joined(WRAP - 90, 5),
    "future.ts": stamped(f"if(eq(N,25),T+{37600 * 12800},T)", NO_B_FRAMES),
    "future-12s.mp4": stamped(f"if(gte(N,25),T+{12 * 12800},T)"),
    "future.flv": stamped(f"if(gte(N,25),T+{300 * 12800},T)"),
    "future.mkv": stamped(f"if(gte(N,25),T+{300 * 12800},T)"),
    "future-15s.mkv": stamped(f"if(gte(N,25),T+{15 * 12800},T)"),
    "one-future.mp4": stamped(f"if(eq(N,30),T+{300 * 12800},T)"),
    "one-past.ts": stamped("if(eq(N,30),T-12800,T)"),
    "one-shown-in-the-future.mp4": _one_shown_in_the_future,
    "gap-9s.ts": joined(10, 20),
    "gap-1s.ts": joined(10, 12),
    "overlapping.ts": _overlapping,
    "resized.ts": _resized,
    "since-1970.mp4": _since_1970,
    "promising.mkv": _promising,
}
"""Name of a file -> the function that makes it. Each holds the two seconds of one clip, 25 pictures a second."""

STEADY: dict[str, Callable[[Path], None]] = {
    "steady-parts.ts": joined(0, 1),
    "steady-parts-without-b-frames.ts": joined(0, 1, encoder=NO_B_FRAMES),
    "steady.mp4": stamped("T"),
    "steady-without-b-frames.mp4": stamped("T", NO_B_FRAMES),
}
"""The same pictures, encoded in the same ways, on clocks that do not jump."""


def steady_twin(name: str) -> str:
    """The file of `STEADY` that has the pictures of a file of `JUMPING`, bit for bit where none is missing or cut."""
    if name in ("joined-without-b-frames.ts", "restarted-twice.ts"):
        return "steady-parts-without-b-frames.ts"
    if name == "future.ts":
        return "steady-without-b-frames.mp4"
    return "steady-parts.ts" if name.endswith(".ts") and name != "one-past.ts" else "steady.mp4"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in JUMPING:
        print(make_jumping(target, name))
