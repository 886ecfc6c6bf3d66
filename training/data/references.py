"""Sources and clean references: what degraded segments are made from, and what VMAF compares them with.

A source is a clean face clip, or a still that is given camera motion. A reference is a lossless segment of it, scaled down.
Such data has few sources, and a network that sees one reference of each learns the source's sharpness as its quality. So
further variants of a source differ in start, speed, size, crop, mirroring and light.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.data.ffmpeg import FPS, picture_count, pipe_to_ffmpeg, run_ffmpeg
from training.data.remarks import remark

STILLS = {".jpg", ".jpeg", ".png", ".webp"}
VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".ts", ".m4v", ".avi", ".flv"}

LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")


def find_sources(paths: Sequence[Path], out: Path | None = None) -> list[Path]:
    """The videos and stills among the paths and in folders of them, sorted in each folder.

    out: the folder that is made of them. Raises ValueError where there is none, where two have the same name (the name is the
    content's identity), or where `out` is in one of the folders.
    """
    sources: list[Path] = []
    for path in paths:
        if out is not None and out.resolve().is_relative_to(path.resolve()):
            raise ValueError(f"{out} is in the folder {path} of sources: what is made would be taken for clean sources")
        # Hidden files are no clips: macOS writes `._NAME.mp4` beside each file on other file systems.
        files = sorted(file for file in path.rglob("*") if not file.name.startswith(".")) if path.is_dir() else [path]
        sources += [file for file in files if file.suffix.lower() in STILLS | VIDEOS]
    names = [source.stem for source in sources]
    if not sources:
        raise ValueError(f"no video or still under {', '.join(map(str, paths))}")
    if len(set(names)) < len(names):
        raise ValueError("two sources have the same name: the name is the content's identity, rename one")
    return sources


def made_from(seed: int, seconds: float, sources: Sequence[Path]) -> str:
    """What decides the pictures of a reference, in words that are kept beside it."""
    return f"seed {seed}, {seconds:g} s, {' '.join(source.name for source in sources)}"


def check_made_from(reference: Path, kept: str, wanted: str) -> None:
    """Raise ValueError where the reference that is kept is not the one that is wanted. kept, wanted: of `made_from`."""
    if kept != wanted:
        raise ValueError(f"{reference}: made with another seed, length, or other sources; give another folder, or empty this one")


@dataclass(frozen=True)
class Look:
    """How a reference is made from its source."""

    start: float
    """Where the segment starts in a video, seconds."""
    scale: float
    """Size of the reference, as a share of the video's size or of that of the film made from a still."""
    shortest: int = 256
    """Shortest side that a video is scaled down to, px."""
    crop: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    """(width, height, x, y) as shares of the picture."""
    speed: float = 1.0
    """Speed of a video's time, or of the camera over a still."""
    mirror: bool = False
    light: str = "null"
    """An ffmpeg filter."""


def draw_look(variant: int, rng: random.Random) -> Look:
    """How the reference of a variant is made, drawn at random.

    Variant 0 is only scaled down, by at least a quarter, which hides the source's own flaws; others differ in everything.
    """
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
    """Write a clean, lossless reference of `seconds` at 25 frames per second to `out`.

    variant: 0 upwards, see `draw_look`. seed: decides the random numbers. A video that ends within the reference makes a shorter
    one, with a remark. Raises ValueError where a still cannot be read, or where a video ends before the reference would begin;
    and as `run_ffmpeg`.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    part = out.with_suffix(".part.mkv")
    if source.suffix.lower() in STILLS:
        _film_still(source, part, seconds, variant, rng)
    else:
        look = draw_look(variant, rng)
        # In a smaller picture the sampler would have no room for different fragments.
        size = ":".join(f"'trunc(max(i{side}*{look.scale:.3f},{look.shortest}*i{side}/min(iw,ih))/2)*2'" for side in "wh")
        crop = "crop=iw*{:.3f}:ih*{:.3f}:iw*{:.3f}:ih*{:.3f}".format(*look.crop) if variant else "null"
        mirror = "hflip" if look.mirror else "null"
        chain = f"setpts=PTS/{look.speed},fps={FPS},{crop},scale={size}:flags=lanczos,{mirror},{look.light},format=yuv420p"
        run_ffmpeg("-ss", f"{look.start:.2f}", "-i", source, "-t", str(seconds), "-an", "-vf", chain, *LOSSLESS, part)
        pictures = picture_count(part)
        if not pictures:
            part.unlink()
            raise ValueError(f"{source}: it has no pictures after {look.start:.2f} s, where its reference begins")
        if pictures + 1 < seconds * FPS:  # one picture may be lost to rounding
            remark(f"{source}: it ends early, so the reference {out.name} has {pictures / FPS:g} s of {seconds:g} s")
    part.rename(out)


def _film_still(source: Path, out: Path, seconds: float, variant: int, rng: random.Random) -> None:
    """Pan and zoom over a still, never above its own resolution, so that it stays sharp."""
    picture = cv2.imread(str(source))
    if picture is None:
        raise ValueError(f"{source}: not a picture")
    look = draw_look(variant, rng) if variant else Look(0.0, 0.8)
    if variant:
        high, wide = picture.shape[:2]
        share_w, share_h, x, y = look.crop
        picture = picture[int(y * high) : int((y + share_h) * high), int(x * wide) : int((x + share_w) * wide)]
        picture = np.ascontiguousarray(picture[:, ::-1] if look.mirror else picture)
    height, width = picture.shape[:2]
    shrink = min(0.8, 420 / min(height, width)) * look.scale / 0.8
    w, h = (int(side * shrink * 0.86) // 2 * 2 for side in (width, height))
    path = [(rng.uniform(0, 0.14), rng.uniform(0, 0.14), rng.uniform(0.94, 1.0)) for _ in range(2)]

    def pictures() -> Iterator[bytes]:
        for t in np.linspace(0, 1, int(seconds * FPS)):
            ease = (1 - np.cos(np.pi * t * look.speed)) / 2
            x, y, zoom = (a + (b - a) * ease for a, b in zip(*path, strict=True))
            matrix = np.array(
                [[shrink * zoom, 0, -x * width * shrink], [0, shrink * zoom, -y * height * shrink]], dtype=np.float32
            )
            # Blur before warping: a warp that shrinks would alias.
            frame = cv2.warpAffine(
                cv2.GaussianBlur(picture, (0, 0), 0.4 / shrink),
                matrix,
                (w, h),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            yield frame.tobytes()

    pipe_to_ffmpeg(pictures(), "bgr24", w, h, FPS, "-vf", f"{look.light},format=yuv420p", *LOSSLESS, out)
