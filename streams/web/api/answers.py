"""What the routes answer. Scores are points, times ISO 8601 in UTC with milliseconds; fields are named as in `segment-scores`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from streams.events import AlertAcknowledgement, QualityAlert, SegmentScore


class StreamItem(BaseModel):
    """A stream as it is now, by its worst rendition."""

    stream_id: str = Field(description="The channel, as its segments name it.")
    rendition: str | None = Field(description="The worst rendition; null where segments name none.")
    labels: dict[str, str] = Field(description="The labels of its last segment, at most 32.")
    state: str = Field(description="ok, or what is wrong: the kind of its alert, skipped, stale, ended, unknown.")
    since: str | None = Field(description="Start of its worst alert, or when the level of its score last changed; ISO 8601, UTC.")
    score: float | None = Field(description="Of the last segment, points, 0-100.")
    smoothed: float | None = Field(description="The score over the last seconds, points, 0-100; lists are ordered by it.")
    level: str | None = Field(description="Of the smoothed score: bad, poor, fair, good or excellent.")
    usual: float | None = Field(description="The stream's usual score, points, 0-100; null until it is known.")
    uncertainty: float | None = Field(description="Expected absolute error of the score, points, at least 0.")
    lag: float | None = Field(description="Seconds from the last segment's end to its score.")
    alerts: list[str] = Field(description="Ids of the alerts that fire, the most urgent first.")
    acknowledged: bool = Field(description="It has alerts, and all are acknowledged.")
    segment_id: str | None = Field(description="The last segment of the worst rendition.")
    at: str | None = Field(description="End of the last segment; ISO 8601, UTC.")
    model: str | None = Field(description="Which model scored that segment, name@version.")
    maintenance_until: str | None = Field(
        description="End of the maintenance that it is in, nothing new of it fires until then; ISO 8601, UTC; null without."
    )


class _List(BaseModel):
    next: str | None = Field(description="Cursor of the next page; null at the end.")
    at: str = Field(description="When the answer was made; ISO 8601, UTC.")


class StreamList(_List):
    """One page of streams. With `fields`, items have only those."""

    items: list[dict[str, Any]] = Field(
        description="The streams of this page, each a StreamItem or its fields that were asked for; at most `limit`."
    )


class SignalValue(BaseModel):
    """A signal of the last segment against what is usual for its rendition."""

    value: float | None = Field(
        description="In the signal's own unit and range (docs/signals.md); null where it was not measured."
    )
    usual: float | None = Field(description="What is usual for the rendition, in the same unit; null until it is known.")


class RenditionItem(BaseModel):
    """One rendition of a stream, as it is now."""

    rendition: str | None = Field(description="Its name; null where segments name none.")
    state: Literal["live", "stale"] = Field(description="stale: no score for three segments.")
    score: float | None = Field(description="Of its last segment, points, 0-100; null where it was skipped.")
    smoothed: float | None = Field(description="The score over the last seconds, points, 0-100.")
    level: str | None = Field(description="Of the smoothed score: bad, poor, fair, good or excellent.")
    usual: float | None = Field(description="Its usual score, points, 0-100; null until it is known.")
    uncertainty: float | None = Field(description="Expected absolute error of the score, points, at least 0.")
    lag: float | None = Field(description="Seconds from the last segment's end to its score.")
    duration: float = Field(description="Length of the last segment, seconds, over 0, at most 3600.")
    segment_id: str | None = Field(description="Its last segment.")
    at: str | None = Field(description="End of that segment; ISO 8601, UTC.")
    model: str | None = Field(description="Which model scored it, name@version.")
    tier: str | None = Field(description="Which look it got: glance, full or deep.")
    signals: dict[str, SignalValue] = Field(description="By name: blur, blockiness, noise, black, freeze, luma, contrast, face.")


class AlertItem(BaseModel):
    """An alert and its acknowledgement."""

    alert: QualityAlert = Field(description="The alert, as on its topic.")
    ack: AlertAcknowledgement | None = Field(default=None, description="Who has seen it; null where nobody has.")


class StreamDetail(StreamItem):
    """A stream with its renditions and the alerts that fire."""

    renditions: list[RenditionItem] = Field(description="Its renditions, by name.")
    open_alerts: list[AlertItem] = Field(description="The alerts that fire, with who has seen them.")
    last: list[SegmentScore] = Field(description="The last score of each rendition, whole.")


class CoursePoint(BaseModel):
    """The scores of one step."""

    t: str = Field(description="Begin of the stretch; ISO 8601, UTC.")
    mean: float | None = Field(description="Mean score, points, 0-100; null without a scored segment.")
    min: float | None = Field(description="Lowest score, points, 0-100.")
    max: float | None = Field(description="Highest score, points, 0-100.")
    n: int = Field(description="Number of scored segments, at least 0.")
    uncertainty: float | None = Field(description="Mean expected absolute error, points, at least 0.")


class CourseAnswer(_List):
    """A stream's scores over time."""

    items: list[CoursePoint] = Field(description="The points, the oldest first; at most 5,000.")
    step: float = Field(description="Length of a point's stretch, seconds, over 0; the last point may be shorter.")


class SegmentList(_List):
    """One page of a stream's segments, the newest first. What InfluxDB keeps has no labels and no `uri`."""

    items: list[SegmentScore] = Field(description="The scores of this page, whole; at most `limit`.")


class AlertList(_List):
    """One page of alerts."""

    items: list[AlertItem] = Field(description="The alerts of this page, the latest first; at most `limit`.")


