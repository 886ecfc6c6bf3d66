"""Damage by encoders: several encodes in a row, hardware encoders at low rates, a rate that swings within a segment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.data.damage.ladder import STEPS, Damage, Ladder
from training.data.damage.pictures import Picture, read, shape_of, show, write
from training.data.ffmpeg import run_ffmpeg

RESTREAM_SHARES = (1.0, 0.8, 0.66)
"""Size of each encode of a restream, as a share of the clip's: no two have the same grid of blocks."""

DIPS = ((0.2, 0.45), (0.7, 1.0))
"""When the rate is low, as shares of the clip's time."""


def restream(encodes: int) -> Damage:
    """Each platform on the way decodes the stream, scales it and encodes it again. encodes: 2 or 3."""

    def damage(step: int, source: Path, target: Path, seed: str) -> None:
        quality = (21, 26, 30, 34, 38)[step]
        shape = shape_of(source)
        stream = source
        middles = [target.with_name(f".{target.stem}.encode{number}.mkv") for number in range(encodes)]
        for middle, share in zip(middles, RESTREAM_SHARES, strict=False):
            size = ":".join(str(max(16, round(side * share / 2) * 2)) for side in (shape.width, shape.height))
            codec = ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(quality))
            run_ffmpeg("-i", stream, "-vf", f"scale={size}:flags=bicubic", "-pix_fmt", "yuv420p", *codec, middle)
            stream = middle
        show(stream, shape, target)
        for middle in middles:
            middle.unlink()

    return damage


def hardware_blocking(step: int, source: Path, target: Path, seed: str) -> None:
    """The simplest H.264: no deblocking, no CABAC, one reference, no look ahead, as phones and capture sticks encode."""
    quality = (28, 32, 36, 40, 44)[step]
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", str(quality))
    run_ffmpeg("-i", source, "-pix_fmt", "yuv420p", *codec, "-x264-params", "no-deblock=1:cabac=0:aq-mode=0", target)


def mpeg2(step: int, source: Path, target: Path, seed: str) -> None:
    """MPEG-2: blocks of 8x8 and no deblocking, as old contribution links and set-top encoders send."""
    scale = (5, 10, 16, 23, 31)[step]
    # MPEG-2 knows a few rates only: encode at one of them, and show each picture at its own time again.
    shape = shape_of(source)
    middle = target.with_name(f".{target.stem}.middle.mkv")
    codec = ("-c:v", "mpeg2video", "-q:v", str(scale), "-g", "25", "-bf", "0")
    run_ffmpeg("-i", source, "-vf", "setpts=N/25/TB", "-r", "25", "-pix_fmt", "yuv420p", *codec, middle)
    show(middle, shape, target)
    middle.unlink()


def bitrate_oscillation(step: int, source: Path, target: Path, seed: str) -> None:
    """The rate falls twice within the clip: the player switches between renditions, or the encoder's rate control swings."""
    quality = (31, 36, 40, 44, 48)[step]
    shape = shape_of(source)
    good, bad = (target.with_name(f".{target.stem}.{name}.mkv") for name in ("good", "bad"))
    for rendition, crf in ((good, 20), (bad, quality)):
        codec = ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf))
        run_ffmpeg("-i", source, "-pix_fmt", "yuv420p", *codec, rendition)

    def shown() -> Iterator[Picture]:
        for number, pair in enumerate(zip(read(good), read(bad), strict=True)):
            is_dip = any(start <= number / shape.count < end for start, end in DIPS)
            yield pair[is_dip]

    write(shown(), shape, target)
    good.unlink()
    bad.unlink()


def encoder_ladders() -> list[Ladder]:
    """The ladders of this module."""

    def measured(name: str, why: str, damage: Damage) -> Ladder:
        return Ladder(name, "delivery", STEPS, None, "vmaf", why, damage)

    return [
        measured("restream-twice", "VMAF was made for compression and scaling", restream(2)),
        measured("restream-thrice", "VMAF was made for compression and scaling", restream(3)),
        measured("hardware-blocking", "VMAF was made for compression; its training had H.264", hardware_blocking),
        measured("mpeg2", "VMAF was made for compression", mpeg2),
        measured(
            "bitrate-oscillation",
            "VMAF was made for compression; its mean over the pictures counts how long the rate is low",
            bitrate_oscillation,
        ),
    ]
