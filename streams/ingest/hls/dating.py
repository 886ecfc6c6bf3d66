"""When a segment begins: by the source's dates where they can be believed, else by when its playlists arrived.

Both clocks run beside each other. `dates` follows `EXT-X-PROGRAM-DATE-TIME` and goes on by durations; it names segments, because
two ingesters of one source read the same dates. `arrival` is anchored at the newest segment: it ends now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from streams.ingest.base import Clocks
from streams.ingest.hls.values import MediaPlaylist, Segment

MOST_SKEW = 60.0
"""Seconds by which a source's dates may differ from this machine's clock; then its clock is wrong, and arrival counts."""

CORRECTION = 0.5
"""Seconds by which a date differs from the durations before it, from which it is counted as a correction."""

MOST_DRIFT_TARGETS = 2.0
"""Target durations by which the arrival clock may be behind or ahead of now."""


@dataclass(frozen=True)
class Dated:
    """A segment's start by each clock. by_date: None where the source has given no date yet. is_own: it is the segment's own
    date, which was believed. is_repeated: that date may have named another segment already."""

    segment: Segment
    by_date: datetime | None
    by_arrival: datetime
    is_own: bool
    is_repeated: bool


def with_dates(playlist: MediaPlaylist, number: int | None) -> MediaPlaylist:
    """The playlist with dates on its last segment and on those from `number` on, counted from the date before them.

    Many packagers date the first segment of each playlist alone, which was announced long ago: the clock would go on by durations
    from where the source was joined, and drift away from the source's.
    """
    if number is None or all(segment.date is not None for segment in playlist.segments):
        return playlist
    segments: list[Segment] = []
    date, following = None, playlist.first
    for place, segment in enumerate(playlist.segments, 1):
        if segment.date is not None:
            date = segment.date
        elif date is not None:
            date += timedelta(seconds=playlist.target * (segment.number - following))
        is_needed = segment.number >= number or place == len(playlist.segments)
        segments.append(replace(segment, date=date) if is_needed else segment)
        date = date + timedelta(seconds=segment.duration) if date is not None else None
        following = segment.number + 1
    return replace(playlist, segments=tuple(segments))


def date_segments(
    clocks: Clocks, segments: Sequence[Segment], now: datetime, target: float, finished: bool = False, after: int | None = None
) -> tuple[Clocks, list[Dated], int]:
    """The new segments with their starts, the clocks after them, and how many dates corrected the clock.

    segments: in their order, at least one. target: target duration, seconds, for numbers that are missing between them.
    finished: the playlist is complete already, so that its first segment, and not the end of its last, is taken to be now.
    after: the number before the first.
    """
    numbers = [segments[0].number - 1 if after is None else after, *(segment.number for segment in segments)]
    missing = [timedelta(seconds=target * max(0, here - there - 1)) for there, here in pairwise(numbers)]
    length = sum(missing, timedelta(seconds=sum(segment.duration for segment in segments)))
    arrival = clocks.arrival
    tolerance = timedelta(seconds=MOST_DRIFT_TARGETS * target)
    if arrival is None and finished:
        arrival = now
    elif arrival is None or abs(now - (arrival + length)) > tolerance:
        arrival = now - length
    dates, last_date, used = clocks.dates, clocks.last_date, clocks.used
    if dates is None:
        dates = _backfilled(segments, missing)
    dated, corrections = [], 0
    for segment, lost in zip(segments, missing, strict=True):
        arrival += lost
        dates = dates + lost if dates is not None else None
        is_own = segment.date is not None and (
            last_date is None or segment.date > last_date or _is_right(segment.date, last_date, now)
        )
        if segment.date is not None and is_own:
            corrections += dates is not None and abs((segment.date - dates).total_seconds()) > CORRECTION
            if last_date is not None and dates is not None and segment.date <= last_date:
                used = used_up_to(replace(clocks, dates=dates, used=used), target)
            dates = last_date = segment.date
        dated.append(Dated(segment, dates, arrival, is_own, dates is not None and used is not None and dates <= used))
        duration = timedelta(seconds=segment.duration)
        arrival += duration
        dates = dates + duration if dates is not None else None
    return Clocks(dates, last_date, arrival, used), dated, corrections


def _is_right(date: datetime, last_date: datetime, now: datetime) -> bool:
    """Whether a date that goes back is right, because the one before was far in the future. Else one such date, a mistake of the
    packager, would hide all that follow."""
    return last_date - now > timedelta(seconds=MOST_SKEW) >= abs(date - now)


def used_up_to(clocks: Clocks, target: float) -> datetime | None:
    """The latest start by date that may have named a segment: up to it, dates that go back now would name another one alike."""
    if clocks.dates is None:
        return clocks.used
    start = clocks.dates - timedelta(seconds=target)
    return start if clocks.used is None else max(start, clocks.used)


def passed(clocks: Clocks, seconds: float) -> Clocks:
    """The clocks after so many seconds of segments that cannot be announced."""
    length = timedelta(seconds=seconds)
    return replace(
        clocks,
        dates=clocks.dates + length if clocks.dates is not None else None,
        arrival=clocks.arrival + length if clocks.arrival is not None else None,
    )


def _backfilled(segments: Sequence[Segment], missing: Sequence[timedelta]) -> datetime | None:
    """The end of what came before the segments, counted back from the first date in the list."""
    before = timedelta()
    for segment, lost in zip(segments, missing, strict=True):
        before += lost
        if segment.date is not None:
            return segment.date - before
        before += timedelta(seconds=segment.duration)
    return None


def skew(clocks: Clocks, now: datetime) -> float | None:
    """Seconds by which the source's clock is behind this machine's, from the end of the newest segment; None without dates."""
    return (now - clocks.dates).total_seconds() if clocks.dates is not None else None
