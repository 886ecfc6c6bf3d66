"""Damage by the network and the player: lost packets that the decoder conceals, stalls and skips, jitter and judder."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.damage.ladder import STEPS, Ladder
from training.data.damage.pictures import Picture, read, shape_of, show, write
from training.data.ffmpeg import run_ffmpeg

SLICES = 8
"""Slices of each picture: a packet that is lost takes one of them with it."""

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_SLICE_OF_A_LATER_PICTURE = 1
"""The NAL unit type of slices that are not of a keyframe."""


def concealment(step: int, source: Path, target: Path, seed: str) -> None:
    """Slices of an H.264 stream are lost, and ffmpeg's decoder conceals them; the error stays until the next keyframe."""
    share = (0.03, 0.08, 0.18, 0.35, 0.6)[step]
    shape = shape_of(source)
    stream = target.with_name(f".{target.stem}.middle.h264")
    codec = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "50", "-bf", "0", "-x264-params", f"slices={SLICES}")
    run_ffmpeg("-i", source, "-pix_fmt", "yuv420p", *codec, "-f", "h264", stream)
    stream.write_bytes(lose_slices(stream.read_bytes(), share, random.Random(f"concealment/{seed}")))  # noqa: S311
    conceal = ("-flags", "+output_corrupt", "-err_detect", "ignore_err", "-ec", "guess_mvs+deblock", "-framerate", shape.rate)
    show(stream, shape, target, *conceal)
    stream.unlink()


def lose_slices(stream: bytes, share: float, rng: random.Random) -> bytes:
    """An H.264 stream (Annex B) without a share of the slices that can be lost, at least one where there is any.

    The first slice of a picture stays, so that no picture disappears, and keyframes stay whole. With the same state of `rng` a
    larger share loses the slices of the smaller share and more.
    """
    starts = [match.start() for match in _START_CODE.finditer(stream)]
    units = [stream[start:end] for start, end in zip(starts, [*starts[1:], len(stream)], strict=True)]
    losable = [number for number, unit in enumerate(units) if _can_be_lost(unit)]
    rng.shuffle(losable)
    lost = set(losable[: max(1, round(share * len(losable)))])
    return b"".join(unit for number, unit in enumerate(units) if number not in lost)


def _can_be_lost(unit: bytes) -> bool:
    payload = unit[unit.index(b"\x01") + 1 :]
    if len(payload) < 2 or payload[0] & 0x1F != _SLICE_OF_A_LATER_PICTURE:
        return False
    # A slice header starts with the number of its first macroblock; 0 is written as a single 1 bit.
    is_first_slice = bool(payload[1] & 0x80)
    return not is_first_slice


def stalls(step: int, source: Path, target: Path, seed: str) -> None:
    """The player stops twice, and skips to the live picture after each stop."""
    share = (0.12, 0.24, 0.4, 0.6, 0.8)[step]
    rng = random.Random(f"stalls/{seed}")  # noqa: S311 - reproducible data, not secrets
    begins = [half + rng.uniform(0.01, 0.09) for half in (0.0, 0.5)]
    count = shape_of(source).count
    places = np.arange(count)
    for begin in begins:
        first, last = round(begin * count), round((begin + share / 2) * count)
        places[first : last + 1] = first
    _reorder(source, target, places)


def jitter(step: int, source: Path, target: Path, seed: str) -> None:
    """Pictures arrive at uneven times, and each is shown when it comes."""
    delay = (0.02, 0.045, 0.08, 0.14, 0.22)[step]
    shape = shape_of(source)
    rng = np.random.default_rng(list(f"jitter/{seed}".encode()))
    # At low rates a short delay is no whole picture.
    pictures = max(delay * float(shape.rate), (step + 1) / 2)
    late = np.rint(np.abs(rng.standard_normal(shape.count)) * pictures)
    # A picture that comes after its successor is not shown any more.
    places = np.maximum.accumulate(np.maximum(np.arange(shape.count) - late, 0)).astype(np.int64)
    _reorder(source, target, places)


def judder(step: int, source: Path, target: Path, seed: str) -> None:
    """Fewer pictures than the clip has, repeated in an uneven pattern: 20, 16, 12, 7.5 and 4.5 in a second."""
    shape = shape_of(source)
    rate = float(shape.rate)
    share = min((20, 16, 12, 7.5, 4.5)[step] / rate, (0.8, 0.64, 0.48, 0.3, 0.18)[step])
    kept = np.floor(np.arange(shape.count) * share + 1e-9)
    _reorder(source, target, np.ceil(kept / share - 1e-9).astype(np.int64))


def _reorder(source: Path, target: Path, places: NDArray[np.int64]) -> None:
    """Write the clip with picture `places[i]` of the source as its picture i; places never fall, and never exceed i."""

    def shown() -> Iterator[Picture]:
        pictures = enumerate(read(source))
        number, picture = next(pictures)
        for place in places:
            while number < place:
                number, picture = next(pictures)
            yield picture

    write(shown(), shape_of(source), target)


def network_ladders() -> list[Ladder]:
    """The ladders of this module."""
    return [
        Ladder(
            "concealment",
            "delivery",
            STEPS,
            None,
            "vmaf",
            "VMAF sees torn and smeared blocks, and its mean counts how long they stay; it was not trained on them",
            concealment,
        ),
        Ladder(
            "stalls",
            "delivery",
            STEPS,
            (80.0, 68.0, 54.0, 40.0, 27.0),
            "declared",
            "VMAF takes a picture that stands still for a slightly wrong one; the targets lie on those of `freeze`, by the "
            "share of the time that stands",
            stalls,
        ),
        Ladder(
            "jitter",
            "delivery",
            STEPS,
            (86.0, 73.0, 59.0, 45.0, 31.0),
            "declared",
            "VMAF takes a late picture for a slightly wrong one; some 20 ms of unevenness are noticed, 200 ms look like stalls",
            jitter,
        ),
        Ladder(
            "judder",
            "delivery",
            STEPS,
            (90.0, 81.0, 71.0, 54.0, 37.0),
            "declared",
            "the targets lie on those of `drop` by the pictures in a second; VMAF takes a late picture for a slightly wrong one",
            judder,
        ),
    ]
