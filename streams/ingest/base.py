"""What a live source is: the values and clocks that all kinds of them share, and what the supervisor runs."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from streams.events import SegmentEvent
from streams.ingest import metrics
from streams.ingest.known import KnownFiles
from streams.ingest.states import SourceState, State
from streams.media.read import Answer

DEFAULT_TARGET = 6.0
"""Target duration, seconds, of a playlist that says none and has no segment."""

GIVE_UP_SECONDS = 300.0
"""Seconds for which a source may be away with `once`, which ends at some time whatever happens."""

Clock = Literal["auto", "source", "arrival"]


@dataclass(frozen=True)
class Stream:
    """What the events of a rendition have in common. clock: whose clock dates the segments. from_start: also announce what the
    playlist holds when the source is joined, not its newest segment only."""

    stream_id: str
    rendition: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    clock: Clock = "auto"
    from_start: bool = False


@dataclass(frozen=True)
class Clocks:
    """Where a rendition's clocks stand after its last segment.

    dates: end by the source's dates, None before the first date. last_date: the last date that was accepted. arrival: end by
    arrival. used: where the dates have gone back, the latest that were used before; up to it a date names no segment.
    """

    dates: datetime | None = None
    last_date: datetime | None = None
    arrival: datetime | None = None
    used: datetime | None = None


@dataclass(frozen=True)
class Position:
    """How far a rendition was announced.

    epoch: counts the encoder's restarts. number: media sequence number of the last segment that was announced or left out.
    sequence: of its event. loads_back: how many playlists in a row went back. ended: the last playlist was complete.
    discontinuity, name: of the last segment; first, length: of the last playlist; to check the next one by.
    last: the last event, to be sent once more when the stream ends without another segment. anchor: what the times of a DASH
    manifest count from.
    """

    epoch: int = 0
    number: int | None = None
    sequence: int = -1
    clocks: Clocks = field(default_factory=Clocks)
    loads_back: int = 0
    ended: bool = False
    discontinuity: int = 0
    name: str = ""
    first: int = 0
    length: int = 0
    last: SegmentEvent | None = None
    anchor: datetime | None = None


@dataclass(frozen=True)
class Times:
    """The clocks that a source is followed by."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True)
class SavedPosition:
    """A position as it is kept. source: the address it belongs to, without its query. known: the files of a watched folder."""

    position: Position = field(default_factory=Position)
    source: str = ""
    known: KnownFiles | None = None


Read = Callable[[str, float], Awaitable[Answer]]
Publish = Callable[[Stream, Sequence[SegmentEvent], SavedPosition], Awaitable[None]]
Report = Callable[[Stream, SourceState], None]


@dataclass(frozen=True)
class Services:
    """What sources need from outside.

    read: loads an address within seconds, raises `ReadError`. publish: returns when the events are acknowledged and the position
    after them is kept. restore: the position that was kept of a stream's rendition. allowed: whether media may be fetched from an
    address, as far as its text tells. report: takes the state of a rendition after each load, and returns at once. retire:
    deletes what is kept of a rendition that the source does not have, and returns at once. renditions: those of a stream id of
    which something is kept, also by a process before this one.
    """

    read: Read
    publish: Publish
    restore: Callable[[Stream], SavedPosition | None] = lambda _: None
    times: Times = field(default_factory=Times)
    chance: Callable[[], float] = random.random
    report: Report = lambda *_: None
    allowed: Callable[[str], bool] = lambda _: True
    retire: Callable[[Stream], None] = lambda _: None
    renditions: Callable[[str], Collection[str | None]] = lambda _: ()


@dataclass
class Status:
    """What is known of a rendition, for pages. reason: why it is not live. changed: monotonic time of the last new segment.
    announced: how many segments were, each counted once."""

    stream: str
    rendition: str | None
    source: str
    state: State = "starting"
    reason: str = ""
    target: float = DEFAULT_TARGET
    changed: float | None = None
    announced: int = 0
    skew: float | None = None
    position: Position = field(default_factory=Position)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The stream and its rendition, for logs."""
        return "/".join(part for part in (self.stream, self.rendition) if part)

    def move(self, position: Position, events: Sequence[SegmentEvent]) -> None:
        """Take the position after events that were announced. At a late end the last segment is announced once more."""
        last = self.position.last
        self.announced += sum(last is None or event.segment_id != last.segment_id for event in events)
        self.position = position

    def show(self, state: State, reason: str, log: logging.Logger) -> None:
        """Set the state, and log it where it is another."""
        changed, self.state, self.reason = state != self.state, state, reason
        if changed:
            level = logging.INFO if state in ("waiting", "live", "ended") else logging.WARNING
            log.log(level, "%s is %s%s", self.name, state, f": {reason}" if reason else "")

    def count(self, counts: Counter[str]) -> None:
        """Add to the counters of the stream, by what they count as in `streams.ingest.metrics.COUNTERS`."""
        for what, count in counts.items():
            if count:
                metrics.COUNTERS[what].labels(self.stream).inc(count)
                self.counts[what] += count


class Source(Protocol):
    """A source while it is followed. Its positions outlive a failure of `run`, which may be called again."""

    def statuses(self) -> Sequence[Status]:
        """What is known of its renditions; before there are any, of the source itself."""

    async def run(self) -> None:
        """Follow until cancelled; where the plan says `once`, until all its renditions have ended."""


@dataclass(frozen=True)
class AddressPlan:
    """A source that is loaded from an address. stream: its name, labels and clock. renditions: `highest`, `all`, or a name."""

    stream: Stream
    url: str = field(repr=False)
    renditions: str = "highest"
    once: bool = False


class Plan(Protocol):
    """What the operator wants of a source: a value, so that a plan that changed can be told from one that did not."""

    @property
    def stream(self) -> Stream:
        """The source's name, labels and clock."""

    def source(self, services: Services) -> Source:
        """The source, to be run."""
