"""The records of a batch of format 2, read one by one where a client cannot, and what stands in place of an unreadable one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
"""Of a batch of format 2: first offset, length, leader epoch, format, checksum, attributes, last offset minus first offset, first
and last timestamp, producer's id, epoch and sequence, number of records."""

LOG_OVERHEAD = 12
"""Bytes of a batch that its length does not count: the offset and the length itself."""

CODEC_MASK, APPEND_TIME = 0x07, 0x08
OUTSIDE = "a record's offset is outside of its batch"


class Unreadable(bytes):
    """In place of a record's value: the bytes that cannot be read. reason: why. first, last: the offsets that they cover."""

    reason: str
    first: int
    last: int

    def __new__(cls, data: bytes, reason: str, first: int, last: int) -> Self:
        unreadable = super().__new__(cls, data)
        unreadable.reason, unreadable.first, unreadable.last = reason, first, last
        return unreadable


@dataclass(frozen=True, slots=True)
class Record:
    """A record with the fields that both clients ask for. timestamp: milliseconds since 1970."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    size_in_bytes: int
    checksum: None = None

    def validate_crc(self) -> bool:
        """The batch has the checksum, not the record."""
        return True


def read_records(data: bytes, after: int, last: int, reason: str) -> Iterator[Record]:
    """The records of a batch with offsets beyond `after`, one by one; in place of one that cannot be read, its bytes.

    data: a decompressed batch of format 2. last: its last offset. reason: why the client could not read the first of them.
    A header's name that is not UTF-8 is decoded with replacement characters: the message itself is in order.
    """
    header = BATCH_HEADER.unpack_from(data)
    first, attributes, count = header[0], header[5], header[12]
    timestamps = (header[8], 1) if attributes & APPEND_TIME else (header[7], 0)
    at, offset = BATCH_HEADER.size, first
    for _ in range(max(0, count)):
        if offset > last:
            return
        start = at
        try:
            length, at = _varint(data, at)
            end = at + length
            if length < 0 or end > len(data):
                raise ValueError("a record is longer than its batch")
        except (IndexError, ValueError):
            # Where the next record begins is not known either.
            if (begin := max(offset, after + 1)) <= last:
                rest = Unreadable(data[start:], reason, begin, last)
                yield Record(last, timestamps[0], timestamps[1], None, rest, [], len(rest))
            return
        try:
            record = _read_record(data[at:end], first, timestamps)
            if not offset <= record.offset <= last:
                raise ValueError(OUTSIDE)
        except (IndexError, ValueError) as error:
            value = Unreadable(data[at:end], str(error), offset, offset)
            record = Record(offset, timestamps[0], timestamps[1], None, value, [], length)
        at, offset = end, record.offset + 1
        if record.offset > after:
            yield record


def _read_record(data: bytes, first: int, timestamps: tuple[int, int]) -> Record:
    """A record without its length. first: the batch's first offset. timestamps: the batch's, and 1 where the broker set it."""
    later, at = _varint(data, 1)
    beyond, at = _varint(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    count, at = _varint(data, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _bytes(data, at)
        content, at = _bytes(data, at)
        headers.append(((name or b"").decode(errors="replace"), content))
    if at != len(data) or count < 0:
        raise ValueError("a record's length is wrong")
    timestamp, by_broker = timestamps
    return Record(first + beyond, timestamp if by_broker else timestamp + later, by_broker, key, value, headers, len(data))


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    """Bytes with their length before them; None for the length -1."""
    length, at = _varint(data, at)
    if length == -1:
        return None, at
    if length < 0 or at + length > len(data):
        raise ValueError("a field is longer than its record")
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits in each byte, the lowest first, its sign in the last bit; and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
