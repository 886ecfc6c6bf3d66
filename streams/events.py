"""The events on the topics: the single source of their shape, and of every Kafka name.

JSON on the wire. Unknown fields are ignored; a missing or wrong one is an `EventError`, which sends the event to the
dead-letter topic. `python -m streams.events docs/schemas` writes the JSON Schema of each event.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streams.errors import EventError

SEGMENTS_TOPIC = "video-segments"
SCORES_TOPIC = "segment-scores"
ALERTS_TOPIC = "quality-alerts"
TRAINING_TOPIC = "training-queue"
DEAD_LETTER_TOPIC = "video-segments.dead-letter"
LETTER_MARKS_TOPIC = "dead-letter-marks"
MODELS_TOPIC = "model-updates"
ALERT_STATE_TOPIC = "alert-state"
INGEST_STATE_TOPIC = "ingest-state"

MAX_EVENT_BYTES = 500_000
"""A larger event is refused: its answer or its dead letter must fit into one Kafka message, by default at most 1 MiB."""

Level = Literal["bad", "poor", "fair", "good", "excellent"]


LONGEST_SEGMENT = 3600
"""Seconds: the longest duration that an event may have."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_EPOCH_SECONDS = 2 * 10**10
"""A larger number counts milliseconds; over 1000 times this it counts microseconds, over a million times this nanoseconds."""