class PictureItem(BaseModel):
    """A small picture: a preview, not to be judged by. `which` says why it is kept."""

    which: Literal["last", "last_good", "first_bad"] = Field(
        description="Why it is kept: the last one, the last good one, the first bad one."
    )
    segment_id: str = Field(description="The segment that it is of.")
    start: str = Field(description="Its time in the stream; ISO 8601, UTC.")
    score: float | None = Field(description="Of that segment, points, 0-100.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels, at most 90.")
    rendition: str | None = Field(description="The rendition that it is of; null where segments name none.")
    url: str = Field(description="Path of the JPEG on this wall; asking needs the scope `media`.")


class PictureList(_List):
    """The pictures that are kept of a stream."""

    items: list[PictureItem] = Field(description="At most three.")


class Comparison(BaseModel):
    """The last good picture and the first bad one."""

    good: PictureItem | None = Field(description="The last good one; null where none is kept.")
    bad: PictureItem | None = Field(description="The first bad one after it; null where none is kept.")
    at: str = Field(description="When the answer was made; ISO 8601, UTC.")


class GroupItem(BaseModel):
    """Alerts that most likely have one cause: of one kind, on streams of one label, within seconds."""

    label: str = Field(description="The label's name.")
    value: str = Field(description="The label's value.")
    kind: str = Field(description="Kind of the alerts.")
    streams: int = Field(description="Number of streams with such an alert, at least 3.")
    of: int = Field(description="Number of streams that carry the label, at least `streams`.")
    started_at: str = Field(description="Start of the first alert; ISO 8601, UTC.")
    seconds: float = Field(description="From the first alert's start to the last one's, seconds, 0-30.")
    alerts: list[str] = Field(description="Ids of the alerts, in the order of their start.")
    text: str = Field(description="The group in a sentence.")


class GroupList(_List):
    """Groups, the largest first."""

    items: list[GroupItem] = Field(description="All groups; there is one page.")


class ClipItem(BaseModel):
    """A clip that waits to be rated."""

    id: str = Field(description="SHA-256 of its bytes, in hexadecimal digits.")
    stream_id: str = Field(description="The channel that it is of.")
    segment_id: str = Field(description="The segment that it is.")
    rendition: str | None = Field(description="The rendition that it is of; null where segments name none.")
    start: str = Field(description="Start of the segment; ISO 8601, UTC.")
    duration: float = Field(description="Seconds, over 0, at most 3600.")
    score: float = Field(description="The model's score, points, 0-100.")
    uncertainty: float = Field(description="Expected absolute error of the score, points, at least 0.")
    reason: str = Field(description="Why it was kept: alert, low-score, uncertain, disagreement or operator.")
    model: str = Field(description="Which model scored it, name@version.")
    labels: dict[str, str] = Field(description="The stream's labels, at most 32.")
    queued_at: str = Field(description="When it was kept; ISO 8601, UTC.")
    url: str = Field(description="Path of the MP4 on this wall; asking needs the scope `media`.")


class ClipList(_List):
    """One page of clips."""

    items: list[ClipItem] = Field(description="The clips of this page; at most `limit`.")


class ShiftItem(BaseModel):
    """A model's change, and the fleet's median score in the two minutes before and after it."""

    name: str = Field(description="The model's name.")
    version: str | None = Field(description="The version that serves since then; null for the shipped one.")
    before: str | None = Field(description="The version before; null for the shipped one.")
    time: str = Field(description="When it changed; ISO 8601, UTC.")
    median_before: float | None = Field(
        description="Points, 0-100; null where it is not known, or the token sees a part of the fleet."
    )
    median_after: float | None = Field(description="Points, 0-100; as `median_before`, after it.")


class Health(BaseModel):
    """How the monitor itself is."""

    ready: bool = Field(description="Whether the topics have been read up to what they held at the start.")
    reading: str = Field(description="What the wall's reader of the topics does: starting, following, or waiting for Kafka.")
    problem: str = Field(description="Why it does not read; empty where it does.")
    lag_p95: float | None = Field(description="95th percentile of the seconds from a segment's end to its score.")
    scored_per_second: float = Field(description="Segments a second, over the last minute.")
    skipped_share: float | None = Field(
        description="Share of segments that were skipped, 0-1, over the last minute; null without segments."
    )
    dead_letters_per_minute: float | None = Field(description="Over the last minute; null where it is not known.")
    models: dict[str, int] = Field(description="Number of streams by the model of their last score, name@version.")
    shifts: list[ShiftItem] = Field(description="The changes of models that are remembered, with what they did to scores.")
    sockets: int = Field(description="Number of browsers and programs that are connected to the socket, at least 0.")


class SessionAnswer(BaseModel):
    """Who is signed in, and what they may do."""

    name: str = Field(description="Whose token it is, or whom the proxy has signed in.")
    scopes: list[str] = Field(description="What they may do: read, ack, rate, media.")
    labels: dict[str, str] = Field(description="They see only streams that carry all of these; empty: all streams.")


class RatingAnswer(BaseModel):
    """The clip that was queued, and the model's score, which the person sees after rating."""

    clip: str = Field(description="The clip's id, as in /clips.")
    score: float = Field(description="The model's score, points, 0-100.")


def iso(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC with milliseconds; None for 0 or None, and for a time outside the calendar."""
    try:
        return iso_of(datetime.fromtimestamp(seconds, UTC)) if seconds else None
    except (ValueError, OverflowError):
        return None


def iso_of(time: datetime) -> str:
    """A time as ISO 8601 in UTC with milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
