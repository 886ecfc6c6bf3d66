"""How unevenly streams fall on workers: a stream's key decides its partition, so some workers get more streams than others."""

from __future__ import annotations

import math
from collections.abc import Callable

CERTAINTY = 0.9
"""Nine clusters in ten have no worker with more streams than `busiest` says."""


def busiest(streams: int, workers: int) -> int:
    """Streams of the worker that has most of them, where each stream goes to one of the workers at random.

    The number that nine clusters in ten do not exceed. The workers are taken as independent, which is a little too many.
    """
    if workers == 1:
        return streams
    # The chance that one worker may have to exceed the number, so that none does with `CERTAINTY`.
    allowed = -math.expm1(math.log(CERTAINTY) / workers)
    share = 1 / workers
    mean = streams * share
    most = min(streams, math.ceil(mean + 12 * math.sqrt(mean) + 40))
    chance = math.exp(
        math.lgamma(streams + 1) - math.lgamma(most + 1) - math.lgamma(streams - most + 1)
        + most * math.log(share) + (streams - most) * math.log1p(-share)
    )  # fmt: skip
    tail = 0.0
    for number in range(most, 0, -1):
        tail += chance
        if tail > allowed:
            return number
        chance *= number * (1 - share) / ((streams - number + 1) * share)
    return 0


def least(fits: Callable[[int], bool]) -> int:
    """The smallest whole number from 1 on that fits; where a number fits, so do all that are larger."""
    low, step = 0, 1
    while not fits(low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
