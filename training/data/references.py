"""Sources and clean references: what degraded segments are made from, and what VMAF compares them with.

A source is a clean face clip, or a still that is given camera motion. A reference is a lossless segment of it, scaled down.
The further variants of a source differ in stretch, size, crop, side and light, because contents are what such data is short
of, and a network that saw one reference of each source takes the source's sharpness for its quality.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.data.ffmpeg import FFMPEG, FPS, run_ffmpeg

STILLS = {".jpg", ".jpeg", ".png", ".webp"}
VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".ts", ".m4v", ".avi", ".flv"}


def find_sources(paths: Sequence[Path]) -> list[Path]:
    """The videos and stills among and under the paths, sorted; raises ValueError where two share a name or there is none."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in files if file.suffix.lower() in STILLS | VIDEOS]
    names = [file.stem for file in found]
    if not found:
        raise ValueError(f"no video or still under {', '.join(map(str, paths))}")
    if len(set(names)) < len(names):
        raise ValueError("two sources have the same name: the name is the content's identity, rename one")
    return found


@dataclass(frozen=True)
class Look:
    """How a reference is made of its source.

    start: seconds. scale: of the source's size, or of a still's film. shortest: side that is not gone below, px.
    speed: of a video's time, or of a still's camera. crop: (width, height, x, y) as shares of the picture. light: an
    ffmpeg filter.
    """

    start: float
    scale: float
    shortest: int = 256
    crop: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    speed: float = 1.0
    mirror: bool = False
    light: str = "null"


def look(variant: int, rng: random.Random) -> Look:
    """The first variant of a source is as it is, scaled down by at least a quarter to hide its own flaws; others differ more."""
    if variant == 0:
        return Look(start=rng.uniform(0, 1.0), scale=rng.uniform(0.5, 0.75))
    wide, high = rng.uniform(0.65, 1.0), rng.uniform(0.65, 1.0)
    light = f"eq=gamma={rng.uniform(0.75, 1.3):.2f}:contrast={rng.uniform(0.85, 1.1):.2f}:saturation={rng.uniform(0.6, 1.3):.2f}"
    return Look(
        start=rng.uniform(0, 1.0),
        speed=rng.choice((0.3, 0.6, 1.0, 1.0, 1.5, 2.0)),
        scale=rng.uniform(0.45, 0.8),
        shortest=176,
        crop=(wide, high, rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)),
        mirror=rng.random() < 0.5,
        light=light,
    )


def make_reference(source: Path, out: Path, seconds: float, variant: int, seed: str) -> None:
    """A clean, lossless reference of `seconds` at 25 frames per second."""
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    part = out.with_suffix(".part.mkv")
    if source.suffix.lower() in STILLS:
        _film_still(source, part, seconds, variant, rng)
    else:
        how = look(variant, rng)
        # Too small a picture leaves the sampler no room for different fragments.
        size = ":".join(f"'trunc(max(i{a}*{how.scale:.3f},{how.shortest}*i{a}/min(iw,ih))/2)*2'" for a in "wh")
        crop = "crop=iw*{:.3f}:ih*{:.3f}:iw*{:.3f}:ih*{:.3f}".format(*how.crop) if variant else "null"
        mirror = "hflip" if how.mirror else "null"
        chain = f"setpts=PTS/{how.speed},fps={FPS},{crop},scale={size}:flags=lanczos,{mirror},{how.light},format=yuv420p"
        lossless = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")
        run_ffmpeg("-ss", f"{how.start:.2f}", "-i", source, "-t", str(seconds), "-an", "-vf", chain, *lossless, part)
    part.rename(out)


def _film_still(source: Path, out: Path, seconds: float, variant: int, rng: random.Random) -> None:
    """Pan and zoom over a still, at most at its own resolution so that it stays sharp."""
    picture = cv2.imread(str(source))
    if picture is None:
        raise ValueError(f"{source}: not a picture")
    how = look(variant, rng) if variant else Look(0.0, 0.8)
    if variant:
        high, wide = picture.shape[:2]
        share_w, share_h, x, y = how.crop
        picture = picture[int(y * high) : int((y + share_h) * high), int(x * wide) : int((x + share_w) * wide)]
        picture = np.ascontiguousarray(picture[:, ::-1] if how.mirror else picture)
    height, width = picture.shape[:2]
    shrink = min(0.8, 420 / min(height, width)) * how.scale / 0.8
    w, h = (int(side * shrink * 0.86) // 2 * 2 for side in (width, height))
    path = [(rng.uniform(0, 0.14), rng.uniform(0, 0.14), rng.uniform(0.94, 1.0)) for _ in range(2)]
    command = [*FFMPEG, "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{w}x{h}", "-r", str(FPS), "-i", "-",
               "-vf", f"{how.light},format=yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", str(out)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for t in np.linspace(0, 1, int(seconds * FPS)):
            ease = (1 - np.cos(np.pi * t * how.speed)) / 2
            x, y, zoom = (a + (b - a) * ease for a, b in zip(*path, strict=True))
            matrix = np.array(
                [[shrink * zoom, 0, -x * width * shrink], [0, shrink * zoom, -y * height * shrink]], dtype=np.float32
            )
            # Area-filter first: warping alone would alias when shrinking.
            frame = cv2.warpAffine(
                cv2.GaussianBlur(picture, (0, 0), 0.4 / shrink),
                matrix,
                (w, h),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            process.stdin.write(frame.tobytes())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
