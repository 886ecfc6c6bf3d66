"""How steadily a clip is delivered: when its pictures are shown, which of them repeat the one before, how bytes are spread.

Stalls, jitter, judder and a rate that dips are changes over time, of which a few sampled pictures show little. All numbers
compare a clip with itself: how many bits it has says more about its content and its codec.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.bitstream.packets import Packets
from scorer.sampling.sorts import median
from scorer.sampling.temporal import motion_of

Numbers = NDArray[np.float64]

STEADINESS = (
    "interval_spread",
    "interval_longest",
    "interval_uneven",
    "repeats",
    "repeat_longest",
    "change_spread",
    "change_rate",
    "bytes_spread",
    "bytes_dip",
    "bytes_peak",
    "motion_uneven",
    "motion_peak",
    "motion_still",
)
"""The numbers of `steadiness`, in order."""

REPEAT_BYTES = 1 / 16
"""A picture, no keyframe, with less than this share of their mean bytes repeats the one before: nothing of it is coded."""

REPEAT_MOTION = 0.15
"""A picture that moves less than this share of the median stands still."""

STEP = 0.25
"""Seconds of a clip whose bytes are counted together."""

FEW = 16.0
"""Bytes that are added to both sides of a ratio, so that pictures of next to no bytes do not decide it."""


def steadiness(packets: Packets, small_lumas: NDArray[np.uint8], times: Numbers) -> list[float]:
    """`STEADINESS` of a clip, finite; 0 where too little is known.

    packets: of the clip's pictures, with the times at which they are shown. small_lumas: (N, h, w) uint8, the luma of the
    pictures that were decoded, scaled down. times: (N + 1,) seconds of those and of the clip's end, ascending.
    """
    shown = np.array([np.nan if time is None else time for time in packets.shown_at], np.float64)
    order = np.argsort(shown, kind="stable")
    order = order[: np.count_nonzero(~np.isnan(shown))]
    at, end = shown[order], float(times[-1])
    sizes = np.array(packets.sizes, np.float64)[order]
    others = ~np.array(packets.keys, np.bool_)[order]
    return [
        *_intervals(at),
        *_repeats(at, sizes, others, end),
        *_bytes(at[others], sizes[others]),
        *_motion(small_lumas, times),
    ]


def _intervals(at: Numbers) -> list[float]:
    """How unevenly the pictures are shown: spread, longest and mean change of the intervals, of their mean."""
    # Of the last picture it is not sure how long it is shown.
    steps = np.diff(at)
    if len(steps) < 2 or steps.mean() <= 0:
        return [0.0, 0.0, 0.0]
    steps = steps / steps.mean()
    return [float(np.log1p(steps.std())), float(np.log(max(steps.max(), 1.0))), float(np.log1p(np.abs(np.diff(steps)).mean()))]


def _repeats(at: Numbers, sizes: Numbers, others: NDArray[np.bool_], end: float) -> list[float]:
    """Share of the pictures that repeat the one before; of the new ones the longest gap, the spread of the gaps, the rate."""
    if not others.any():
        return [0.0, 0.0, 0.0, 0.0]
    repeats = others & (sizes < REPEAT_BYTES * sizes[others].mean())
    gaps = np.diff([*at[~repeats], max(end, at[-1])])
    seconds = max(float(gaps.sum()), 1e-3)
    spread = float(gaps.std() / gaps.mean()) if gaps.mean() > 0 else 0.0
    return [
        float(repeats.mean()),
        float(np.log1p(10 * gaps.max())),
        float(np.log1p(spread)),
        float(np.log1p(len(gaps) / seconds)),
    ]


def _bytes(at: Numbers, sizes: Numbers) -> list[float]:
    """Spread of log2 of the bytes; log2 of the usual to the fewest, and of the most to the usual, over the time."""
    if len(sizes) < 2:
        return [0.0, 0.0, 0.0]
    levels = _over_time(at, sizes)
    usual = float(median(levels)) + FEW
    dip, peak = np.log2(usual / (levels.min() + FEW)), np.log2((levels.max() + FEW) / usual)
    return [float(np.log2(sizes + FEW).std()), float(dip), float(peak)]


def _over_time(at: Numbers, values: Numbers) -> Numbers:
    """The mean of the values in each `STEP` of the time that has some."""
    places = np.floor((at - at[0]) / STEP + 1e-6).astype(np.int64)
    places = np.unique(places, return_inverse=True)[1]
    return np.bincount(places, values) / np.bincount(places)


def _motion(small_lumas: NDArray[np.uint8], times: Numbers) -> list[float]:
    """How unevenly the pictures move: mean change and peak of the motion a second, and the share of them that stand still."""
    if len(small_lumas) < 4:
        return [0.0, 0.0, 0.0]
    rates = motion_of(small_lumas) / np.maximum(np.diff(times[:-1]), 1e-3)
    usual = float(median(rates)) + 1e-3
    return [
        float(np.log1p(np.abs(np.diff(rates)).mean() / (rates.mean() + 1e-3))),
        float(np.log2(max(rates.max(), usual) / usual)),
        float((rates < REPEAT_MOTION * usual).mean()),
    ]
