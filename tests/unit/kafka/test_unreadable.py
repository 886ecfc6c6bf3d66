"""Reading past broken messages, with the code in which kafka-python and aiokafka unpack what they fetched."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import aiokafka.consumer.fetcher
import aiokafka.record.memory_records
import crc32c
import kafka.consumer.fetcher
import kafka.record.memory_records
import lz4.frame
import pytest
import snappy
import zstandard
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder

from streams.kafka import codecs
from streams.kafka.codecs import CODECS, check_codecs, decompressed
from streams.kafka.records import Unreadable
from streams.kafka.unreadable import SteadyRecords, as_message, keep_faust_reading, keep_kafka_python_reading

UPSTREAM = {
    kafka.consumer.fetcher: kafka.record.memory_records.MemoryRecords,
    aiokafka.consumer.fetcher: aiokafka.record.memory_records.MemoryRecords,
}
"""The clients' own classes."""

keep_faust_reading()
keep_kafka_python_reading()


def kafka_python(data: bytes, offset: int = 0) -> tuple[list[Any], int]:
    """Unpack as kafka-python's consumer does: the records, and the offset that it fetches next."""
    fetcher = kafka.consumer.fetcher
    partition = fetcher.TopicPartition("topic", 3)
    unpacked = fetcher.Fetcher.PartitionRecords(offset, partition, fetcher.MemoryRecords(data))
    return unpacked.take(), unpacked.next_fetch_offset


def aiokafka_in_faust(data: bytes, offset: int = 0) -> tuple[list[Any], int]:
    """Unpack as aiokafka's consumer does."""
    fetcher = aiokafka.consumer.fetcher
    partition = fetcher.TopicPartition("topic", 3)
    unpacked = fetcher.PartitionRecords(partition, fetcher.MemoryRecords(data), [], offset, None, None, True, 0)
    return list(unpacked), unpacked.next_fetch_offset


COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    1: lambda data: zlib.compress(data, wbits=31),
    2: snappy.compress,
    3: lambda data: lz4.frame.compress(data, block_linked=False),
    4: zstandard.ZstdCompressor().compress,
}
Unpack = Callable[..., tuple[list[Any], int]]


@pytest.fixture(params=[kafka_python, aiokafka_in_faust])
def unpack(request: pytest.FixtureRequest) -> Unpack:
    return request.param


def batch(first: int, values: list[bytes], codec: int = 0, headers: list[tuple[str, bytes]] | None = None) -> bytearray:
    """A batch of a producer, as a broker with its first message at offset `first` keeps it."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=2**20)
    for value in values:
        builder.append(1_700_000_000_000, b"key", value, headers or [])
    builder.close()
    data = bytearray(builder.buffer())
    struct.pack_into(">q", data, 0, first)
    return data


def sealed(data: bytearray) -> bytearray:
    """The same with the checksum of its present bytes."""
    struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
    return data


def with_broken_header_name(first: int, values: list[bytes], codec: int = 0) -> bytearray:
    """A batch in which a header's name of every message is two bytes that are not UTF-8."""
    data = batch(first, values, headers=[("NA", b"x")])
    data[61:] = data[61:].replace(b"NA", b"\xff\xfe")
    return sealed(data)


def values_of(records: list[Any]) -> list[bytes]:
    return [record.value for record in records]


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_batch_of_each_codec_is_read(unpack: Unpack, codec: int) -> None:
    records, following = unpack(bytes(batch(10, [b"a" * 100, b"b" * 100], codec) + batch(12, [b"c"])), 10)
    assert values_of(records) == [b"a" * 100, b"b" * 100, b"c"]
    assert [record.offset for record in records] == [10, 11, 12]
    assert following == 13


def test_a_header_name_that_is_not_utf_8_changes_nothing_of_its_message(unpack: Unpack) -> None:
    records, following = unpack(bytes(with_broken_header_name(0, [b"a", b"b"]) + batch(2, [b"c"])))
    assert values_of(records) == [b"a", b"b", b"c"]
    assert [record.key for record in records] == [b"key"] * 3
    assert [record.timestamp for record in records] == [1_700_000_000_000] * 3
    assert list(records[0].headers) == [("\ufffd\ufffd", b"x")]
    assert following == 3


