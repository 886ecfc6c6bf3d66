"""Maintenance: times in which nothing new is told of some streams, because somebody is at work on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from streams.alerts.limits import Part

PERIODS = {"day": timedelta(days=1), "week": timedelta(weeks=1)}


class Maintenance(Part):
    """A time, once or again and again, in which no alert of these streams fires."""

    labels: dict[str, str] = Field(default_factory=dict, description="Only streams that carry these labels; all without it.")
    start: datetime = Field(
        alias="from",
        description="When it begins: a time with its offset, as `2026-12-05T01:00:00Z` or `2026-12-05T02:00:00+01:00`.",
    )
    end: datetime = Field(alias="to", description="When it ends.")
    every: Literal["day", "week"] | None = Field(
        None, description="`day` or `week`: again after each 24 hours or seven times so many. Once without it."
    )

    @field_validator("start", "end", mode="before")
    @classmethod
    def _has_offset(cls, value: object) -> datetime:
        # Pydantic would take numbers for seconds since 1970, also where somebody wrote a year or an hour.
        if not isinstance(value, datetime):
            try:
                value = datetime.fromisoformat(str(value)) if "T" in str(value) else None
            except ValueError:
                value = None
        if value is None or value.tzinfo is None:
            raise ValueError("write a time with its offset, as 2026-12-05T01:00:00Z")
        return value

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.end <= self.start:
            raise ValueError("its end, `to`, must be after its start, `from`")
        if self.every is not None and self.end - self.start > PERIODS[self.every]:
            raise ValueError(f"it lasts longer than a {self.every}, and is to come again after every {self.every}")
        return self

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Whether a stream with these labels is meant."""
        return self.labels.items() <= labels.items()

    def next(self, at: datetime) -> tuple[datetime, datetime] | None:
        """When it begins and ends: that which lasts at this time, else the next one. None where it is over for good."""
        past = timedelta(0)
        if self.every is not None and at >= self.end:
            past = ((at - self.end) // PERIODS[self.every] + 1) * PERIODS[self.every]
        begin, end = self.start + past, self.end + past
        return (begin, end) if at < end else None

    def described(self, now: datetime) -> str:
        """When it is, in words."""
        times = self.next(now)
        if times is None:
            return "over"
        begin, end = (f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for time in times)
        if times[0] <= now:
            return f"now, until {end}: nothing of such a stream fires"
        return f"next {begin}, until {end}"

    def lasts(self, at: datetime) -> bool:
        """Whether it is on at this time."""
        now = self.next(at)
        return now is not None and now[0] <= at
