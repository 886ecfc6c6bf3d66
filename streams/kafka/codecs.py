"""Decompressing batches of messages: gzip, snappy, lz4 and zstd, within a size limit.

kafka-python and aiokafka decompress too, but each with libraries of its own, and neither has a limit: a batch of 1 MiB can
decompress to several GiB, and a worker that has no memory left ends on it again after each restart.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from mmap import mmap

import cramjam

MOST_BYTES = 64 * 2**20
"""Maximum size of a decompressed batch. A producer collects far less; a broker takes batches of 1 MiB, as compressed."""

TOO_LARGE = "failed to write whole buffer"
"""cramjam's words where the output is longer than the memory that it was given."""

SNAPPY_BLOCKS = b"\x82SNAPPY\x00"
"""Begin of a snappy payload in blocks, as Java's producers write it; then two numbers of 4 bytes, then the blocks."""


def decompressed(codec: int, payload: bytes) -> bytes:
    """The records of a batch. codec: as in the batch's attributes. Raises `ValueError` with the reason."""
    if codec not in CODECS:
        raise ValueError(f"compression codec {codec} is unknown")
    name, decompress = CODECS[codec]
    try:
        data = decompress(payload)
    except Exception as error:
        raise ValueError(f"{name} cannot be decompressed: {error}") from error
    return data


def _gunzip(payload: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    data = stream.decompress(payload, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _too_large()
    if not stream.eof:
        raise ValueError("the stream has no end")
    return data


def _unsnappy(payload: bytes) -> bytes:
    if not payload.startswith(SNAPPY_BLOCKS):
        return _unsnappy_block(payload, MOST_BYTES)
    blocks: list[bytes] = []
    at, room = len(SNAPPY_BLOCKS) + 8, MOST_BYTES
    while at < len(payload):
        (size,) = struct.unpack_from(">i", payload, at)
        at += 4
        if size < 0 or at + size > len(payload):
            raise ValueError("a block is longer than the batch")
        blocks.append(_unsnappy_block(payload[at : at + size], room))
        room -= len(blocks[-1])
        at += size
    return b"".join(blocks)


def _unsnappy_block(block: bytes, most: int) -> bytes:
    """A block begins with its decompressed size, 7 bits in each byte, the lowest first."""
    size = 0
    for place, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if size > most:
        raise _too_large()
    return bytes(cramjam.snappy.decompress_raw(block))


def _unlz4(payload: bytes) -> bytes:
    return _into_fixed_memory(cramjam.lz4.decompress_into, payload)


def _unzstd(payload: bytes) -> bytes:
    return _into_fixed_memory(cramjam.zstd.decompress_into, payload)


def _into_fixed_memory(decompress_into: Callable[[bytes, mmap], int], payload: bytes) -> bytes:
    """Decompress into memory that does not grow.

    The kernel gives a page of it when that is first written, so a small batch takes little.
    """
    with mmap(-1, MOST_BYTES) as memory:
        try:
            size = decompress_into(payload, memory)
        except cramjam.DecompressionError as error:
            raise _too_large() if str(error) == TOO_LARGE else error from error
        return memory[:size]


def _too_large() -> ValueError:
    return ValueError(f"it decompresses to more than {MOST_BYTES // 2**20} MiB")


CODECS: dict[int, tuple[str, Callable[[bytes], bytes]]] = {
    1: ("gzip", _gunzip),
    2: ("snappy", _unsnappy),
    3: ("lz4", _unlz4),
    4: ("zstd", _unzstd),
}
"""Number in the attributes of a batch -> name, decompression."""


def check_codecs() -> str:
    """The codecs' names, after each has decompressed what its library compressed. Raises `ValueError`."""
    data = b"segment " * 1000
    compressed = {
        1: zlib.compress(data, wbits=31),
        2: bytes(cramjam.snappy.compress_raw(data)),
        3: bytes(cramjam.lz4.compress(data)),
        4: bytes(cramjam.zstd.compress(data)),
    }
    for codec, payload in compressed.items():
        if decompressed(codec, payload) != data:
            raise ValueError(f"{CODECS[codec][0]} returns other bytes than were compressed")
    return ", ".join(name for name, _ in CODECS.values())
