"""Whether a file's stamps can be true, and how long a picture lasts where they cannot.

A header may hold any time scale. FFmpeg takes it as it is: a hundred pictures come out as one, or last for days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import SupportsFloat

from scorer.sampling.clock import LONGEST_GAP

SHORTEST_STEP = 1e-3
"""Shortest time between frames that a rate or stamps may claim, s."""

USUAL_STEP = 0.04
"""A picture's length, s, where nothing that can be true states one."""

CONTRADICTION = 16
"""Stamps that are so many times slower or faster than the bit stream's own rate are wrong; slow motion is 8 times slower."""

REGULAR = 0.02
"""Steps that differ by less than this share of the usual one are regular."""


@dataclass(frozen=True)
class Head:
    """The first packets of a file. stamps: when they are decoded, s, on the stream's own clock. all_keys: all are keyframes.

    is_reordered: some are shown in another order than they are decoded in, by their stamps.
    """

    stamps: Sequence[float]
    all_keys: bool
    is_reordered: bool = False


def step_of(rate: SupportsFloat | None) -> float | None:
    """Seconds from one frame to the next at a stated rate, None where there is none or it cannot be."""
    step = 1 / float(rate) if rate else 0.0
    return step if SHORTEST_STEP <= step <= LONGEST_GAP else None


def can_be(head: Head, stated: float | None, coded: float | None) -> bool:
    """Whether the stamps can be true. stated, coded: frames a second by the container and by the bit stream, None where unknown.

    Wrong are steps that are no picture's length, and such as the bit stream contradicts by more than `CONTRADICTION`. Slow
    pictures that come at irregular times are believed, and so are recordings of keyframes alone: both are made by cameras.
    """
    if len(head.stamps) == 1:
        return not stated or step_of(stated) is not None
    # A step back is a jump of the clock, such as where parts are joined: `RunningClock` mends it.
    steps = [b - a for a, b in pairwise(head.stamps) if b >= a]
    if not steps:
        return True
    usual = median(steps)
    if not SHORTEST_STEP <= usual <= LONGEST_GAP:
        return False
    coded_step = step_of(coded)
    if coded_step is None or head.all_keys:
        return True
    # Before a step back FFmpeg may have guessed when the first pictures of a Matroska file are decoded.
    back = max((place for place, (a, b) in enumerate(pairwise(head.stamps), 1) if b < a), default=0)
    later = [b - a for a, b in pairwise(head.stamps[back:])] or steps
    is_regular = max(later) - min(later) < REGULAR * usual
    return not (is_regular and usual > CONTRADICTION * coded_step) and usual > coded_step / CONTRADICTION
