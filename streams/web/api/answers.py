"""What the routes answer. Scores are points, times ISO 8601 in UTC with milliseconds; fields are named as in `segment-scores`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from streams.events import AlertAcknowledgement, QualityAlert, SegmentScore


class StreamItem(BaseModel):
    """A stream as it is now, by its worst rendition."""

    stream_id: str
    rendition: str | None = Field(description="The worst rendition; null where segments name none.")
    labels: dict[str, str]
    state: str = Field(description="ok, or what is wrong: the kind of its alert, skipped, stale, ended, unknown.")
    since: str | None = Field(description="Start of its worst alert, or when the level of its score last changed.")
    score: float | None = Field(description="Of the last segment.")
    smoothed: float | None = Field(description="Over the last seconds; lists are ordered by it.")
    level: str | None = Field(description="Of the smoothed score.")
    usual: float | None = Field(description="The stream's usual score.")
    uncertainty: float | None = Field(description="Expected absolute error of the score.")
    lag: float | None = Field(description="Seconds from the last segment's end to its score.")
    alerts: list[str] = Field(description="Ids of the alerts that fire, the most urgent first.")
    acknowledged: bool = Field(description="It has alerts, and all are acknowledged.")
    segment_id: str | None
    at: str | None = Field(description="End of the last segment.")
    model: str | None


class _List(BaseModel):
    next: str | None = Field(description="Cursor of the next page; null at the end.")
    at: str = Field(description="When the answer was made.")


class StreamList(_List):
    """One page of streams. With `fields`, items have only those."""

    items: list[dict[str, Any]]


class SignalValue(BaseModel):
    """A signal of the last segment against what is usual for its rendition."""

    value: float | None
    usual: float | None


class RenditionItem(BaseModel):
    """One rendition of a stream, as it is now."""

    rendition: str | None
    state: Literal["live", "stale"]
    score: float | None
    smoothed: float | None
    level: str | None
    usual: float | None
    uncertainty: float | None
    lag: float | None
    duration: float
    segment_id: str | None
    at: str | None
    model: str | None
    tier: str | None
    signals: dict[str, SignalValue] = Field(description="blur, blockiness, noise, black, freeze, luma, contrast, face.")


class AlertItem(BaseModel):
    """An alert and its acknowledgement."""

    alert: QualityAlert
    ack: AlertAcknowledgement | None = None


class StreamDetail(StreamItem):
    """A stream with its renditions, and its alerts of the last day."""

    renditions: list[RenditionItem]
    open_alerts: list[AlertItem]
    last: list[SegmentScore] = Field(description="The last score of each rendition, whole.")


class CoursePoint(BaseModel):
    """The scores of one step."""

    t: str
    mean: float | None
    min: float | None
    max: float | None
    n: int
    uncertainty: float | None


class CourseAnswer(_List):
    """A stream's scores over time."""

    items: list[CoursePoint]
    step: float = Field(description="Seconds.")


class SegmentList(_List):
    """One page of a stream's segments, the newest first. What InfluxDB keeps has no labels and no `uri`."""

    items: list[SegmentScore]


class AlertList(_List):
    """One page of alerts."""

    items: list[AlertItem]


class PictureItem(BaseModel):
    """A small picture: a preview, not to be judged by. `which` says why it is kept."""

    which: Literal["last", "last_good", "first_bad"]
    segment_id: str
    start: str
    score: float | None
    width: int
    height: int
    rendition: str | None
    url: str


class PictureList(_List):
    """The pictures that are kept of a stream."""

    items: list[PictureItem]


class Comparison(BaseModel):
    """The last good picture and the first bad one."""

    good: PictureItem | None
    bad: PictureItem | None
    at: str


class GroupItem(BaseModel):
    """Alerts that most likely have one cause: of one kind, on streams of one label, within seconds."""

    label: str
    value: str
    kind: str
    streams: int = Field(description="Streams with such an alert.")
    of: int = Field(description="Streams that carry the label.")
    started_at: str
    seconds: float = Field(description="From the first alert's start to the last one's.")
    alerts: list[str]
    text: str


class GroupList(_List):
    """Groups, the largest first."""

    items: list[GroupItem]


class ClipItem(BaseModel):
    """A clip that waits to be rated."""

    id: str
    stream_id: str
    segment_id: str
    rendition: str | None
    start: str
    duration: float
    score: float
    uncertainty: float
    reason: str
    model: str
    labels: dict[str, str]
    queued_at: str
    url: str


class ClipList(_List):
    """One page of clips."""

    items: list[ClipItem]


class ShiftItem(BaseModel):
    """A model's change, and the fleet's median score in the two minutes before and after it."""

    name: str
    version: str | None
    before: str | None
    time: str
    median_before: float | None
    median_after: float | None


class Health(BaseModel):
    """How the monitor itself is."""

    ready: bool
    reading: str = Field(description="What the wall's reader of the topics does: starting, following, or waiting for Kafka.")
    problem: str = Field(description="Why it does not read; empty where it does.")
    lag_p95: float | None
    scored_per_second: float
    skipped_share: float | None
    dead_letters_per_minute: float | None
    models: dict[str, int]
    shifts: list[ShiftItem]
    sockets: int


class SessionAnswer(BaseModel):
    """Who is signed in, and what they may do."""

    name: str
    scopes: list[str]
    labels: dict[str, str]


class RatingAnswer(BaseModel):
    """The clip that was queued, and the model's score, which the person sees after rating."""

    clip: str
    score: float


def iso(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC with milliseconds; None for 0 or None, and for a time outside the calendar."""
    try:
        return iso_of(datetime.fromtimestamp(seconds, UTC)) if seconds else None
    except (ValueError, OverflowError):
        return None


def iso_of(time: datetime) -> str:
    """A time as ISO 8601 in UTC with milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
