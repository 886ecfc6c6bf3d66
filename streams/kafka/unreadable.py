"""Reading past messages that cannot be read: a broken batch becomes one record that says so, and the next batch is read.

kafka-python 3.0 and aiokafka 0.14 raise while they unpack what they fetched: for a wrong checksum, a codec without library, a
record of a wrong shape, a header whose name is not UTF-8 (Kafka allows any bytes there). They do not go on behind the message:
every attempt raises on it again. aiokafka raises inside Faust's consumer, so the worker ends, and again at each restart. Neither
has an option for it; Java's client raises too, but it names the offset to seek to (KIP-334).

Both clients unpack by the class `MemoryRecords` that their module `consumer.fetcher` names. `SteadyRecords` takes its
place, which is the only change: the clients' own classes still read what is in order.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Self

from streams.kafka.codecs import decompressed
from streams.letter import Message

BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
"""Of a batch of format 2: first offset, length, leader epoch, format, checksum, attributes, last offset minus first offset, first
and last timestamp, producer's id, epoch and sequence, number of records."""

LOG_OVERHEAD, FORMAT_AT, ATTRIBUTES_AT = 12, 16, 21
LEAST_BYTES = {0: 26, 1: 34, 2: BATCH_HEADER.size}
"""Format -> bytes of its smallest batch."""

LEAST_LENGTH = min(LEAST_BYTES.values()) - LOG_OVERHEAD
"""The length field does not count itself and what is before it."""

CODEC_MASK, APPEND_TIME = 0x07, 0x08
MOST_OFFSETS = 2**31
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


def keep_kafka_python_reading() -> None:
    """Make kafka-python's consumers read past what they cannot read."""
    from kafka.consumer import fetcher
    from kafka.record.default_records import DefaultRecordBatch

    _replace(fetcher, DefaultRecordBatch)


def keep_faust_reading() -> None:
    """Make aiokafka's consumers, which Faust uses, read past what they cannot read."""
    from aiokafka.consumer import fetcher
    from aiokafka.record.default_records import DefaultRecordBatch

    _replace(fetcher, DefaultRecordBatch)


def _replace(fetcher: ModuleType, default_batch: Callable[[bytes], Any]) -> None:
    if not isinstance(fetcher.MemoryRecords, partial):
        fetcher.MemoryRecords = partial(SteadyRecords, default_batch, fetcher.MemoryRecords)  # type: ignore[attr-defined]


def as_message(record: Any) -> Message:
    """A record of a client, or a message of Faust, as the input of a dead letter."""
    value = record.value
    if not isinstance(value, Unreadable):
        return Message(record.key, value or b"", record.topic, record.partition, record.offset)
    return Message(record.key, bytes(value), record.topic, record.partition, value.first, value.last, value.reason)


