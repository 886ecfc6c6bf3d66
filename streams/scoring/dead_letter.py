"""Dead letters: inputs that cannot be answered, kept as they came, with the reason in the headers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

LETTER_VALUE_BYTES, LETTER_KEY_BYTES, LETTER_REASON_CHARS = 900_000, 16_384, 2_000
"""Sizes of a dead letter, so that it fits into a message of 1 MiB. An input can be larger: Kafka limits messages as they were
compressed, and a letter that no broker takes would hold its stream back for ever."""


@dataclass(frozen=True)
class Message:
    """An input message as bytes, and where it stood."""

    key: bytes | None
    value: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0


@dataclass(frozen=True)
class DeadLetter:
    """An input that cannot be answered.

    key, value: as they came, cut to a message's size; the header `truncated` then has the value's full length.
    headers: why it cannot be answered, and where it came from.
    """

    key: bytes | None
    value: bytes
    headers: dict[str, str]


def dead_letter(message: Message, *, kind: str, reason: str, field: str = "", segment_id: str = "") -> DeadLetter:
    """The dead letter of a message. kind: a stable word for machines. field: the wrong field of the event, if one is."""
    headers = {
        "reason": reason[:LETTER_REASON_CHARS],
        "kind": kind,
        "field": field,
        "segment_id": segment_id,
        "topic": message.topic,
        "partition": str(message.partition),
        "offset": str(message.offset),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "truncated": str(len(message.value)) if len(message.value) > LETTER_VALUE_BYTES else "",
    }
    key = message.key[:LETTER_KEY_BYTES] if message.key is not None else None
    return DeadLetter(key, message.value[:LETTER_VALUE_BYTES], {name: value for name, value in headers.items() if value})
