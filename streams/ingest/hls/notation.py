"""How HLS playlists write attributes, numbers, dates and ranges: pure. What cannot be read is a ValueError."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from streams.events import YEARS

LONGEST_SEGMENT = 3600.0
"""Seconds. A longer `EXTINF` is a mistake."""

# Possessive, and only from the beginning of a name: else a long line without a = would be read again from each of its letters.
ATTRIBUTE = re.compile(r'(?<![A-Za-z0-9-])([A-Za-z0-9-]++)\s*+=\s*+("[^"]*+"|[^",]*+)')

_RANGE = re.compile(r"\s*(\d{1,18})\s*(?:@\s*(\d{1,18})\s*)?", re.ASCII)


class Attributes(dict[str, str]):
    """Attributes of a tag by their names in capitals; one that is missing makes the tag unreadable."""

    def __missing__(self, name: str) -> str:
        raise ValueError(name)


def seconds_of(text: str) -> float:
    """A duration, over 0 and up to `LONGEST_SEGMENT`."""
    value = float(text)
    if not (math.isfinite(value) and 0 < value <= LONGEST_SEGMENT):
        raise ValueError
    return value


def whole_of(text: str) -> int:
    """A number of 0 or more, with 64 bits at most."""
    if not re.fullmatch(r"\d{1,20}", text.strip(), re.ASCII) or int(text) >= 2**64:
        raise ValueError
    return int(text)


def date_of(text: str) -> datetime:
    """A date and time; without an offset it is UTC."""
    date = datetime.fromisoformat(text)
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    if date.year not in YEARS:
        raise ValueError
    return date


def range_of(text: str) -> tuple[int, int | None]:
    """Length and offset of a part of a resource, bytes; the offset may be missing."""
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError
    return int(match[1]), int(match[2]) if match[2] is not None else None


def iv_of(text: str) -> bytes:
    """An initialisation vector, 16 bytes."""
    if not re.fullmatch(r"0[xX][0-9A-Fa-f]{1,32}", text):
        raise ValueError
    return int(text, 16).to_bytes(16, "big")


def number_or_0(text: str) -> float:
    """A number of a variant; 0 where it cannot be read, because the variant can be played without it."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 <= value < 1e12 else 0.0
