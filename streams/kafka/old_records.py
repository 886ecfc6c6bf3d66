"""Batches of the message formats 0 and 1, which producers before Kafka 0.11 wrote and a broker may still keep.

Such a batch is one message, or, where it is compressed, a message whose value holds the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from streams.kafka.codecs import decompressed
from streams.kafka.records import APPEND_TIME, CODEC_MASK, LOG_OVERHEAD, OUTSIDE, Record, Unreadable

CHECKED_AT = 16
"""The checksum covers what is behind it: format, attributes, timestamp in format 1, key and value."""

HEADERS = {0: struct.Struct(">qiIbb"), 1: struct.Struct(">qiIbbq")}
"""Format -> offset, length, checksum, format, attributes and, in format 1, timestamp."""


@dataclass(frozen=True)
class _Message:
    """A message of format 0 or 1. timestamp: milliseconds since 1970, -1 for none."""

    offset: int
    attributes: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class OldBatch:
    """A batch of format 0 or 1 with the fields that both clients ask for. Raises `ValueError` where it cannot be read.

    data: the whole batch, at least as long as the smallest of its format.
    """

    magic: int
    leader_epoch, producer_id = -1, None
    is_control_batch = is_transactional = False

    def __init__(self, data: bytes) -> None:
        self.magic = data[CHECKED_AT]
        if zlib.crc32(data[CHECKED_AT:]) != struct.unpack_from(">I", data, LOG_OVERHEAD)[0]:
            raise ValueError("the checksum is wrong")
        self._outer = _read(data, 0, len(data), self.magic)
        self._data, self._shift = b"", 0
        self._places: list[tuple[int, int]] = []
        self.base_offset = self._outer.offset
        if codec := self._outer.attributes & CODEC_MASK:
            self._data = decompressed(codec, self._outer.value or b"")
            self._places = list(_places(self._data, self.magic))
            first, last = (struct.unpack_from(">q", self._data, self._places[place][0])[0] for place in (0, -1))
            # Within a compressed batch of format 1 offsets count from 0; the batch has the offset of its last message.
            self._shift = self._outer.offset - last if self.magic else 0
            self.base_offset = first + self._shift
            if not 0 <= self.base_offset <= last + self._shift == self._outer.offset:
                raise ValueError(OUTSIDE)

    @property
    def next_offset(self) -> int:
        return self._outer.offset + 1

    @property
    def last_offset(self) -> int:
        return self._outer.offset

    def has_producer_id(self) -> bool:
        return False

    def validate_crc(self) -> bool:
        return True  # else there is no such batch

    def __iter__(self) -> Iterator[Record]:
        if not self._places:
            yield _record(self._outer, self._outer.offset, self._outer, len(self._outer.value or b""))
            return
        offset = self.base_offset - 1
        for place, (start, end) in enumerate(self._places):
            most = self._outer.offset - (len(self._places) - 1 - place)
            try:
                message = _read(self._data, start, end, self.magic)
                if message.attributes & CODEC_MASK:
                    raise ValueError("it is compressed twice")
                if not offset < message.offset + self._shift <= most:
                    raise ValueError(OUTSIDE)
                record = _record(message, message.offset + self._shift, self._outer, end - start)
            except ValueError as error:
                value = Unreadable(self._data[start:end], str(error), offset + 1, offset + 1)
                record = Record(offset + 1, max(self._outer.timestamp, 0), 0, None, value, [], end - start)
            offset = record.offset
            yield record


def _record(message: _Message, offset: int, outer: _Message, size: int) -> Record:
    by_broker = bool(outer.attributes & APPEND_TIME)
    timestamp = outer.timestamp if by_broker else message.timestamp
    return Record(offset, timestamp, int(by_broker), message.key, message.value, [], size)


def _places(data: bytes, version: int) -> Iterator[tuple[int, int]]:
    """Where each message begins and ends. Raises `ValueError` where they do not fill the data."""
    at = 0
    while at < len(data) or not at:
        if at + HEADERS[version].size > len(data):
            raise ValueError("a message is longer than its batch")
        length = struct.unpack_from(">i", data, at + 8)[0]
        end = at + LOG_OVERHEAD + length
        if end < at + HEADERS[version].size or end > len(data):
            raise ValueError("a message is longer than its batch")
        yield at, end
        at = end


def _read(data: bytes, start: int, end: int, version: int) -> _Message:
    offset, _, _, inner_version, attributes, *timestamps = HEADERS[version].unpack_from(data, start)
    if inner_version != version:
        raise ValueError(f"a message of format {inner_version} in a batch of format {version}")
    key, at = _bytes(data, start + HEADERS[version].size, end)
    value, at = _bytes(data, at, end)
    if at != end:
        raise ValueError("a message's length is wrong")
    return _Message(offset, attributes, timestamps[0] if timestamps else -1, key, value)


def _bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    """Bytes with their length before them, None for the length -1; and where they end."""
    if at + 4 > end:
        raise ValueError("a field is longer than its message")
    length = struct.unpack_from(">i", data, at)[0]
    at += 4
    if length == -1:
        return None, at
    if length < 0 or at + length > end:
        raise ValueError("a field is longer than its message")
    return data[at : at + length], at + length
