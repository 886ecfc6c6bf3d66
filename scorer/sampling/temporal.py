"""Features of change over time: freezes, motion and flicker.

Each tuple of names below lists the features of one function, in order.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.features import STRIDE
from scorer.sampling.images import Image

CHANGE = ("change_mean", "change_p90", "change_still_share", "change_laplacian")
MOTION = ("freeze", "motion_mean", "motion_std", "motion_max", "motion_min", "flicker")

FREEZE_DIFFERENCE = 0.02
"""A frame repeats the one before if their small lumas differ by less than this, in 8-bit levels, on average."""

LONGEST_HOLD = 0.25
"""A frame that is shown for longer than this, s, is a freeze too: some encoders drop repeated frames instead of coding them."""


SMOOTH_STEP, SMOOTH_RATE = 0.051, 23.0
"""Seconds for which a picture is shown, at most, and new pictures a second, at least, where a higher rate repeats pictures and
nobody sees it: 24 to 30 pictures a second in 48 to 60, also by turns twice and three times."""


def change_features(luma: Image, following: Image) -> list[float]:
    """`CHANGE` from one frame to the next at native size. luma, following: (H, W) uint8 of both."""
    change = cv2.absdiff(luma, following)
    laplacian = cv2.Laplacian(cv2.subtract(luma, following, dtype=cv2.CV_32F), cv2.CV_32F)
    return [
        float(np.log1p(cv2.mean(change)[0])),
        float(np.log1p(np.percentile(change.ravel()[::STRIDE], 90))),
        1 - cv2.countNonZero(change) / change.size,
        float(np.log1p(cv2.meanStdDev(laplacian)[1][0, 0])),
    ]


def motion_features(
    small_lumas: NDArray[np.uint8], times: NDArray[np.float64], held: NDArray[np.float64] | None = None
) -> list[float]:
    """`MOTION`: share of the time that is frozen, 0-1, then figures of the change between all neighbouring frames.

    small_lumas, times: see `scorer.sampling.statistics.clip_statistics`. held: (N,) see `seconds_held`; None where these are all
    frames of the clip.
    """
    shown = np.diff(times)
    total = max(float(shown.sum()), 1e-9)
    if held is None:
        held = np.maximum(shown - LONGEST_HOLD, 0)
    if len(small_lumas) < 2:
        return [min(1.0, float(held.sum()) / total), *[0.0] * (len(MOTION) - 1)]
    motion = motion_of(small_lumas)
    frozen = _frozen_seconds(motion < FREEZE_DIFFERENCE, shown, held)
    light = np.array([cv2.mean(luma)[0] for luma in small_lumas])
    logarithm = np.log1p(motion)
    return [
        min(1.0, frozen / total),
        float(logarithm.mean()),
        float(logarithm.std()),
        float(logarithm.max()),
        float(logarithm.min()),
        float(np.abs(np.diff(light)).mean()),
    ]


def frozen_share(small_lumas: NDArray[np.uint8], times: NDArray[np.float64], all_times: NDArray[np.float64]) -> float:
    """Share of the time that is frozen, 0-1, of which some frames are known: what is between two equal frames stands still too.

    times: (N + 1,) of the known frames and of the clip's end. all_times: of all frames of the clip, ascending.
    """
    edges = _with_all(times, all_times)
    # Of the first frame nobody knows whether it repeats another one. What follows the last known one is taken to go on as it.
    repeats = np.concatenate([[False], motion_of(small_lumas) < FREEZE_DIFFERENCE])
    after = np.minimum(np.searchsorted(times[:-1], edges[:-1]), len(repeats) - 1)
    shown = np.diff(edges)
    frozen = _frozen_seconds(repeats[after][1:], shown, np.maximum(shown - LONGEST_HOLD, 0))
    return min(1.0, frozen / max(float(shown.sum()), 1e-9))


def without_doubles(small_lumas: NDArray[np.uint8], times: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The frames without those that repeat the one before, and their times, where a higher rate repeats them: a camera's 30
    pictures a second in 60 do not stand still. Other frames as they are.

    small_lumas, times: see `scorer.sampling.statistics.clip_statistics`.
    """
    seconds = times[-1] - times[0]
    if len(small_lumas) <= SMOOTH_RATE * seconds:
        return small_lumas, times
    new = np.concatenate([[True], motion_of(small_lumas) >= FREEZE_DIFFERENCE])
    new_times = np.append(times[:-1][new], times[-1])
    if new.sum() < SMOOTH_RATE * seconds or np.diff(new_times).max() > SMOOTH_STEP:
        return small_lumas, times
    return small_lumas[new], new_times


def motion_of(small_lumas: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N - 1,) mean absolute difference of each frame but the first to the one before it, 8-bit levels."""
    return np.array([cv2.norm(a, b, cv2.NORM_L1) for a, b in pairwise(small_lumas)]) / small_lumas[0].size


def _frozen_seconds(still: NDArray[np.bool_], shown: NDArray[np.float64], held: NDArray[np.float64]) -> float:
    """Seconds that frames (N,) stand still. still: (N - 1,) whether each but the first repeats the one before it."""
    # The first frame has none before it to repeat: only its time over `LONGEST_HOLD` counts as frozen.
    frozen = float(shown[1:][still].sum()) + float(held[:1].sum())
    return frozen + float(held[1:][~still].sum())


def _with_all(times: NDArray[np.float64], all_times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Both together, ascending, of all times those within the others."""
    return np.unique(np.concatenate([times, all_times[(all_times > times[0]) & (all_times < times[-1])]]))


def seconds_held(times: NDArray[np.float64], all_times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) for how long, s, frames are shown for longer than `LONGEST_HOLD`, from each of some frames to the next of them.

    times: (N + 1,) of the frames and of the clip's end. all_times: of all frames of the clip, ascending.
    """
    edges = _with_all(times, all_times)
    over = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(edges) - LONGEST_HOLD, 0))])
    return np.diff(over[np.searchsorted(edges, times)])
