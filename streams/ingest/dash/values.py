"""What DASH manifests say, as values. The terms are those of ISO/IEC 23009-1. Times are whole microseconds: they add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from streams.ingest.hls.values import InitSegment, Variant
from streams.media.ranges import Range

SECOND = 1_000_000
"""Microseconds."""

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def micros_of(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _BEGIN) // timedelta(microseconds=1)


def time_of(micros: int) -> datetime:
    """The time so many microseconds after 1970. Raises OverflowError where no calendar has it."""
    return _BEGIN + timedelta(microseconds=micros)


@dataclass(frozen=True)
class Run:
    """Segments of one duration, one after the other: an `S` of a timeline, or a whole template.

    time: of the first one, and duration, in units of the timescale. number: of the first one. count: None where they go on to the
    end of the Period, each when its time has come.
    """

    time: int
    duration: int
    number: int
    count: int | None


@dataclass(frozen=True)
class ListedSegment:
    """A `SegmentURL` of a list. uri: absolute."""

    uri: str
    byte_range: Range | None = None


@dataclass(frozen=True)
class Addressing:
    """When the segments of a Representation are, and where.

    timescale: units in a second. offset: `presentationTimeOffset`. runs: by time. base: addresses are relative to it. media: the
    template of the addresses, where there is no list; known: the fields of it that are known. listed: the list, whose first entry
    is the first segment of the first run. early: microseconds by which a segment may be fetched before it is over.
    """

    timescale: int
    offset: int
    runs: tuple[Run, ...]
    base: str
    media: str = ""
    known: Mapping[str, str | int] = field(default_factory=dict)
    listed: tuple[ListedSegment, ...] = ()
    init: InitSegment | None = None
    early: int = 0


@dataclass(frozen=True)
class Representation:
    """One encoding of the pictures in a Period. looks: its height, bandwidth and codecs. encrypted: by a `ContentProtection`."""

    name: str
    looks: Variant
    addressing: Addressing
    encrypted: bool = False


@dataclass(frozen=True)
class Period:
    """A stretch of the presentation. start, end: microseconds since its beginning; end: None while it is not known."""

    start: int
    end: int | None
    representations: tuple[Representation, ...]


@dataclass(frozen=True)
class Timing:
    """A `UTCTiming`: how to learn the server's time. scheme: the last words of its URN, as `http-iso`."""

    scheme: str
    value: str


@dataclass(frozen=True)
class Presentation:
    """A manifest.

    dynamic: it is live. anchor: `availabilityStartTime`, which the Periods' times count from. update: seconds after which it is
    loaded again, None for never. depth: microseconds for which segments stay, None for ever. longest: seconds of the longest
    segment, as far as it is said. locations: where it is to be loaded from next. dropped: what could not be read, by its name.
    redundant: several servers have the same media.
    """

    dynamic: bool
    anchor: datetime | None
    update: float | None
    depth: int | None
    longest: float | None
    periods: tuple[Period, ...]
    locations: tuple[str, ...] = ()
    timings: tuple[Timing, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    redundant: bool = False
