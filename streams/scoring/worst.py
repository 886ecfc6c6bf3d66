"""The worst streams of this worker as a metric, `fvq_stream_score`, for programs that read no topic and ask no wall.

A series for each stream would be without end: a platform has new streams every minute. So there are N series at most, of the
streams that are worst at the moment when they are asked for; the others have none.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import Gauge

from streams import metrics
from streams.events import SegmentScore
from streams.text import printable

SMOOTHING_SECONDS = 10.0
"""Half-life of a stream's score, in seconds of its segments: one bad segment does not make a stream the worst."""

FRESH_SECONDS = 120.0
"""A rendition without a score for so long is left out: its stream ended, is skipped, or is read by another worker now."""


@dataclass(slots=True)
class _Rendition:
    score: float
    seen: float


class WorstStreams:
    """The scores of this worker's streams. most: series at most. Used in the app's event loop.

    A stream's score is that of its worst rendition.
    """

    def __init__(self, most: int, gauge: Gauge = metrics.STREAM_SCORE, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._gauge, self._clock = most, gauge, clock
        self._streams: dict[str, dict[str | None, _Rendition]] = {}
        self._shown: set[str] = set()

    def add(self, answers: Iterable[object]) -> None:
        """Take in answers to segments; those without a score say nothing, and a stream's end takes it out."""
        now = self._clock()
        for answer in answers:
            if not isinstance(answer, SegmentScore):
                continue
            if answer.ended:
                self._streams.pop(answer.stream_id, None)
            elif answer.score is not None:
                renditions = self._streams.setdefault(answer.stream_id, {})
                before = renditions.get(answer.rendition)
                renditions[answer.rendition] = _Rendition(_smoothed(before, answer.score, answer.duration), now)

    def show(self) -> None:
        """Set the metric to the streams that are worst now, and remove those that no longer are."""
        self._forget(self._clock() - FRESH_SECONDS)
        scores = ((min(each.score for each in renditions.values()), name) for name, renditions in self._streams.items())
        worst = {printable(name): score for score, name in heapq.nsmallest(self._most, scores)}
        for name in self._shown - set(worst):
            self._gauge.remove(name)
        for name, score in worst.items():
            self._gauge.labels(name).set(round(score, 1))
        self._shown = set(worst)

    def _forget(self, before: float) -> None:
        for name, renditions in list(self._streams.items()):
            for rendition in [rendition for rendition, state in renditions.items() if state.seen < before]:
                del renditions[rendition]
            if not renditions:
                del self._streams[name]


def _smoothed(before: _Rendition | None, score: float, seconds: float) -> float:
    if before is None:
        return score
    weight = 1.0 - 2.0 ** (-max(0.0, seconds) / SMOOTHING_SECONDS)
    return before.score + weight * (score - before.score)
