"""Judge made streams by many limits at once: what `streams.alerts.rendition` does to one score, in arrays of limits and streams.

A search tries hundreds of limits on hundreds of stream-days; the detector takes some 4 s for one day.
`tests/bench/alert_limits.py` checks on each run that both raise the same alerts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.alerts.averages import weight_of
from streams.alerts.incidents import SEGMENT_SECONDS
from streams.alerts.limits import Alerts, Timing
from streams.alerts.rendition import INITIAL_NOISE_SECONDS
from streams.alerts.state import INITIAL_NOISE
from streams.events import AlertKind

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

NEVER = -(10**9)
"""The segment of something that has not been yet."""


def firing(scores: Numbers, limits: Sequence[Alerts]) -> Iterator[tuple[int, int, int, AlertKind]]:
    """Of each alert that fires: its segment, the place of its limits and of its stream, and its kind.

    scores: (segments, streams), points, of streams that begin together and have no gap.
    """
    judge = _Judge(scores, limits)
    for segment, values in enumerate(scores):
        for kind, fired in judge.step(segment, values):
            for place, stream in np.argwhere(fired):
                yield segment, int(place), int(stream), kind


class _Watch:
    """The watches of one kind: (limits, streams). began: first segment of the present bad, or good, stretch."""

    def __init__(self, shape: tuple[int, int], timings: Sequence[Timing]) -> None:
        self.open = np.zeros(shape, bool)
        self.began, self.opened, self.ended = (np.full(shape, NEVER) for _ in range(3))
        self.minimum, self.clear, self.cool_down = (
            np.array([[math.ceil(getattr(timing, name) / SEGMENT_SECONDS)] for timing in timings])
            for name in ("minimum", "clear", "cool_down")
        )

    def update(self, segment: int, bad: Flags, good: Flags, since: NDArray[np.int64] | int) -> tuple[Flags, Flags]:
        """Which alerts fire and which resolve by a segment. since: first segment of a bad stretch that begins with this one."""
        goes_on = np.where(self.open, good, bad)
        first = np.where(self.open, segment, since)
        self.began = np.where(goes_on, np.where(self.began == NEVER, first, self.began), NEVER)
        lasted, end = segment + 1 - self.began, segment + 1
        fired = goes_on & ~self.open & (lasted >= self.minimum) & (end - self.ended >= self.cool_down)
        resolved = goes_on & self.open & (lasted >= self.clear)
        self.opened = np.where(fired, self.began, self.opened)
        self.ended = np.where(resolved, np.maximum(self.began, self.opened), self.ended)
        self.open = (self.open | fired) & ~resolved
        self.began[fired | resolved] = NEVER
        return fired, resolved


class _Judge:
    """The state of all streams under all limits: arrays of (limits, streams), and limits as columns."""

    def __init__(self, scores: Numbers, limits: Sequence[Alerts]) -> None:
        def column(value: Callable[[Alerts], float]) -> Numbers:
            return np.array([[value(of_one)] for of_one in limits], float)

        def drop(name: str) -> Numbers:
            return column(lambda of_one: getattr(of_one.quality_drop, name))

        shape = len(limits), scores.shape[1]
        self.smoothed = np.broadcast_to(scores[0], shape).copy()
        self.baseline, self.variance = self.smoothed.copy(), np.full(shape, INITIAL_NOISE**2)
        self.cusum, self.since = np.zeros(shape), np.full(shape, NEVER)
        self.low, self.drop = (
            _Watch(shape, [of_one.low_quality for of_one in limits]),
            _Watch(shape, [of_one.quality_drop for of_one in limits]),
        )
        self.threshold = column(lambda of_one: of_one.low_quality.threshold)
        self.good_from = self.threshold + column(lambda of_one: of_one.low_quality.hysteresis)
        self.slack, self.limit, self.warm_up = drop("slack"), drop("limit"), drop("warm_up")
        self.noise_slack, self.noise_limit = drop("noise_slack"), drop("noise_limit")
        self.smooth_by = column(lambda of_one: weight_of(SEGMENT_SECONDS, of_one.smoothing))
        self.noise_by, self.baseline_by, self.adapt_by = (
            column(lambda of_one, name=name: weight_of(SEGMENT_SECONDS, getattr(of_one.quality_drop, name)))  # type: ignore[misc]
            for name in ("noise", "baseline", "adapt")
        )
        self.counted_up_to = np.maximum(self.warm_up, 2 * np.maximum(drop("noise"), drop("baseline")))

    def step(self, segment: int, values: Numbers) -> list[tuple[AlertKind, Flags]]:
        """Of both kinds: for which limits and streams an alert fires by a segment. values: (streams,), points."""
        if segment:
            self.smoothed += self.smooth_by * (values - self.smoothed)
        low, _ = self.low.update(segment, self.smoothed < self.threshold, self.smoothed >= self.good_from, segment)
        known = np.minimum(segment * SEGMENT_SECONDS, self.counted_up_to)
        noise, below = np.sqrt(self.variance), self.baseline - values
        slack, limit = np.maximum(self.slack, self.noise_slack * noise), np.maximum(self.limit, self.noise_limit * noise)
        self.cusum = np.where(known >= self.warm_up, np.clip(self.cusum + below - slack, 0, 2 * limit), 0)
        self.since = np.where(self.cusum > 0, np.where(self.since == NEVER, segment, self.since), NEVER)
        bad = (self.cusum > limit) & (below > slack)
        dropped, resolved = self.drop.update(segment, bad, self.smoothed > self.baseline - slack, self.since)
        self.cusum[resolved], self.since[resolved] = 0, NEVER
        is_open = self.drop.open
        weight = np.maximum(self.noise_by, SEGMENT_SECONDS / (known + INITIAL_NOISE_SECONDS + SEGMENT_SECONDS))
        self.variance += np.where(is_open | bad, 0, weight * (below**2 - self.variance))
        may_begin = self.cusum > np.maximum(self.limit, self.noise_limit * np.sqrt(self.variance)) / 4
        by_mean = (known < self.warm_up) | ~(is_open | may_begin)
        weight = np.where(is_open, self.adapt_by, self.baseline_by)
        self.baseline -= np.where(by_mean, np.maximum(weight, SEGMENT_SECONDS / (known + SEGMENT_SECONDS)), weight) * below
        return [("low-quality", low), ("quality-drop", dropped)]
