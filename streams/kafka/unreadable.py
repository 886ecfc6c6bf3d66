"""Reading past messages that cannot be read: a broken batch becomes one record that says so, and the next batch is read.

kafka-python 3.0 and aiokafka 0.14 raise while they unpack what they fetched: for a wrong checksum, a codec without library, a
record of a wrong shape, a header whose name is not UTF-8 (Kafka allows any bytes there). They do not go on behind the message:
every attempt raises on it again. aiokafka raises inside Faust's consumer, so the worker ends, and again at each restart. Neither
has an option for it; Java's client raises too, but it names the offset to seek to (KIP-334).

Both clients unpack by the class `MemoryRecords` that their module `consumer.fetcher` names. `SteadyRecords` takes its
place, which is the only change: the clients' own classes still read what is in order. Batches of the formats 0 and 1, of
producers before 2017, are read in `old_records.py`: the clients decompress them without a limit, and never end on some.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from streams.kafka.codecs import decompressed
from streams.kafka.old_records import OldBatch
from streams.kafka.records import BATCH_HEADER, CODEC_MASK, LOG_OVERHEAD, OUTSIDE, Record, Unreadable, read_records
from streams.letter import Message

FORMAT_AT, ATTRIBUTES_AT = 16, 21
LEAST_BYTES = {0: 26, 1: 34, 2: BATCH_HEADER.size}
"""Format -> bytes of its smallest batch."""

LEAST_LENGTH = min(LEAST_BYTES.values()) - LOG_OVERHEAD
"""The length field does not count itself and what is before it."""

MOST_OFFSETS = 2**31


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
        fetcher.MemoryRecords = partial(SteadyRecords, default_batch)  # type: ignore[attr-defined]


def as_message(record: Any, sent: float | None = None) -> Message:
    """A record of a client, or a message of Faust, as the input of a dead letter. sent: when it was sent, epoch seconds."""
    value = record.value
    if not isinstance(value, Unreadable):
        return Message(record.key, value or b"", record.topic, record.partition, record.offset, sent=sent)
    return Message(record.key, bytes(value), record.topic, record.partition, value.first, value.last, value.reason, sent)


class SteadyRecords:
    """The batches of one fetched partition, in place of the client's `MemoryRecords`; no method raises.

    default_batch: the client's class of batches of format 2; older formats are read by `OldBatch`. data: as fetched.
    """

    def __init__(self, default_batch: Callable[[bytes], Any], data: Any) -> None:
        self._default_batch = default_batch
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
            return OldBatch(data)
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
