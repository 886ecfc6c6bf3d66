"""The last points of every rendition, in ring buffers that share a few numpy arrays: 300 points of 2,000 renditions are 26 MB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.web.reading import SIGNALS

POINTS = 300
"""Points kept of a rendition: ten minutes of segments of two seconds."""

FIRST_ROWS = 64


@dataclass(frozen=True)
class Course:
    """A rendition's points, as they came. time: (N,) seconds since 1970. score: (N,) points, NaN where skipped.

    signals: (N, len(SIGNALS)), NaN where not measured.
    """

    time: NDArray[np.float64]
    score: NDArray[np.float32]
    signals: NDArray[np.float32]


class Courses:
    """Ring buffers by row. `take` gives a row, `free` takes it back; the arrays double when all rows are taken."""

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._free: list[int] = []
        self._time = np.zeros((0, points))
        self._score = np.zeros((0, points), np.float32)
        self._signals = np.zeros((0, points, len(SIGNALS)), np.float32)
        self._count = np.zeros(0, np.int64)

    def take(self) -> int:
        """An empty row."""
        if not self._free:
            self._grow(max(FIRST_ROWS, len(self._count)))
        row = self._free.pop()
        self._count[row] = 0
        return row

    def free(self, row: int) -> None:
        """Give a row back."""
        self._free.append(row)

    def add(self, row: int, time: float, score: float, signals: list[float]) -> None:
        """Add a point. time: seconds since 1970; a packager's clock may go back. score: NaN for none."""
        at = self._count[row] % self._points
        self._time[row, at] = time
        self._score[row, at] = score
        self._signals[row, at] = signals
        self._count[row] += 1

    def last(self, row: int, most: int = POINTS) -> Course:
        """The last points of a row, at most `most`."""
        count = int(self._count[row])
        first = max(0, count - min(most, self._points))
        places = np.arange(first, count) % self._points
        return Course(self._time[row, places], self._score[row, places], self._signals[row, places])

    def _grow(self, rows: int) -> None:
        """Add so many rows to the arrays."""
        before = len(self._count)
        self._time, self._score, self._signals, self._count = (
            np.concatenate([array, np.zeros((rows, *array.shape[1:]), array.dtype)])
            for array in (self._time, self._score, self._signals, self._count)
        )
        self._free.extend(reversed(range(before, before + rows)))


def usual_signals(course: Course) -> dict[str, float | None]:
    """The usual value of each signal: the median of the older half of a course; None where it was not measured."""
    older = course.signals[: max(1, len(course.time) // 2)]
    usual: dict[str, float | None] = {}
    for place, name in enumerate(SIGNALS):
        values = older[:, place][~np.isnan(older[:, place])] if len(older) else older[:, place]
        usual[name] = round(float(np.median(values)), 4) if len(values) else None
    return usual
