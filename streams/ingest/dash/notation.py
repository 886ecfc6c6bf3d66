"""How DASH writes times and addresses: ISO 8601 durations and dates, byte ranges, and templates such as `$Number%05d$`: pure.

What cannot be read is a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from streams.events import YEARS
from streams.ingest.dash.values import SECOND
from streams.media.ranges import Range

LARGEST = 2**64
"""Numbers of a manifest are 64 bits at most."""

_DAY = 24 * 3600
_DURATION = re.compile(
    r"P(?:(\d{1,4})Y)?(?:(\d{1,5})M)?(?:(\d{1,6})D)?(?:T(?:(\d{1,8})H)?(?:(\d{1,9})M)?(?:(\d{1,11})(?:\.(\d{1,30}))?S)?)?",
    re.ASCII,
)
_FIELD = re.compile(r"\$(?:([A-Za-z]+)(?:%0(\d{1,2})d)?)?\$", re.ASCII)
_MOST_DIGITS = 20
"""Of a number in an address: as many as the largest has."""


def whole_of(text: str) -> int:
    """A number of 0 or more, below `LARGEST`."""
    if not re.fullmatch(r"\s*\+?\d{1,20}\s*", text, re.ASCII) or int(text) >= LARGEST:
        raise ValueError(text[:40])
    return int(text)


def duration_of(text: str) -> int:
    """An ISO 8601 duration in microseconds. A year counts 365 days and a month 30: no clock of a segment depends on them."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(text[:40])
    years, months, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:6])
    whole = ((years * 365 + months * 30 + days) * _DAY + hours * 3600 + minutes * 60 + seconds) * SECOND
    return whole + int((match[7] or "0").ljust(6, "0")[:6])


def date_of(text: str) -> datetime:
    """A date with its time, UTC. One without an offset is UTC."""
    date = datetime.fromisoformat(text.strip())
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    if date.year not in YEARS:
        raise ValueError(text[:40])
    return date


def range_of(text: str) -> Range:
    """A byte range `FIRST-LAST`, both included."""
    match = re.fullmatch(r"\s*(\d{1,18})-(\d{1,18})\s*", text, re.ASCII)
    if match is None or int(match[2]) < int(match[1]):
        raise ValueError(text[:40])
    return Range(int(match[2]) - int(match[1]) + 1, int(match[1]))


def filled(template: str, values: Mapping[str, str | int]) -> str:
    """A template with its fields replaced. values: by the fields' names; a field that is not among them is a ValueError."""

    def value_of(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        if name is None:
            return "$"
        if name not in values or int(width or 0) > _MOST_DIGITS:
            raise ValueError(match[0])
        value = values[name]
        return str(value).zfill(int(width)) if width and isinstance(value, int) else str(value)

    text = _FIELD.sub(value_of, template)
    if _FIELD.sub("", template).count("$"):
        raise ValueError(template[:100])
    return text
