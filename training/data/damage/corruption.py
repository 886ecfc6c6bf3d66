"""Damage by a decoder that shows what it could not decode: flat areas, wrong blocks, spoiled pictures.

`concealment` of `training.data.damage.network` is of decoders that hide their errors; hardware decoders and many players do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.damage.ladder import STEPS, Ladder
from training.data.damage.pictures import Change, Picture, Shape, rewrite, shape_of

BLOCK = 16
"""Side of a macroblock, px."""

GREY, GREEN = (128, 128, 128), (0, 135, 0)
"""BGR of what is in memory that nothing was decoded into: half of the range, or zeros in luma and chroma."""

Garbage = Callable[[Picture, Picture], Picture]
"""(picture, the picture before the error) -> what is shown in its place."""


def missing_slices(step: int, source: Path, target: Path, seed: str) -> None:
    """A band, mostly the lowest, is flat or shows only what changes, for a part of the time: its slices were not decoded."""
    area, time_share = ((0.1, 0.3), (0.2, 0.5), (0.35, 0.7), (0.55, 0.9), (0.9, 1.0))[step]
    rng = random.Random(f"missing-slices/{seed}")  # noqa: S311 - reproducible data, not secrets
    garbage, is_below, place, begin = _garbage(rng), rng.random() < 0.7, rng.random(), rng.random()
    shape = shape_of(source)
    slices = max(1, round(area * shape.height / BLOCK))
    rows = min(slices * BLOCK, shape.height)
    top = shape.height - rows if is_below else int(place * (shape.height - rows) / BLOCK) * BLOCK
    span = _span(begin, time_share, shape.count)
    rewrite(source, target, _spoiling(garbage, [span], slice(top, top + rows), shape))


def wrong_blocks(step: int, source: Path, target: Path, seed: str) -> None:
    """Runs of macroblocks that are flat, or show another place of the picture, until they are coded anew."""
    share = (0.004, 0.012, 0.035, 0.09, 0.22)[step]
    rng = np.random.default_rng(list(f"wrong-blocks/{seed}".encode()))
    shape = shape_of(source)
    high, wide = -(-shape.height // BLOCK), -(-shape.width // BLOCK)
    # A few times in a second other blocks are wrong. A higher step has the wrong blocks of the lower ones, and more.
    turn = max(1, round(float(shape.rate) / rng.uniform(2, 5)))
    turns = [_runs(rng, high * wide) for _ in range(-(-shape.count // turn))]
    shifts = rng.integers(-6, 7, (len(turns), high * wide, 2)) * BLOCK
    shifts[~shifts.any(axis=-1)] = BLOCK, 0
    fills = rng.integers(0, 4, (len(turns), high * wide))

    def change(picture: Picture, time: float) -> Picture:
        now = min(_number(time, shape) // turn, len(turns) - 1)
        spoiled = picture.copy()
        for block in turns[now][: max(1, round(share * high * wide))]:
            y, x = (block // wide) * BLOCK, (block % wide) * BLOCK
            part = spoiled[y : y + BLOCK, x : x + BLOCK]
            fill, (down, right) = fills[now, block], shifts[now, block]
            if fill == 0:
                part[:] = GREEN
            elif fill == 1:
                part[:] = GREY
            else:
                rows = (y + down + np.arange(part.shape[0])) % shape.height
                columns = (x + right + np.arange(part.shape[1])) % shape.width
                part[:] = picture[rows[:, None], columns]
        return spoiled

    rewrite(source, target, change)


def spoiled_pictures(step: int, source: Path, target: Path, seed: str) -> None:
    """Whole pictures are flat, or show only what has changed, in two bursts: the decoder has lost a keyframe."""
    share = (0.06, 0.13, 0.25, 0.42, 0.66)[step]
    rng = random.Random(f"spoiled-pictures/{seed}")  # noqa: S311
    garbage = _garbage(rng)
    shape = shape_of(source)
    bursts = []
    for begin in (0, shape.count // 2):
        first, last = _span(rng.random(), share, shape.count // 2)
        bursts.append((begin + first, begin + max(last, first + 1)))
    rewrite(source, target, _spoiling(garbage, bursts, slice(None), shape))


def _spoiling(garbage: Garbage, spans: Sequence[tuple[int, int]], rows: slice, shape: Shape) -> Change:
    """A change that shows garbage in some rows of the pictures that are in a span (first, behind the last)."""
    before: Picture | None = None

    def change(picture: Picture, time: float) -> Picture:
        nonlocal before
        is_spoiled = any(first <= _number(time, shape) < last for first, last in spans)
        before = picture if before is None or not is_spoiled else before
        if not is_spoiled:
            return picture
        spoiled = picture.copy()
        spoiled[rows] = garbage(picture[rows], before[rows])
        return spoiled

    return change


def _garbage(rng: random.Random) -> Garbage:
    """One way in which nothing is shown: grey, green, or what has changed since the error, on grey."""

    def grey(picture: Picture, before: Picture) -> Picture:
        return np.full_like(picture, GREY)

    def green(picture: Picture, before: Picture) -> Picture:
        return np.full_like(picture, GREEN)

    def changes(picture: Picture, before: Picture) -> Picture:
        return np.clip(np.subtract(picture, before, dtype=np.int16) + 128, 0, 255).astype(np.uint8)

    return rng.choice((grey, green, changes))


def _runs(rng: np.random.Generator, blocks: int) -> NDArray[np.int64]:
    """All blocks in an order in which neighbours of a row come together: an error goes on to the end of its slice."""
    length = int(rng.integers(3, 9))
    starts = rng.permutation(-(-blocks // length)) * length
    order = (starts[:, None] + np.arange(length)).ravel()
    return order[order < blocks]


def _span(begin: float, share: float, count: int) -> tuple[int, int]:
    """(first, behind the last) of a share of `count` pictures. begin: where, 0-1 of the places at which it fits."""
    first = round(begin * (1 - share) * count)
    return first, first + round(share * count)


def _number(time: float, shape: Shape) -> int:
    """Which picture of the clip is shown at that time, seconds."""
    return round(time * float(shape.rate))


def corruption_ladders() -> list[Ladder]:
    """The ladders of this module."""
    return [
        Ladder(
            "missing-slices",
            "delivery",
            STEPS,
            (76.0, 62.0, 46.0, 29.0, 11.0),
            "declared",
            "VMAF averages over the picture, and gives one of which a third is flat still 71; viewers look at what is gone",
            missing_slices,
        ),
        Ladder(
            "wrong-blocks",
            "delivery",
            STEPS,
            (85.0, 72.0, 57.0, 42.0, 26.0),
            "declared",
            "VMAF gives one wrong block in 33 still 85; one green block is seen by everybody, a fifth of the picture hides faces",
            wrong_blocks,
        ),
        Ladder(
            "spoiled-pictures",
            "delivery",
            STEPS,
            (76.0, 63.0, 48.0, 33.0, 18.0),
            "declared",
            "VMAF averages over the pictures; the targets are some points under those of `stalls` by the share of the time",
            spoiled_pictures,
        ),
    ]