class SteadyRecords:
    """The batches of one fetched partition, in place of the client's `MemoryRecords`; no method raises.

    default_batch: the client's class of batches of format 2. memory_records: the client's class for older formats.
    data: as fetched.
    """

    def __init__(self, default_batch: Callable[[bytes], Any], memory_records: Callable[[bytes], Any], data: Any) -> None:
        self._default_batch, self._memory_records = default_batch, memory_records
        self._data = memoryview(data or b"")
        self._at = 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        """Whether a whole batch follows. A cut one at the end is not read: the client fetches it again."""
        return self._next_end() is not None

    def next_batch(self) -> Any:
        """The next batch: as the client's class reads it, or one with a record in place of what cannot be read."""
        end = self._next_end()
        if end is None:
            return None
        data = bytes(self._data[self._at : end])
        self._at = end
        following = self._following(int(struct.unpack_from(">q", data)[0]))
        try:
            return self._read_batch(data, following)
        except Exception as error:
            return _BrokenBatch(data, str(error) or type(error).__name__, following)

    def _next_end(self) -> int | None:
        """Where the next batch ends; None where no whole batch follows."""
        left = len(self._data) - self._at
        if left < FORMAT_AT + 1:
            return None
        length = struct.unpack_from(">i", self._data, self._at + 8)[0]
        end = self._at + LOG_OVERHEAD + int(length)
        if length < LEAST_LENGTH:
            return len(self._data)
        if end <= len(self._data):
            return end
        # A broker sends at least one whole batch: the length of a first one that is not whole is wrong.
        return len(self._data) if self._at == 0 else None

    def _following(self, first: int) -> int | None:
        """First offset of the batch behind the one with this first offset; None where it is not known."""
        if self._next_end() is None:
            return None
        following = int(struct.unpack_from(">q", self._data, self._at)[0])
        return following if first < following < first + MOST_OFFSETS else None

    def _read_batch(self, data: bytes, following: int | None) -> Any:
        """Raises `ValueError`, or what the client raises, where the batch as a whole cannot be read."""
        version = data[FORMAT_AT]
        if version not in LEAST_BYTES:
            raise ValueError(f"message format {version} is unknown")
        if len(data) < LEAST_BYTES[version] or struct.unpack_from(">i", data, 8)[0] != len(data) - LOG_OVERHEAD:
            raise ValueError("the length of the batch is wrong")
        if version < 2:
            batch = self._memory_records(data).next_batch()
            if not batch.validate_crc():
                raise ValueError("the checksum is wrong")
            return batch
        batch = self._default_batch(data)
        if not batch.validate_crc():
            raise ValueError("the checksum is wrong")
        attributes = struct.unpack_from(">h", data, ATTRIBUTES_AT)[0]
        if codec := attributes & CODEC_MASK:
            plain = bytearray(data[: BATCH_HEADER.size]) + decompressed(codec, data[BATCH_HEADER.size :])
            struct.pack_into(">h", plain, ATTRIBUTES_AT, attributes & ~CODEC_MASK)
            data = bytes(plain)
            batch = self._default_batch(data)
        return _Batch(batch, data, following)


class _Batch:
    """A batch of format 2 whose checksum is right.

    batch: the client's. data: its bytes, decompressed. following: first offset of the batch behind, if known.
    """

    def __init__(self, batch: Any, data: bytes, following: int | None) -> None:
        self._batch, self._data = batch, data
        self.next_offset = batch.next_offset if following is None else min(batch.next_offset, following)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """The client's records; from the first one on which it raises, `read_records`."""
        offset, last = self._batch.base_offset - 1, self.next_offset - 1
        try:
            for record in self._batch:
                if not offset < record.offset <= last:
                    raise ValueError(OUTSIDE)
                yield record
                offset = record.offset
        except Exception as error:
            yield from read_records(self._data, offset, last, str(error) or type(error).__name__)

    def validate_crc(self) -> bool:
        return True


class _BrokenBatch:
    """A batch that cannot be read as a whole: one record with its bytes, at the last of its offsets.

    At the last one, because what a reader commits is the offset behind it. following: first offset of the batch behind, if known.
    """

    magic, leader_epoch, producer_id = 2, -1, -1
    is_control_batch = is_transactional = False

    def __init__(self, data: bytes, reason: str, following: int | None) -> None:
        self.base_offset = int(struct.unpack_from(">q", data)[0])
        self.next_offset = self.base_offset + _offsets(data)
        if following is not None:
            self.next_offset = following
        last = self.next_offset - 1
        value = Unreadable(data, reason, self.base_offset, last)
        self._record = Record(last, int(time.time() * 1000), 0, None, value, [], len(data))

    @property
    def last_offset(self) -> int:
        return self.next_offset - 1

    def has_producer_id(self) -> bool:
        return False

    def validate_crc(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Record]:
        yield self._record


MOST_DELTA = 2**20
"""A batch that claims to cover more offsets lies: a batch of records of one byte each, as large as a broker takes, has fewer."""


def _offsets(data: bytes) -> int:
    """How many offsets a broken batch covers: by its last offset where that can be, else by its number of records.

    A compacted batch has fewer records than offsets. To step over too little makes the broker send the same batch for ever.
    """
    if len(data) < BATCH_HEADER.size or data[FORMAT_AT] != 2:
        return 1
    header = BATCH_HEADER.unpack_from(data)
    return header[6] + 1 if 0 <= header[6] < MOST_DELTA else max(1, min(header[12], MOST_DELTA))


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
