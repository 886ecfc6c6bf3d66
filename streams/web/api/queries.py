"""What the routes are asked: query parameters and bodies."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from streams.events.base import UtcTime
from streams.web.api.cursors import CURSOR_PATTERN
from streams.web.labels import LabelFilter

LABEL_PATTERN = r"^[^:]{1,256}:[\s\S]{0,1024}$"


def _possible(time: datetime) -> datetime:
    if not 1970 <= time.year < 2200:
        raise ValueError("the year must be in 1970-2199")
    return time.astimezone(UTC)


Time = Annotated[
    UtcTime,
    AfterValidator(_possible),
    WithJsonSchema({"type": "string", "examples": ["2026-01-31T20:15:04Z", "1790000000000"]}),
]
"""ISO 8601 with its offset, or seconds or milliseconds since 1970, as Grafana's `${__from}`."""


def _in_digits(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[0-9.eE+-]*", value):
        raise ValueError("write a number in digits, as 10")
    return value


InDigits = BeforeValidator(_in_digits)
"""Python takes 1_0 for 10, and pydantic spaces."""

Label = Annotated[str, Field(pattern=LABEL_PATTERN, description="name:value")]
Cursor = Annotated[str | None, Field(pattern=CURSOR_PATTERN, description="`next` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=1000, description="Most items of a page."), InDigits]
Form = Annotated[Literal["json", "csv"], Field(description="The answer's form.")]


class Query(BaseModel):
    """A query without parameters. An unknown name is refused, so that a typing error is not an unfiltered list."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LabelQuery(Query):
    """label: only what carries these: of several names all, of several values of one name any."""

    label: list[Label] = Field(
        default_factory=list,
        max_length=32,
        description="name:value, repeated: of several names all must hold, of several values of one name any.",
    )

    def labels(self) -> LabelFilter:
        """The labels as a filter."""
        return LabelFilter.of((name, value) for name, _, value in (text.partition(":") for text in self.label))


class StreamsQuery(LabelQuery):
    """Which streams, in which order."""

    sort: Literal["worst", "score", "id", "since"] = Field(
        default="worst", description="worst: unacknowledged alerts first, then by smoothed score. Exporters page by id."
    )
    below: Annotated[
        float | None, Field(ge=0, le=100, description="Only streams with a smoothed score under this."), InDigits
    ] = None
    state: list[str] = Field(default_factory=list, max_length=12, description="Only streams in one of these states.")
    q: str | None = Field(
        default=None, max_length=256, description="Only streams whose id or a label, as name:value, has this text."
    )
    cursor: Cursor = None
    limit: Limit = 100
    fields: str | None = Field(default=None, max_length=500, description="Only these fields, `,`-separated.")
    format: Form = "json"


class AlertsQuery(LabelQuery):
    """Which alerts, the latest first."""

    state: Literal["firing", "resolved", "acknowledged", "unacknowledged", "all"] = Field(
        default="firing", description="acknowledged and unacknowledged: of those that fire. resolved: those that are over."
    )
    kind: list[str] = Field(default_factory=list, max_length=12, description="Only alerts of these kinds.")
    stream_id: str | None = Field(default=None, max_length=256, description="Only alerts of this stream.")
    q: str | None = Field(
        default=None,
        max_length=256,
        description="Only alerts whose stream's id, a label, as name:value, or kind has this text.",
    )
    start: Time | None = Field(default=None, alias="from", description="Only alerts that were not over by this time.")
    end: Time | None = Field(default=None, alias="to", description="Only alerts that fired before this time.")
    cursor: Cursor = None
    limit: Limit = 100
    format: Form = "json"


class CourseQuery(Query):
    """A stream's scores over time. Without a range: the last hour."""

    start: Time | None = Field(default=None, alias="from", description="Default: an hour before `to`.")
    end: Time | None = Field(default=None, alias="to", description="Default: now.")
    step: Annotated[
        float | None,
        Field(ge=0.001, le=31 * 86400, description="Seconds; without it, 500 points. 5,000 at most."),
        InDigits,
    ] = None
    rendition: str | None = Field(default=None, max_length=256, description="Without it: all renditions together.")
    format: Form = "json"


class SegmentsQuery(Query):
    """A stream's segments, the newest first. Without a range: the last hour."""

    start: Time | None = Field(default=None, alias="from", description="Default: an hour before `to`.")
    end: Time | None = Field(default=None, alias="to", description="Default: now.")
    rendition: str | None = Field(default=None, max_length=256, description="Without it: all renditions.")
    cursor: Annotated[
        str | None,
        Field(
            pattern=CURSOR_PATTERN,
            description="`next` of the page before. Of segments that start in one millisecond, as where a packager's clock "
            "stands still, those after the first 500 may be left out.",
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, le=400, description="Most segments of a page."), InDigits] = 50


class SegmentQuery(Query):
    """rendition: of several whose segments have this id."""

    rendition: str | None = Field(
        default=None, max_length=256, description="The segment's rendition, where those of several have this id; empty for none."
    )


class PictureQuery(Query):
    """at: the segment's id; without it the last picture. rendition: of several whose segments have this id."""

    at: str | None = Field(default=None, max_length=256, description="The segment whose picture it is; without it the last one.")
    rendition: str | None = Field(
        default=None,
        max_length=256,
        description="With `at`: the segment's rendition, where those of several have this id; empty for none.",
    )


class CompareQuery(Query):
    """at: a time; the pair before and after it. Without it: the last good picture and the first bad one after it."""

    at: Time | None = Field(default=None, description="The pair around this time; without it the last good and first bad one.")


class GroupsQuery(LabelQuery):
    """by: the label's name; without it every label."""

    by: str | None = Field(
        default=None, min_length=1, max_length=256, description="Only groups of this label; without it of all."
    )


class ClipsQuery(LabelQuery):
    """Clips that wait to be rated, the worst first."""

    worst: bool = Field(default=True, description="false: the newest first.")
    q: str | None = Field(
        default=None, max_length=256, description="Only clips whose stream's id or a label, as name:value, has this text."
    )
    stream_id: str | None = Field(default=None, max_length=256, description="Only clips of this stream.")
    segment_id: str | None = Field(default=None, max_length=256, description="Only clips of this segment.")
    rendition: str | None = Field(default=None, max_length=256, description="Only clips of this rendition; empty: of none.")
    start: Time | None = Field(default=None, alias="from", description="Only clips that start at this time or later.")
    end: Time | None = Field(default=None, alias="to", description="Only clips that start before this time.")
    cursor: Cursor = None
    limit: Limit = 100


class Body(BaseModel):
    """A body of JSON. An unknown field is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AckBody(Body):
    """An acknowledgement. The name is that of who asks."""

    note: str = Field(default="", max_length=2000, description="What the others should know.")
    until: Time | None = Field(default=None, description="From then on the alert counts again; without it, at its end only.")


class SessionBody(Body):
    """The token that a browser gets a session for."""

    token: str = Field(min_length=1, max_length=200, description="The token, as `fvq web token add` printed it.")


class RatingBody(Body):
    """A person's rating of a segment."""

    level: int = Field(strict=True, ge=1, le=5, description="1 bad to 5 excellent, ITU-T P.910.")
