"""The NAL units of a packet of H.264 or HEVC, and the parameter sets beside the packets.

A packet holds its units in one of two ways: each after a start code (Annex B of both standards; transport streams, raw
files), or each after its length (ISO/IEC 14496-15; MP4, Matroska, FLV). In the second way the codec's configuration says
how long a length is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from scorer.sampling.bitstream.bits import Bits, BitsError

MOST_UNITS = 64
"""Units of a packet that are looked at; a hostile one may hold millions."""

HEAD_BYTES = 4096
"""Bytes of a unit that are kept: no parameter set is longer up to what is read of it, and a slice's header is shorter."""

SEARCHED_BYTES = 1 << 14
"""Bytes of a packet in which start codes are looked for: searching a large keyframe takes longer than reading its headers."""

USUAL_HEADER_BYTES = 48
"""Bytes at a slice's beginning that hold most headers."""

LONGEST_HEADER_BYTES = 512
"""Bytes of a slice that are read: a header with weights for 16 pictures of each list is shorter."""

START_CODE = b"\0\0\1"

T = TypeVar("T")


@dataclass(frozen=True)
class Configuration:
    """What stands beside the packets. length_bytes: bytes of a unit's length, None for start codes. units: parameter sets."""

    length_bytes: int | None
    units: list[bytes]


def avc_configuration(extradata: bytes) -> Configuration:
    """The configuration of H.264: a box `avcC`, or units with start codes, or nothing."""
    if extradata[:1] != b"\1" or len(extradata) < 7:
        return _with_start_codes(extradata)
    units: list[bytes] = []
    place = 6
    for count in (extradata[5] & 0x1F, None):
        if count is None:
            count, place = int.from_bytes(extradata[place : place + 1]), place + 1
        place = _lengths_from(extradata, place, count, units)
    return Configuration((extradata[4] & 3) + 1, units)


def hevc_configuration(extradata: bytes) -> Configuration:
    """The configuration of HEVC: a box `hvcC`, or units with start codes, or nothing."""
    if extradata[:1] != b"\1" or len(extradata) < 23:
        return _with_start_codes(extradata)
    units: list[bytes] = []
    place = 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[place + 1 : place + 3])
        place = _lengths_from(extradata, place + 3, min(count, MOST_UNITS - len(units)), units)
    return Configuration((extradata[21] & 3) + 1, units)


def units_of(packet: memoryview, length_bytes: int | None) -> Iterator[bytes]:
    """The beginnings of a packet's units, at most `HEAD_BYTES` of each and `MOST_UNITS` of them; the last may be cut off.

    After start codes only those units that begin within `SEARCHED_BYTES`.
    """
    units = _after_start_codes(bytes(packet[:SEARCHED_BYTES])) if length_bytes is None else _after_lengths(packet, length_bytes)
    return islice(units, MOST_UNITS)


def of_header(unit: bytes, begin: int, read: Callable[[Bits], T]) -> T:
    """What `read` takes from a slice's header, which begins at byte `begin` of its unit. Raises `BitsError` as `read` does.

    Making text of some hundred bytes takes longer than reading a usual header, so that is read of few bytes first.
    """
    try:
        return read(Bits(payload(unit[begin:USUAL_HEADER_BYTES])))
    except BitsError:
        return read(Bits(payload(unit[begin:LONGEST_HEADER_BYTES])))


def payload(unit: bytes) -> bytes:
    """A unit's bytes without those that keep start codes out of it (emulation prevention)."""
    return unit.replace(b"\0\0\3", b"\0\0")


def _after_start_codes(packet: bytes) -> Iterator[bytes]:
    place = packet.find(START_CODE)
    while place >= 0:
        begin = place + len(START_CODE)
        end = packet.find(START_CODE, begin, begin + HEAD_BYTES)
        yield packet[begin : end if end >= 0 else begin + HEAD_BYTES]
        place = end if end >= 0 else packet.find(START_CODE, begin + HEAD_BYTES - len(START_CODE))


def _after_lengths(packet: memoryview, length_bytes: int) -> Iterator[bytes]:
    place = 0
    while place + length_bytes < len(packet):
        length = int.from_bytes(packet[place : place + length_bytes])
        place += length_bytes
        yield bytes(packet[place : place + min(length, HEAD_BYTES)])
        place += length


def _with_start_codes(extradata: bytes) -> Configuration:
    return Configuration(None, list(units_of(memoryview(extradata), None)))


def _lengths_from(data: bytes, place: int, count: int, units: list[bytes]) -> int:
    """Add `count` units, each after two bytes with its length, to `units`; returns the place after them."""
    for _ in range(count):
        length = int.from_bytes(data[place : place + 2])
        unit = data[place + 2 : place + 2 + length]
        if not unit:
            break
        units.append(unit[:HEAD_BYTES])
        place += 2 + length
    return place
