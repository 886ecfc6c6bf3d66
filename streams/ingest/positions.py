"""The positions of renditions on their topic: JSON, read with suspicion."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from streams.errors import EventError
from streams.events import YEARS, Event, Name
from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.known import MOST_RECENT, KnownFiles
from streams.ingest.states import KeptState, SourceState

log = logging.getLogger(__name__)

MOST = 2**62
"""Numbers above this are damaged: an event's `sequence` could not rise any more."""

MOST_NUMBER = 2**65
"""The same for a playlist's numbers, which begin anywhere in 64 bits: with nanoseconds since 1970, for example."""

RenditionKey = tuple[str, str | None]
"""A stream's id, and the rendition's name if it has one."""


class PositionRecord(Event):
    """How far a rendition was announced, and its state. Key: stream id and rendition."""

    version: Literal[1] = 1
    stream_id: Name
    rendition: Name | None = None
    source: str = Field(max_length=1024, description="The playlist's address without its query, or the folder's path.")
    saved: AwareDatetime
    position: Position
    state: KeptState = None
    known: KnownFiles | None = None


def to_bytes(stream: Stream, saved: SavedPosition, now: datetime | None = None, state: SourceState | None = None) -> bytes:
    """The message of a position. now: when it is saved. state: of the rendition."""
    return PositionRecord(
        stream_id=stream.stream_id,
        rendition=stream.rendition,
        source=saved.source,
        saved=now or datetime.now(UTC),
        position=saved.position,
        state=state,
        known=saved.known,
    ).to_bytes()


def key_of(stream: Stream) -> bytes:
    """The message key of a position. A slash in a stream's name does not make it another's rendition."""
    return f"{len(stream.stream_id)}/{stream.stream_id}/{stream.rendition or ''}".encode()


def from_bytes(value: bytes) -> tuple[RenditionKey, SavedPosition]:
    """A position from its message. Raises `EventError` where it is damaged."""
    record = PositionRecord.from_bytes(value)
    position = record.position
    counts = (position.epoch, position.sequence + 1, position.loads_back, position.length)
    numbers = (position.number or 0, position.first, position.discontinuity)
    if not all(0 <= count < MOST for count in counts) or not all(0 <= number < MOST_NUMBER for number in numbers):
        raise EventError("position", "a number is out of bounds")
    clocks = position.clocks
    for time in (clocks.dates, clocks.last_date, clocks.arrival, clocks.used, position.anchor):
        if time is not None and (time.tzinfo is None or time.year not in YEARS):
            raise EventError("position.clocks", "a time has no offset, or an impossible year")
    if record.known is not None and len(record.known.recent) > MOST_RECENT:
        raise EventError("known", "it names too many files")
    return (record.stream_id, record.rendition), SavedPosition(position, record.source, record.known)


def restored(messages: Iterable[tuple[bytes | None, bytes | None]]) -> dict[RenditionKey, SavedPosition]:
    """The last position of each rendition. messages: keys and values in their order. A damaged one is left out with a word."""
    last: dict[bytes, bytes] = {}
    for key, value in messages:
        if value is None:
            last.pop(key or b"", None)
        else:
            last[key or b""] = value
    positions = {}
    for key, value in last.items():
        try:
            name, saved = from_bytes(value)
            positions[name] = saved
        except EventError as error:
            log.warning("the position of %r is damaged and is left out: %s", key[:100], str(error)[:300])
    return positions
