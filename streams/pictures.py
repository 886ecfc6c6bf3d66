"""Pictures of streams: a small JPEG now and then, on `stream-pictures`, for the wall.

The message is the JPEG, its key the stream; what is known of it is in the headers. The topic keeps the last picture of each
stream, for an hour at most, because people may be in it. A message without a value: the stream's picture was deleted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from streams.errors import EventError

PictureKind = Literal["routine", "changed"]
"""Why a picture was made: because the last one was old, or because the stream became good, bad, black or frozen."""

KINDS: dict[str, PictureKind] = {"routine": "routine", "changed": "changed"}

MOST_BYTES = 128 * 1024
"""A larger message is no picture of ours: 90 pixels high, they have about 3 kB."""

MOST_PIXELS = 4096
MOST_NAME = 1024
JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True)
class StreamPicture:
    """The middle frame of one segment. start: of the segment, UTC. score: the segment's, points. width, height: px."""

    stream_id: str
    segment_id: str
    start: datetime
    score: float
    width: int
    height: int
    kind: PictureKind
    rendition: str | None
    jpeg: bytes

    @property
    def key(self) -> bytes:
        """The message's key."""
        return self.stream_id.encode()

    def headers(self) -> dict[str, bytes]:
        """The message's headers."""
        headers = {
            "segment_id": self.segment_id,
            "start": self.start.isoformat(),
            "score": f"{self.score:g}",
            "width": str(self.width),
            "height": str(self.height),
            "kind": self.kind,
        }
        if self.rendition is not None:
            headers["rendition"] = self.rendition
        return {name: text.encode() for name, text in headers.items()}

    @classmethod
    def from_message(cls, key: bytes | None, value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> Self:
        """The picture of a message with a value. Raises `EventError` that names the wrong header, or '' for key or value."""
        if not key or len(key) > 4 * MOST_NAME:
            raise EventError("", "a picture's key is its stream's id")
        if len(value) > MOST_BYTES or not value.startswith(JPEG_START):
            raise EventError("", f"a picture is a JPEG of at most {MOST_BYTES} bytes")
        texts = {name: (text or b"").decode(errors="replace") for name, text in headers}
        kind = KINDS.get(texts.get("kind", ""))
        if kind is None:
            raise EventError("kind", "is neither routine nor changed")
        return cls(
            stream_id=key.decode(errors="replace"),
            segment_id=_name(texts, "segment_id"),
            start=_time(texts),
            score=_number(texts, "score", 0, 100),
            width=int(_number(texts, "width", 1, MOST_PIXELS)),
            height=int(_number(texts, "height", 1, MOST_PIXELS)),
            kind=kind,
            rendition=_name(texts, "rendition") if "rendition" in texts else None,
            jpeg=value,
        )


def _name(texts: dict[str, str], header: str) -> str:
    text = texts.get(header, "")
    if not 1 <= len(text) <= MOST_NAME:
        raise EventError(header, f"has {len(text)} characters, not 1 to {MOST_NAME}")
    return text


def _time(texts: dict[str, str]) -> datetime:
    try:
        time = datetime.fromisoformat(texts.get("start", ""))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise EventError("start", "is no time with an offset")
    return time


def _number(texts: dict[str, str], header: str, least: float, most: float) -> float:
    try:
        number = float(texts.get(header, ""))
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise EventError(header, f"is no number from {least:g} to {most:g}")
    return number
