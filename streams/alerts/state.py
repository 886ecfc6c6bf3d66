"""What the detector knows of a stream: plain values that survive as JSON on the topic `alert-state`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter

from streams.events import AlertKind

USUAL_NOISE = 4.0
"""Standard deviation of a stream's scores that is assumed at first, points."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert that has fired and is not resolved."""

    started_at: datetime
    value: float
    baseline: float | None
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Watch:
    """One kind of alert in one course. since: begin of the stretch that is bad, or good again once an alert is open."""

    since: datetime | None = None
    opened: Opened | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one rendition.

    begun: start of the first segment since numbers began anew. until: end of the latest. seen: seconds of scores in the
    baseline, as far as it matters. variance: of scores around it, points squared. fallen: the CUSUM, points. fallen_since:
    start of the segment in which it left zero.
    """

    sequence: int
    begun: datetime
    until: datetime
    smooth: float | None = None
    baseline: float | None = None
    seen: float = 0.0
    variance: float = USUAL_NOISE**2
    fallen: float = 0.0
    fallen_since: datetime | None = None
    watches: dict[AlertKind, Watch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamState:
    """Everything that is known of one stream.

    silence: the open alert of kind no-segments. judged, back: the last one's start, and its end if it is over.
    """

    stream_id: str
    courses: dict[str, Course] = field(default_factory=dict)
    until: datetime | None = None
    segment_id: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    silence: Opened | None = None
    judged: datetime | None = None
    back: datetime | None = None


_JSON = TypeAdapter(StreamState)


def to_json(state: StreamState) -> bytes:
    """The state as JSON."""
    return _JSON.dump_json(state, exclude_defaults=True)


def from_json(data: bytes) -> StreamState:
    """The state from its JSON; raises ValueError where it is none."""
    return _JSON.validate_json(data)
