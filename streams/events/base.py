"""What all events are made of: bytes in, bytes out, times, names, byte ranges."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streams.errors import EventError

MAX_EVENT_BYTES = 500_000
"""A larger event is refused: its answer or its dead letter must fit into one Kafka message, by default at most 1 MiB."""

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


def possible(time: datetime) -> datetime:
    """The time, if its year can be a segment's; else `ValueError`."""
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
            raise EventError.of(error) from None

    def to_bytes(self) -> bytes:
        """Compact UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()
