"""A dead letter as it is kept on its topic, which letters are meant, and what was done with them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from streams.letter import LETTER_KEY_BYTES, stream_of

State = Literal["waiting", "replayed", "removed"]

LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class KeptLetter:
    """A dead letter. partition, offset: where it is on the dead letters' topic. headers: see docs/dead-letters.md.

    segments: the name of the topic to which letters are sent again.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, str]
    time: datetime
    segments: str

    @classmethod
    def of(cls, record: Any, segments: str) -> Self:
        """From a message of kafka-python. A letter of somebody else may lack headers."""
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        time = _time(headers.get("time", ""), record.timestamp)
        return cls(record.partition, record.offset, record.key, record.value or b"", headers, time, segments)

    @property
    def letter_id(self) -> str:
        """`topic/partition/offset` of the message that could not be answered, so the letters of a repeated answer have one id."""
        place = [self.headers.get(name, "") for name in ("topic", "partition", "offset")]
        return "/".join(place) if all(place) else f"letter/{self.partition}/{self.offset}"

    @property
    def kind(self) -> str:
        return self.headers.get("kind", "")

    @property
    def stream_id(self) -> str:
        """As `streams.letter.stream_of` finds it."""
        return stream_of(self.key, self.value)

    def obstacle(self) -> str:
        """Why the letter cannot be sent again; '' where it can."""
        if self.kind == "unreadable":
            return "its bytes are no message: Kafka's client could not read them"
        if "truncated" in self.headers or len(self.key or b"") >= LETTER_KEY_BYTES:
            return "the message was too long for a letter and was cut"
        if self.headers.get("topic") != self.segments or not self.headers.get("partition", "").isdecimal():
            return f"its headers do not say that it came from {self.segments}"
        return ""

    def summary(self, state: State) -> dict[str, Any]:
        """What `ls` shows, for JSON."""
        return {
            **self.headers,  # first: a foreign header must not stand for what follows
            "id": self.letter_id,
            "state": state,
            "stream_id": self.stream_id,
            "bytes": len(self.value),
            "obstacle": self.obstacle(),
            "time": self.time.isoformat(timespec="milliseconds"),
        }

    def whole(self, state: State) -> dict[str, Any]:
        """All of it, for JSON: `event` where the value is JSON, else `text` or `base64`."""
        try:
            text = self.value.decode()
        except UnicodeDecodeError:
            return self.summary(state) | {"base64": base64.b64encode(self.value).decode()}
        try:
            return self.summary(state) | {"event": json.loads(text)}
        except (ValueError, RecursionError):
            return self.summary(state) | {"text": text}


@dataclass(frozen=True)
class Mark:
    """What was done with the letters of an id. until: the time of the last one of them; a later one is a letter of its own."""

    state: State
    until: datetime

    def to_bytes(self) -> bytes:
        """JSON in UTF-8."""
        return json.dumps({"state": self.state, "until": self.until.isoformat()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `ValueError` where the message is no mark."""
        try:
            mark = json.loads(data)
            until = datetime.fromisoformat(mark["until"])
            if mark["state"] not in ("replayed", "removed") or until.tzinfo is None:
                raise ValueError("a mark with another state or a time without zone")
            return cls(mark["state"], until)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no mark: {error}") from error


@dataclass(frozen=True)
class Selection:
    """Which letters are meant; an empty field means all. since: inclusive. until: exclusive."""

    ids: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def everything(self) -> bool:
        """Whether all letters are meant."""
        return not any((self.ids, self.kinds, self.streams, self.since, self.until))

    def takes(self, letter: KeptLetter) -> bool:
        """Whether a letter is meant."""
        return (
            (not self.ids or letter.letter_id in self.ids)
            and (not self.kinds or letter.kind in self.kinds)
            and (not self.streams or letter.stream_id in self.streams)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
        )


def _time(text: str, timestamp: int) -> datetime:
    """The time in a letter's header, else that of its message, milliseconds since 1970. Both may be anything."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(min(max(0, timestamp / 1000), LATEST), UTC)


def parse_time(text: str, now: datetime) -> datetime:
    """A time as people type it: `2h` (s, m, h, d) before now, or ISO 8601, in UTC without a zone. Raises `ValueError`."""
    if age := re.fullmatch(r"(\d{1,5})([smhd])", text):
        return now - timedelta(**{UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2h, 3d or 2026-01-31T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