YEARS = range(1970, 2200)
"""Years in which a segment can start. The ends of the calendar would overflow where a duration is added."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_ISO_DATE = re.compile(r"\d{8}")


def _as_utc(value: object) -> object:
    # pydantic turns only a ValueError into a validation error; any other exception would leave `from_bytes`.
    text = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    try:
        # Before ISO 8601: Python reads 13 digits as a day, a separator and a time of day.
        if (_NUMBER.fullmatch(text) and not _ISO_DATE.fullmatch(text)) or isinstance(value, (int, float)):
            return _since_epoch(text) if text else value
        if not isinstance(value, str):
            return value
        parsed = datetime.fromisoformat(text)
        # A time without an offset is UTC, as the contract says of `start`.
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ArithmeticError, OverflowError):
        raise ValueError("the time is outside the years 1 to 9999 in UTC") from None
    except ValueError:
        raise ValueError(
            "is no time: write ISO 8601 with its offset, as 2026-01-31T20:15:04Z, or seconds or milliseconds since 1970"
        ) from None


def _since_epoch(text: str) -> datetime:
    """The time of a number since 1970, in the unit that its size tells."""
    number = Decimal(text)
    unit = next((unit for unit in (1, 10**3, 10**6) if abs(number) <= MAX_EPOCH_SECONDS * unit), 10**9)
    return EPOCH + timedelta(microseconds=int(number * 10**6 / unit))


def _possible(time: datetime) -> datetime:
    if time.year not in YEARS:
        raise ValueError(f"the year {time.year} is not in {YEARS.start}-{YEARS.stop - 1}: is the packager's clock set?")
    return time


UtcTime = Annotated[AwareDatetime, BeforeValidator(_as_utc)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Uri = Annotated[str, Field(min_length=1, max_length=8192)]
LabelValue = Annotated[str, Field(max_length=1024)]
ByteRange = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}@(0|[1-9][0-9]{0,17})$")]


class Event(BaseModel):
    """Base of all events: bytes in, bytes out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Self:
        """Parse one message's value; raises `EventError` that names the first wrong field."""
        if not data:
            raise EventError("", "the event is empty")
        if len(data) > MAX_EVENT_BYTES:
            raise EventError("", f"the event has {len(data)} bytes, more than {MAX_EVENT_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise EventError(".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")) from None

    def to_bytes(self) -> bytes:
        """Compact UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class SegmentKey(Event):
    """How a segment is encrypted, and where its key is. The key itself is never in an event."""

    method: Literal["AES-128"] = Field(description="AES-128 in CBC mode with PKCS7 padding over the whole segment (RFC 8216).")
    uri: Uri = Field(description="Where the 16 bytes of the key are; fetched by the same rules as media.")
    iv: str = Field(pattern=r"^[0-9a-fA-F]{32}$", description="Initialisation vector, 32 hexadecimal digits.")


class SegmentEvent(Event):
    """One media segment of a live stream is ready to be fetched. Key: `stream_id`."""

    stream_id: Name = Field(description="The channel. The message key, so that a stream's segments stay in order.")
    segment_id: Name = Field(description="Unique for this segment of this rendition; a repeated event carries the same id.")
    sequence: int = Field(ge=0, lt=2**63, description="Position in the stream, rising; a jump is a loss.")
    uri: Uri = Field(description="Where the media is: http(s), file, s3 or gs, as far as the worker's settings allow.")
    init_uri: Uri | None = Field(default=None, description="The initialisation segment of fragmented MP4, put before the media.")
    byte_range: ByteRange | None = Field(default=None, description="The part of `uri` that is the segment: length@offset, bytes.")
    init_byte_range: ByteRange | None = Field(default=None, description="The part of `init_uri`, likewise.")
    key: SegmentKey | None = Field(default=None, description="How the media is encrypted, where it is; the init segment is not.")
    start: Annotated[UtcTime, AfterValidator(_possible)] = Field(description="Start of the segment in event time, UTC, ISO 8601.")
    duration: float = Field(gt=0, le=LONGEST_SEGMENT, description="Length of the segment, seconds.")
    rendition: Name | None = Field(default=None, description="Which of the stream's encodings this is, e.g. 720p.")
    labels: dict[Name, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Free labels of the stream, e.g. tier=premium."
    )
    ended: bool = Field(default=False, description="True on a stream's last segment: the silence after it raises no alert.")


class FaceSummary(Event):
    """Faces in a segment."""

    count: int = Field(ge=0, description="Median number of faces over the sampled frames.")
    area: float = Field(ge=0, le=1, description="Share of the picture under the largest face's box, 0-1.")


class Signals(Event):
    """Technical measurements of a segment, for people and for the `black` and `frozen` alerts."""

    black: float = Field(ge=0, le=1, description="Share of black pixels, 0-1.")
    freeze: float = Field(ge=0, le=1, description="Share of frames that repeat the one before, 0-1.")
    blur: float = Field(ge=0, le=1, description="0 sharp to 1 without any detail.")
    blockiness: float = Field(ge=0, description="Strength of the 8x8 grid, 0 none.")
    noise: float = Field(ge=0, description="Standard deviation of noise in flat areas, 8-bit levels.")
    luma: float = Field(ge=0, le=255, description="Mean luma, 8-bit levels.")
    contrast: float = Field(ge=0, description="Standard deviation of luma, 8-bit levels.")


class ModelRef(Event):
    """Which model made a score."""

    name: str
    version: str


class SecondOpinion(Event):
    """Another model's score of the same segment."""

    score: float = Field(ge=0, le=100, description="Points.")
    model: ModelRef
    uncertainty: float | None = Field(default=None, ge=0, description="Expected absolute error of this score, points.")


Tier = Literal["full", "deep"]
"""Which look a segment got: `full` is the small model's, `deep` the large model's after it."""

TierReason = Literal["control", "alert", "changing", "low", "uncertain"]
"""Why a segment was looked at by the large model."""


class SegmentScore(Event):
    """The answer to one `SegmentEvent`. Key: `stream_id`."""

    stream_id: str
    segment_id: str
    sequence: int
    uri: str
    init_uri: str | None = None
    byte_range: str | None = None
    init_byte_range: str | None = None
    key: SegmentKey | None = None
    start: UtcTime
    duration: float
    rendition: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    ended: bool = False
    status: Literal["scored", "skipped"]
    reason: str | None = Field(default=None, description="Why a segment was skipped.")
    score: float | None = Field(default=None, ge=0, le=100, description="Quality on the MOS scale, 0-100.")
    level: Level | None = None
    level_probs: dict[Level, float] | None = Field(default=None, description="Probability of each level; sums to 1.")
    uncertainty: float | None = Field(default=None, ge=0, description="Expected absolute error of the score, points.")
    faces: FaceSummary | None = None
    signals: Signals | None = None
    model: ModelRef | None = None
    fallback: bool = Field(default=False, description="True where `FVQ_SCORER_FALLBACK` answered, because no scorer did.")
    second: SecondOpinion | None = Field(default=None, description="The second model's score, if a second model is set.")
    tier: Tier | None = Field(
        default=None, description="Which model made the score: full is the small one, deep the large one. Not set if skipped."
    )
    tier_reason: TierReason | None = Field(default=None, description="Why the large model was asked, for a deep score.")
    shallow: SecondOpinion | None = Field(default=None, description="The small model's score, where the score is a deep one.")
    fingerprint: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{16}$",
        description="Perceptual hash (64 bits) of the middle picture: similar pictures differ in few bits.",
    )
    timing: dict[str, float] = Field(default_factory=dict, description="Milliseconds per stage, and lag_s behind event time.")

    @classmethod
    def identity(cls, event: SegmentEvent) -> dict[str, object]:
        """The fields that a score copies from its segment."""
        return {name: getattr(event, name) for name in SegmentEvent.model_fields}

    @property
    def small_score(self) -> float | None:
        """The small model's score, points, also where the large one's replaced it; None for a skipped segment.

        It is the one measure that all segments of a stream have. Only these can be compared over time: the two models differ by
        an offset, and which of them answered depends on the load.
        """
        return self.score if self.shallow is None else self.shallow.score


