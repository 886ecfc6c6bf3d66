"""The interface of all histories: questions about one stream's past, answered from the sink.

Questions about the whole fleet ("the worst 50 now") are not asked here: they would read every stream's scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from streams.errors import HistoryError
from streams.events import SegmentScore

MOST_POINTS = 5000
"""Most buckets of a course: more than a screen has columns."""

MOST_SEGMENTS = 1000
"""Most segments in one answer."""

QUERY_SECONDS = 10.0
"""Longest time of one question; then it is given up, so that a few long ones do not take the store from the workers."""

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Bucket:
    """The scored segments that start within one step of a course.

    start: of the bucket, UTC. mean, low, high: of the scores, points. count: how many segments were scored; skipped ones do not
    count. uncertainty: mean of the scores' uncertainty, points.
    """

    start: datetime
    mean: float | None
    low: float | None
    high: float | None
    count: int
    uncertainty: float | None


class History(Protocol):
    """Past scores of one stream. Times are aware, UTC; `start` belongs to a range, `end` does not.

    rendition: its name; "" for the segments without one; None for all of the stream. Every method raises `HistoryError` where
    the store cannot answer, takes longer than `QUERY_SECONDS`, or is asked for more than it gives.
    """

    async def stream_ids(self, start: datetime, end: datetime) -> list[str]:
        """The streams that have a segment which starts in the range, in order of their names."""
        ...

    async def course(self, stream_id: str, rendition: str | None, start: datetime, end: datetime, points: int) -> list[Bucket]:
        """The scores over time, ascending: at most `points` (1 to 5,000) buckets, those without a scored segment left out.

        Bucket k begins `k * step(start, end, points)` after `start`. Who draws a course again and again rounds `start` and
        `end` to whole steps, so that old buckets keep their segments.
        """
        ...

    async def segment(self, stream_id: str, segment_id: str, rendition: str | None = None) -> SegmentScore | None:
        """One segment's answer, the newest where several have this id; None where the store has none."""
        ...

    async def segments(
        self, stream_id: str, rendition: str | None, start: datetime, end: datetime, limit: int
    ) -> list[SegmentScore]:
        """The answers of segments that start in the range, newest first, also skipped ones; at most `limit` (1 to 1,000)."""
        ...

    async def close(self) -> None:
        """Free what the history holds."""
        ...


def step(start: datetime, end: datetime, points: int) -> timedelta:
    """The length of a course's buckets: whole milliseconds, so that `points` of them cover the range.

    Raises `HistoryError` where the range is empty, or for a number of points that no course has.
    """
    if not 1 <= points <= MOST_POINTS:
        raise HistoryError(f"a course has 1 to {MOST_POINTS} points, not {points}")
    check_range(start, end)
    return -((start - end) // points // MILLISECOND) * MILLISECOND


def check_range(start: datetime, end: datetime) -> None:
    """Raise `HistoryError` where the range is empty."""
    if start >= end:
        raise HistoryError(f"the range is empty: it starts at {start.isoformat()} and ends at {end.isoformat()}")


def check_limit(limit: int) -> None:
    """Raise `HistoryError` for a number of segments that no answer has."""
    if not 1 <= limit <= MOST_SEGMENTS:
        raise HistoryError(f"an answer has 1 to {MOST_SEGMENTS} segments, not {limit}")
