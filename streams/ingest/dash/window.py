"""Which segments of a rendition exist at a time, by the server's clock: pure.

A timeline or a list says itself what exists. What has only a duration (a template, `r="-1"`), or is never loaded again, comes by
the clock: each segment when its end has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.events import YEARS
from streams.ingest.base import DEFAULT_TARGET
from streams.ingest.dash.addressing import address_of
from streams.ingest.dash.values import SECOND, Addressing, Period, Presentation, Representation, Run, micros_of
from streams.ingest.hls.addresses import MOST_ADDRESSED
from streams.ingest.hls.playlist import MAX_SEGMENTS
from streams.ingest.hls.values import InitSegment
from streams.media.ranges import Range

KNOWN = 10
"""Announced segments that are looked at again, to tell an old copy of the manifest from a restart."""

SHORTEST_TAIL = 10
"""A tenth of a segment or less at the end of a Period is rounding, or sound that is longer than the pictures: no segment."""

_LATEST = micros_of(datetime(YEARS.stop - 1, 12, 31, tzinfo=UTC))
"""The end of what a date can be."""

Track = Sequence[tuple[Period, Representation]]
"""A rendition from Period to Period."""


@dataclass(frozen=True)
class Placed:
    """A segment with its time. at, period: its start and its Period's, microseconds since 1970 where the presentation has an
    anchor, else since its beginning. length: microseconds."""

    at: int
    length: int
    period: int
    uri: str
    byte_range: Range | None
    init: InitSegment | None
    encrypted: bool

    @property
    def middle(self) -> int:
        """Of the segment: clocks that are slightly set do not move it into its neighbour."""
        return self.at + self.length // 2


@dataclass(frozen=True)
class Window:
    """segments: in their order, the new ones and up to `KNOWN` before them. target: seconds of one. next_at: when the next one
    comes by the clock, None where none does. complete: no other will come."""

    segments: tuple[Placed, ...]
    target: float
    next_at: int | None
    complete: bool


@dataclass(frozen=True)
class Moment:
    """What the segments are placed by. anchor, now: microseconds since 1970. after: the end of the last announced segment, None
    where there is none yet. whole: all there is is wanted, and not the newest segments alone."""

    anchor: int
    now: int
    after: int | None
    whole: bool


def window_of(presentation: Presentation, track: Track, moment: Moment) -> Window:
    """The segments of a rendition that exist, at most `MAX_SEGMENTS` with `MOST_ADDRESSED` characters: the newest."""
    segments: list[Placed] = []
    next_at: int | None = None
    known, most = 0, MAX_SEGMENTS if moment.whole or moment.after is not None else KNOWN
    room, is_enough = MOST_ADDRESSED, False
    left = MAX_SEGMENTS  # also without an address: a few hundred bytes may stand for millions of those
    for index in range(len(track) - 1, -1, -1):
        period, representation = track[index]
        begin = moment.anchor + period.start
        if index and presentation.dynamic and begin > moment.now:
            next_at = begin
            continue
        stretch = _Stretch(presentation, period, representation, moment)
        due = stretch.due()
        next_at = due if due is not None else next_at
        for placed in stretch.newest_first():
            left -= 1
            if placed is not None:
                known += moment.after is not None and placed.middle <= moment.after
                segments.append(placed)
                room -= len(placed.uri) + (len(placed.init.uri) if placed.init is not None else 0)
            is_enough = known >= KNOWN or len(segments) >= most or not left or room < 0
            if is_enough:
                break
        if is_enough:
            break
    last = track[-1][0] if track else None
    is_over = last is not None and last.end is not None and moment.anchor + last.end <= moment.now
    complete = not presentation.dynamic or (presentation.update is None and is_over)
    target = segments[0].length / SECOND if segments else presentation.longest or DEFAULT_TARGET
    return Window(tuple(reversed(segments)), target, next_at, complete)


class _Stretch:
    """A Representation in one Period."""

    def __init__(self, presentation: Presentation, period: Period, representation: Representation, moment: Moment) -> None:
        self._presentation, self._representation, self._moment = presentation, representation, moment
        self._addressing: Addressing = representation.addressing
        self._begin = moment.anchor + period.start
        self._stop = moment.anchor + period.end if period.end is not None else None

    def due(self) -> int | None:
        """When the next segment comes by the clock."""
        runs = self._addressing.runs
        if self._presentation.update is not None:
            runs = runs[-1:]  # only the last may be open
        times = [self._end(run, count) for run in runs if (count := self._next(run)) is not None]
        return min(times, default=None)

    def newest_first(self) -> Iterator[Placed | None]:
        """The segments that exist, from the last to the first; None for one without an address that may be in an event."""
        depth = self._presentation.depth
        for run in reversed(self._addressing.runs):
            newest = min(self._count(run), self._existing(run)) - 1
            for index in range(newest, max(-1, newest - MAX_SEGMENTS), -1):
                at, end = self._at(run, index), self._at(run, index + 1)
                if end <= self._begin:
                    return
                if self._by_clock(run) and depth is not None and end <= self._moment.now - depth:
                    return
                yield self._placed(run, index, at, end)

    def _placed(self, run: Run, index: int, at: int, end: int) -> Placed | None:
        addressing, number = self._addressing, run.number + index
        byte_range = None
        if addressing.listed:
            entry = addressing.listed[number]
            uri, byte_range = entry.uri, entry.byte_range
        else:
            uri = address_of(addressing, number, run.time + index * run.duration) or ""
        if not uri:
            return None
        end = end if self._stop is None else min(end, self._stop)
        return Placed(at, end - at, self._begin, uri, byte_range, addressing.init, self._representation.encrypted)

    def _at(self, run: Run, index: int) -> int:
        """The start of a segment of a run."""
        addressing = self._addressing
        return self._begin + (run.time + index * run.duration - addressing.offset) * SECOND // addressing.timescale

    def _end(self, run: Run, index: int) -> int:
        """When a segment of a run may be fetched."""
        return self._at(run, index + 1) - self._addressing.early

    def _by_clock(self, run: Run) -> bool:
        return self._presentation.dynamic and (run.count is None or self._presentation.update is None)

    def _count(self, run: Run) -> int:
        """How many segments a run has up to the end of the Period, or of what a date can be."""
        stop = min(self._stop, _LATEST) if self._stop is not None else _LATEST
        # In parts of a unit: with a timescale of 1, which is the default, a unit is a second.
        parts = (stop - self._begin) * self._addressing.timescale + (self._addressing.offset - run.time) * SECOND
        length = run.duration * SECOND
        most = max(0, -((length - SHORTEST_TAIL * parts) // (SHORTEST_TAIL * length)))
        return most if run.count is None else min(run.count, most)

    def _existing(self, run: Run) -> int:
        """How many segments of a run exist by the clock."""
        if not self._by_clock(run):
            return 2**64
        addressing, now = self._addressing, max(self._moment.now, self._moment.after or 0)
        units = (now + addressing.early - self._begin) * addressing.timescale // SECOND + addressing.offset - run.time
        return max(0, units // run.duration)

    def _next(self, run: Run) -> int | None:
        """The first segment of a run that does not exist yet."""
        existing = self._existing(run)
        return existing if self._by_clock(run) and existing < self._count(run) else None