def test_reading_restarts_within_a_batch_with_a_broken_header_name(unpack: Unpack) -> None:
    records, _ = unpack(bytes(with_broken_header_name(0, [b"a", b"b", b"c"])), 1)
    assert values_of(records) == [b"b", b"c"]


def test_a_batch_with_a_wrong_checksum_becomes_one_record_and_the_next_batch_is_read(unpack: Unpack) -> None:
    broken = batch(5, [b"a", b"b", b"c"])
    broken[-3] ^= 0x40
    records, following = unpack(bytes(batch(4, [b"before"]) + broken + batch(8, [b"after"])), 4)
    assert [record.offset for record in records] == [4, 7, 8]
    assert values_of(records) == [b"before", bytes(broken), b"after"]
    assert following == 9
    message = as_message(records[1])
    assert (message.topic, message.partition, message.offset, message.last) == ("topic", 3, 5, 7)
    assert message.unreadable == "the checksum is wrong"
    assert message.value == bytes(broken)


def test_a_broken_batch_at_the_end_is_stepped_over_by_its_own_count(unpack: Unpack) -> None:
    broken = batch(5, [b"a", b"b", b"c"])
    broken[-3] ^= 0x40
    assert unpack(bytes(broken), 5)[1] == 8


@pytest.mark.parametrize(("last", "count"), [(2**30, 3), (2, 2**30), (-7, 3)])
def test_a_broken_count_steps_over_no_message(unpack: Unpack, last: int, count: int) -> None:
    broken = batch(5, [b"a", b"b", b"c"])
    struct.pack_into(">i", broken, 23, last)
    struct.pack_into(">i", broken, 57, count)
    assert unpack(bytes(broken), 5)[1] == 8
    records, following = unpack(bytes(broken + batch(8, [b"after"])), 5)
    assert records[-1].value == b"after"
    assert following == 9


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec_is_named(unpack: Unpack, codec: int) -> None:
    data = batch(0, [b"a"])
    struct.pack_into(">h", data, 21, codec)
    records, following = unpack(bytes(sealed(data) + batch(1, [b"after"])))
    assert records[0].value.reason == f"compression codec {codec} is unknown"
    assert records[1].value == b"after"
    assert following == 2


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_compressed_bytes_that_cannot_be_decompressed_are_stepped_over(unpack: Unpack, codec: int) -> None:
    data = batch(0, [b"a" * 100], codec)
    data[61:] = b"\x13" * (len(data) - 61)
    records, following = unpack(bytes(sealed(data) + batch(1, [b"after"])))
    assert records[0].value.reason.startswith(CODECS[codec][0])
    assert values_of(records)[1:] == [b"after"]
    assert following == 2


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_decompression_bomb_is_refused(unpack: Unpack, codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MOST_BYTES", 2**20)
    records, following = unpack(bytes(batch(0, [bytes(2**21)], codec) + batch(1, [b"after"])))
    assert "more than 1 MiB" in records[0].value.reason
    assert values_of(records)[1:] == [b"after"]
    assert following == 2


def test_a_record_of_a_wrong_shape_takes_no_other_one_with_it(unpack: Unpack) -> None:
    data = batch(0, [b"first", b"second", b"third"])
    # The length of the value, 6, is raised beyond the end of its record.
    at = data.index(b"\x0csecond")
    data[at] = 0x7E
    records, following = unpack(bytes(sealed(data) + batch(3, [b"after"])))
    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert [isinstance(record.value, Unreadable) for record in records] == [False, True, False, False]
    assert b"second" in records[1].value
    assert following == 4


def test_a_record_whose_length_is_wrong_ends_its_batch_only(unpack: Unpack) -> None:
    data = batch(0, [b"first", b"second", b"third"])
    at = data.index(b"\x06key\x0csecond") - 4
    data[at] = 0x7F
    records, following = unpack(bytes(sealed(data) + batch(3, [b"after"])))
    assert records[0].value == b"first"
    assert (records[1].value.first, records[1].value.last, records[1].offset) == (1, 2, 2)
    assert records[2].value == b"after"
    assert following == 4


@pytest.mark.parametrize("length", [-1, 0, 12, 2**30])
def test_a_wrong_length_of_the_batch_is_stepped_over(unpack: Unpack, length: int) -> None:
    data = batch(6, [b"a"])
    struct.pack_into(">i", data, 8, length)
    records, following = unpack(bytes(data), 6)
    assert [isinstance(record.value, Unreadable) for record in records] == [True]
    assert following == 7


def test_a_batch_that_is_cut_at_the_end_of_the_answer_is_fetched_again(unpack: Unpack) -> None:
    records, following = unpack(bytes(batch(0, [b"a"]) + batch(1, [b"b"])[:-1]))
    assert values_of(records) == [b"a"]
    assert following == 1


def test_no_flipped_bit_stops_the_reading_or_takes_the_next_batch(unpack: Unpack) -> None:
    whole = batch(7, [b"a", b"b"], codec=3)
    after = bytes(batch(9, [b"after"]))
    # Offset and length, the first 12 bytes, are the broker's own: without them it finds no batch either.
    for bit in range(12 * 8, len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        records, following = unpack(bytes(flipped) + after, 7)
        assert records[-1].value == b"after", bit
        assert following == 10


def test_no_damage_behind_a_right_checksum_stops_the_reading_or_takes_the_next_batch(unpack: Unpack) -> None:
    """What a hostile producer could send, as far as a broker takes it."""
    chance = random.Random(1)
    after = bytes(batch(10, [b"after"]))
    for _ in range(1000):
        data = batch(7, [b"a" * chance.randrange(50), b"b", b"c"], chance.randrange(5))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(12, len(data))] = chance.randrange(256)
        records, following = unpack(bytes(sealed(data)) + after, 7)
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert records[-1].value == b"after"
        assert following == 11


@pytest.mark.parametrize("fetcher", [kafka.consumer.fetcher, aiokafka.consumer.fetcher])
def test_the_clients_still_need_it(fetcher: ModuleType) -> None:
    """Where this fails after an update of a client, see whether `streams/kafka/unreadable.py` is needed and still works."""
    assert fetcher.MemoryRecords.func is SteadyRecords
    upstream = UPSTREAM[fetcher]
    with pytest.raises(Exception, match=r"utf-8|structure"):
        list(upstream(bytes(with_broken_header_name(0, [b"a"]))).next_batch())


def test_the_codecs_are_checked() -> None:
    assert check_codecs() == "gzip, snappy, lz4, zstd"
    with pytest.raises(ValueError, match="gzip cannot be decompressed: the stream has no end"):
        decompressed(1, zlib.compress(b"a" * 1000, wbits=31)[:-4])


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_large_batch_is_decompressed_as_a_whole_and_a_cut_one_is_refused_or_short(codec: int) -> None:
    data = bytes(range(256)) * 8192
    compressed = COMPRESS[codec](data)
    assert decompressed(codec, compressed) == data
    with pytest.raises(ValueError, match=CODECS[codec][0]):
        decompressed(codec, compressed[:-9])


@pytest.mark.parametrize(
    "compressed",
    [
        lz4.frame.compress(b"segment " * 100_000, block_linked=True, store_size=False, content_checksum=True),
        lz4.frame.compress(b"segment " * 100_000, block_size=lz4.frame.BLOCKSIZE_MAX4MB, block_checksum=True),
        zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(b"segment " * 100_000),
        2 * zstandard.ZstdCompressor().compress(b"segment " * 50_000),
    ],
    ids=["lz4, linked blocks", "lz4, large blocks", "zstd without its size", "zstd, two frames"],
)
def test_the_other_ways_to_compress_are_read(compressed: bytes) -> None:
    codec = 4 if compressed.startswith(b"\x28\xb5\x2f\xfd") else 3
    assert decompressed(codec, compressed) == b"segment " * 100_000


def test_a_batch_of_empty_frames_takes_no_time_for_each_pair() -> None:
    """A megabyte of them, with each rest copied once for each frame, would be minutes."""
    assert decompressed(4, 100_000 * zstandard.ZstdCompressor().compress(b"")) == b""


@pytest.mark.parametrize("codec", [3, 4])
def test_a_bomb_takes_no_more_memory_than_the_limit(codec: int) -> None:
    data = bytes(2**29)
    bomb = lz4.frame.compress(data) if codec == 3 else zstandard.ZstdCompressor().compress(data)
    script = (
        "import resource, sys; from streams.kafka.codecs import decompressed; from streams.kafka import codecs\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))\n"
        f"try: decompressed({codec}, sys.stdin.buffer.read())\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=bomb, capture_output=True, check=True)
    assert done.stdout.decode().strip() == f"{CODECS[codec][0]} cannot be decompressed: it decompresses to more than 64 MiB"


def old_batch(version: int, first: int, values: list[bytes | None], codec: int = 0) -> bytearray:
    """Messages of format 0 or 1 as a broker keeps them, the first one at offset `first`; with a codec in one batch."""
    builder = LegacyRecordBatchBuilder(magic=version, compression_type=codec, batch_size=2**24)
    for place, value in enumerate(values):
        inner = place if codec and version == 1 else first + place
        assert builder.append(inner, 1_700_000_000_000, b"key", value)
    data = bytearray(builder.build())
    if codec:
        struct.pack_into(">q", data, 0, first + len(values) - 1)
    return data


def old_sealed(data: bytearray) -> bytearray:
    """A batch of format 0 or 1 with the checksum of its present bytes."""
    struct.pack_into(">I", data, 12, zlib.crc32(bytes(data[16:])))
    return data


def compressed_old(first: int, messages: bytes, version: int = 1) -> bytearray:
    """A compressed batch that holds these bytes."""
    data = old_batch(version, first, [b"x"])
    at = 18 if version == 0 else 26
    payload = zlib.compress(messages, wbits=31)
    data[at:] = struct.pack(">ii", -1, len(payload)) + payload
    data[17] = 1
    struct.pack_into(">i", data, 8, len(data) - 12)
    return old_sealed(data)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("codec", [0, 1, 2, 3])
def test_batches_of_old_formats_are_read(unpack: Unpack, version: int, codec: int) -> None:
    if (version, codec) == (0, 3):
        pytest.skip("lz4 of format 0 has another frame, which no client of today writes")
    data = bytes(old_batch(version, 7, [b"a" * 100, None, b"c"], codec))
    records, following = unpack(data + bytes(batch(10, [b"after"])), 7)
    assert [record.offset for record in records] == [7, 8, 9, 10]
    assert values_of(records) == [b"a" * 100, None, b"c", b"after"]
    assert [record.key for record in records] == [b"key"] * 4
    assert [record.timestamp for record in records[:3]] == [1_700_000_000_000 if version else -1] * 3
    assert following == 11


def test_an_old_batch_that_would_never_end_is_stepped_over(unpack: Unpack) -> None:
    """With a length of -12 the clients read the same message again and again, until there is no memory."""
    message = bytearray(old_batch(1, 0, [b"a"]))
    struct.pack_into(">i", message, 8, -12)
    records, following = unpack(bytes(compressed_old(7, bytes(message)) + batch(8, [b"after"])), 7)
    assert records[0].value.reason == "a message is longer than its batch"
    assert values_of(records)[1:] == [b"after"]
    assert following == 9


@pytest.mark.parametrize("codec", [1, 2, 3])
def test_a_decompression_bomb_of_an_old_format_is_refused(unpack: Unpack, codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MOST_BYTES", 2**20)
    records, following = unpack(bytes(old_batch(1, 0, [bytes(2**21)], codec) + batch(1, [b"after"])))
    assert "more than 1 MiB" in records[0].value.reason
    assert values_of(records)[1:] == [b"after"]
    assert following == 2


@pytest.mark.parametrize("version", [0, 1])
def test_no_damage_in_an_old_batch_stops_the_reading_or_takes_the_next_batch(unpack: Unpack, version: int) -> None:
    chance = random.Random(2)
    after = bytes(batch(10, [b"after"]))
    for number in range(600):
        codec = chance.choice([0, 1, 2])
        if codec and number % 2:
            messages = bytearray(b"".join(bytes(old_batch(version, place, [b"a" * 20])) for place in range(3)))
            for _ in range(chance.randrange(1, 4)):
                messages[chance.randrange(len(messages))] = chance.choice([0, 255, chance.randrange(256)])
            data = compressed_old(9, bytes(messages), version)
        else:
            data = old_batch(version, 9 if not codec else 7, [b"a" * 20, b"b", b"c"] if codec else [b"a"], codec)
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(16, len(data))] = chance.randrange(256)
            data[16] = version
            old_sealed(data)
        records, following = unpack(bytes(data) + after, 7)
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert records[-1].value == b"after"
        assert following == 11
