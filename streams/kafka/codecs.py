"""Decompressing batches of messages: gzip, snappy, lz4 and zstd, within a size limit.

kafka-python and aiokafka decompress too, but each with libraries of its own, and neither has a limit: a batch of 1 MiB can
decompress to several GiB, and a worker that has no memory left ends on it again after each restart.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import lz4.frame
import snappy
import zstandard

MOST_BYTES = 64 * 2**20
"""Maximum size of a decompressed batch. A producer collects far less; a broker takes batches of 1 MiB, as compressed."""

PIECE_BYTES = 128 * 1024
"""lz4 and zstd allocate as much as they are asked for, however little there is."""

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
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name} decompresses to more than {MOST_BYTES // 2**20} MiB")
    return data


def _gunzip(payload: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    data = stream.decompress(payload, MOST_BYTES + 1)
    if not stream.eof and len(data) <= MOST_BYTES:
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
        raise ValueError(f"it decompresses to more than {MOST_BYTES // 2**20} MiB")
    return bytes(snappy.decompress(block))


def _unlz4(payload: bytes) -> bytes:
    stream = lz4.frame.LZ4FrameDecompressor()
    pieces = [stream.decompress(payload, max_length=PIECE_BYTES)]
    size = len(pieces[0])
    while not stream.eof and size <= MOST_BYTES:
        if not pieces[-1]:
            raise ValueError("the frame has no end")
        pieces.append(stream.decompress(b"", max_length=PIECE_BYTES))
        size += len(pieces[-1])
    return b"".join(pieces)


def _unzstd(payload: bytes) -> bytes:
    pieces: list[bytes] = []
    size = 0
    with zstandard.ZstdDecompressor().stream_reader(payload, read_across_frames=True) as reader:
        while size <= MOST_BYTES and (piece := reader.read(PIECE_BYTES)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)


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
        2: snappy.compress(data),
        3: lz4.frame.compress(data, block_linked=False),
        4: zstandard.ZstdCompressor().compress(data),
    }
    for codec, payload in compressed.items():
        if decompressed(codec, payload) != data:
            raise ValueError(f"{CODECS[codec][0]} returns other bytes than were compressed")
    return ", ".join(name for name, _ in CODECS.values())