HarvestReason = Literal["alert", "low-score", "uncertain", "disagreement"]


class TrainingExample(Event):
    """A stored clip that the model finds hard, to be rated by people. Key: `stream_id/example_id`.

    A message without a value takes the example back.
    """

    example_id: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the clip's bytes, in hexadecimal digits.")
    clip_uri: Uri = Field(description="The clip in the clip store, with its initialisation segment: a file of its own.")
    size: int = Field(gt=0, description="Bytes of the clip.")
    reason: HarvestReason = Field(description="Why the clip was chosen: the first reason that holds.")
    score: float = Field(ge=0, le=100, description="The model's score, points.")
    uncertainty: float = Field(ge=0, description="Expected absolute error of the score, points.")
    model: ModelRef
    fingerprint: str = Field(pattern=r"^[0-9a-f]{16}$", description="Perceptual hash of the picture; see `SegmentScore`.")
    stream_id: Name
    segment_id: Name
    sequence: int
    start: UtcTime
    duration: float
    rendition: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    queued_at: UtcTime = Field(description="When the clip was chosen, UTC; retention counts from this time.")

    @property
    def key(self) -> bytes:
        """The message key: the same clip in two streams is two examples, so that one stream can be deleted."""
        return f"{self.stream_id}/{self.example_id}".encode()


class StreamDeletion(Event):
    """All examples of a stream that were queued before are deleted for good. On the training queue; key: `stream_id/`."""

    stream_id: Name
    deleted_at: UtcTime

    @property
    def key(self) -> bytes:
        """The message key, which no example has."""
        return f"{self.stream_id}/".encode()


AlertKind = Literal["low-quality", "quality-drop", "black", "frozen", "no-segments"]


class QualityAlert(Event):
    """A problem of a stream started (`firing`) or ended (`resolved`). Key: `stream_id`.

    Delivered at least once: a repeated alert has the same `alert_id` and `state`, and the same content.
    """

    alert_id: str = Field(description="The same for `firing` and `resolved`; made from stream, rendition, kind and start.")
    stream_id: str
    rendition: str | None = None
    kind: AlertKind
    state: Literal["firing", "resolved"]
    started_at: UtcTime = Field(description="Start of the problem, event time; the alert fires somewhat later.")
    ended_at: UtcTime | None = Field(default=None, description="End of the problem, event time.")
    value: float = Field(
        description="The measured value: the smoothed score, the share of black or repeated pictures, or seconds of silence."
    )
    baseline: float | None = Field(default=None, description="The stream's usual score, points.")
    segment_id: str = Field(
        description="The segment that decided; for `no-segments` the last one before the silence or the first one after it."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="The stream's labels when the alert fired.")


class ModelUpdate(Event):
    """Another version of a model became current in the registry; scorers that serve the model load it. Key: `name`."""

    name: Name = Field(description="The model, as `FVQ_MODEL` names it.")
    version: str | None = Field(default=None, description="The current version; without it, the shipped one.")
    before: str | None = Field(default=None, description="The version that was current before.")
    time: UtcTime = Field(description="When the version was promoted or rolled back, UTC.")


EVENTS: tuple[type[Event], ...] = (SegmentEvent, SegmentScore, QualityAlert, TrainingExample, StreamDeletion, ModelUpdate)


def write_schemas(directory: Path) -> list[Path]:
    """Write one JSON Schema file per event type; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for event in EVENTS:
        path = directory / f"{event.__name__}.json"
        path.write_text(json.dumps(event.model_json_schema(), indent=2, sort_keys=True) + "\n")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for schema in write_schemas(Path(sys.argv[1])):
        print(schema)
