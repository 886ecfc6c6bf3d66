"""Dead letters: inputs that cannot be answered, kept as they came, with the reason in the headers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

LETTER_VALUE_BYTES, LETTER_KEY_BYTES, LETTER_REASON_CHARS = 900_000, 16_384, 2_000
"""Sizes of a dead letter, so that it fits into a message of 1 MiB. An input can be larger: Kafka limits messages as they were
compressed, and a letter that no broker takes would hold its stream back for ever."""


@dataclass(frozen=True)
class Message:
    """An input message as bytes, and where it stood.

    sent: when it was sent, or came to its topic where that is known to be later, epoch seconds; None where neither is known.
    unreadable: why Kafka's client cannot read it; `value` then has the bytes of its record or of its batch, and `last` the
    last of the batch's offsets. '' for any other message.
    """

    key: bytes | None
    value: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0
    last: int | None = None
    unreadable: str = ""
    sent: float | None = None


@dataclass(frozen=True)
class DeadLetter:
    """An input that cannot be answered.

    key, value: as they came, cut to a message's size; the header `truncated` then has the value's full length.
    headers: why it cannot be answered, and where it came from.
    """

    key: bytes | None
    value: bytes
    headers: dict[str, str]

    def header_bytes(self) -> list[tuple[str, bytes]]:
        """The headers as Kafka takes them."""
        return [(name, text.encode(errors="replace")) for name, text in self.headers.items()]


def dead_letter(
    message: Message, *, kind: str, reason: str, field: str = "", segment_id: str = "", reader: str = ""
) -> DeadLetter:
    """The dead letter of a message. kind: a stable word for machines. field: the wrong field of the event, if one is.

    reader: the consumer group, where another one than the scorers' could not read the message.
    """
    headers = {
        "reason": reason[:LETTER_REASON_CHARS],
        "kind": kind,
        "field": field,
        "segment_id": segment_id,
        "reader": reader,
        "topic": message.topic,
        "partition": str(message.partition),
        "offset": str(message.offset),
        "last_offset": str(message.last) if message.last not in (None, message.offset) else "",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "truncated": str(len(message.value)) if len(message.value) > LETTER_VALUE_BYTES else "",
    }
    key = message.key[:LETTER_KEY_BYTES] if message.key is not None else None
    return DeadLetter(key, message.value[:LETTER_VALUE_BYTES], {name: value for name, value in headers.items() if value})


def shortened(letter: DeadLetter) -> DeadLetter:
    """The letter with half of its value, for a topic that takes no larger message."""
    length = letter.headers.get("truncated", str(len(letter.value)))
    return DeadLetter(letter.key, letter.value[: len(letter.value) // 2], letter.headers | {"truncated": length})


def stream_of(key: bytes | None, value: bytes) -> str:
    """A message's stream, by its key; of a producer without keys, by what the message says; '' where nothing does."""
    return key.decode(errors="replace") if key else named_stream(value)


def named_stream(value: bytes) -> str:
    """What a message without a key calls its stream; '' where it names none."""
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    named = event.get("stream_id") if isinstance(event, dict) else None
    return named if isinstance(named, str) else ""
