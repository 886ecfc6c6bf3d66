"""Bits, units and the numbers of packets; damaged and hostile ones end in "unknown" and in nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling.bitstream.bits import Bits, BitsError
from scorer.sampling.bitstream.h264 import H264Slices
from scorer.sampling.bitstream.hevc import HevcSlices
from scorer.sampling.bitstream.packets import Packets, bitstream_of
from scorer.sampling.bitstream.reference_sets import ReferenceSet, read_reference_set
from scorer.sampling.bitstream.units import (
    HEAD_BYTES,
    LONGEST_HEADER_BYTES,
    MOST_UNITS,
    USUAL_HEADER_BYTES,
    avc_configuration,
    hevc_configuration,
    of_header,
    payload,
    units_of,
)
from tests.support.bit_text import as_bytes, golomb, signed

NUMBERS = st.integers(0, 2**32 - 2)
SIGNED = st.integers(-(2**31) + 1, 2**31 - 1)


@given(st.lists(NUMBERS | st.tuples(SIGNED)))
@settings(deadline=None)
def test_numbers_are_read_as_they_were_written(numbers: list[int | tuple[int]]) -> None:
    text = "".join(signed(number[0]) if isinstance(number, tuple) else golomb(number) for number in numbers)
    bits = Bits(as_bytes(text))
    assert [(bits.signed(),) if isinstance(number, tuple) else bits.golomb() for number in numbers] == numbers


def test_bits_end_with_an_error() -> None:
    assert Bits(b"\xa5").number(8) == 0xA5
    assert Bits(b"").number(0) == 0
    for read in (Bits(b"").flag, lambda: Bits(b"\xff").number(9), lambda: Bits(b"\xff").skip(9), Bits(b"\0" * 9).golomb):
        with pytest.raises(BitsError):
            read()
    with pytest.raises(BitsError, match="over 3"):
        Bits(as_bytes(golomb(4))).golomb(3)
    with pytest.raises(BitsError):
        Bits(b"\0\1").golomb()  # the number's last bits are missing


@given(st.binary(max_size=300), st.sampled_from([None, 1, 2, 4]))
@settings(deadline=None)
def test_units_are_pieces_of_their_packet(packet: bytes, length_bytes: int | None) -> None:
    units = list(units_of(memoryview(packet), length_bytes))
    assert len(units) <= MOST_UNITS
    assert all(unit in packet and len(unit) <= HEAD_BYTES for unit in units)


@given(st.lists(st.binary(min_size=1, max_size=3000).filter(lambda unit: b"\0\0" not in unit and unit[-1]), max_size=5))
@settings(deadline=None, max_examples=50)
def test_units_are_found_in_both_ways_of_writing_them(units: list[bytes]) -> None:
    assert list(units_of(memoryview(b"".join(b"\0\0\1" + unit for unit in units)), None)) == units
    assert list(units_of(memoryview(b"".join(len(unit).to_bytes(4) + unit for unit in units)), 4)) == units


@pytest.mark.parametrize("length", [0, 1, USUAL_HEADER_BYTES - 2, USUAL_HEADER_BYTES, 200, LONGEST_HEADER_BYTES - 2])
def test_a_header_of_any_length_is_read(length: int) -> None:
    unit = bytes([0x65, 0x01]) + bytes(1 + place % 200 for place in range(2000))
    numbers = of_header(unit, 2, lambda bits: [bits.number(8) for _ in range(length)])
    assert bytes(numbers) == unit[2 : 2 + length]


def test_a_header_without_end_is_an_error() -> None:
    with pytest.raises(BitsError):
        of_header(bytes(2000), 1, lambda bits: bits.skip(8 * LONGEST_HEADER_BYTES))


def test_a_packet_of_a_million_units_is_not_read_to_its_end() -> None:
    assert len(list(units_of(memoryview(b"\0\0\1\x09" * 1_000_000), None))) == MOST_UNITS
    assert len(list(units_of(memoryview(b"\0\1\x09" * 1_000_000), 2))) == MOST_UNITS


def test_bytes_that_keep_start_codes_out_are_left_out() -> None:
    assert payload(b"\x65\0\0\3\1\0\0\3\0\0\3\3") == b"\x65\0\0\1\0\0\0\0\3"


def test_configurations_of_mp4_are_read() -> None:
    avc = bytes([1, 100, 0, 30, 0xFD, 0xE1, 0, 2, 0x67, 9, 1, 0, 3, 0x68, 8, 7])
    assert avc_configuration(avc).length_bytes == 2
    assert avc_configuration(avc).units == [b"\x67\x09", b"\x68\x08\x07"]
    hevc = bytes([1, *[0] * 20, 3, 2, 33, 0, 1, 0, 2, 0x42, 1, 34, 0, 1, 0, 1, 0x44])
    assert hevc_configuration(hevc).length_bytes == 4
    assert hevc_configuration(hevc).units == [b"\x42\x01", b"\x44"]
    assert avc_configuration(b"\0\0\0\1\x67\x09\0\0\1\x68").units == [b"\x67\x09", b"\x68"]
    assert avc_configuration(b"").units == hevc_configuration(b"").units == []


@given(st.binary(max_size=200).map(lambda data: b"\1" + data))
@settings(deadline=None)
def test_hostile_configurations_make_no_more_than_they_hold(data: bytes) -> None:
    for read in (avc_configuration, hevc_configuration):
        configuration = read(data)
        assert sum(len(unit) for unit in configuration.units) <= len(data)


def test_a_reference_set_made_from_another_one_is_seen_from_the_other_picture() -> None:
    model = ReferenceSet(((-1, True), (-4, True)), ((3, True),))
    # One picture on: the model's own picture is used, -4 is left out, and the one 3 after it is 2 after this one.
    text = "1" + "1" + golomb(0) + "1" + "00" + "01" + "1"
    read = read_reference_set(Bits(as_bytes(text)), [model], 2)
    assert read == ReferenceSet(((-1, True), (-2, True)), ((2, False),))
    assert read.used == 2


@given(st.lists(st.binary(max_size=80), max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_any_unit_has_a_quantiser_in_range_or_none(units: list[bytes], chance: random.Random) -> None:
    for slices, kinds in ((H264Slices(), b"\x67\x68\x65\x41\x01"), (HevcSlices(), b"\x42\x44\x26\x02\x28")):
        for unit in units:
            quantiser = slices.quantiser(bytes([chance.choice(kinds), *b"\x01"[: kinds[0] != 0x67]]) + unit)
            assert quantiser is None or -48 <= quantiser <= 51


FIELDS_SPS = (
    "01000010" + "0" * 16 + golomb(0)  # baseline profile, number 0
    + golomb(0) + golomb(1) + "0" + signed(0) * 2 + golomb(2) + signed(2) * 2  # order count of type 1
    + golomb(4) + "0" + golomb(5) + golomb(3) + "0"  # references, size, fields
)  # fmt: skip


def test_field_pictures_and_long_references_are_read() -> None:
    # Syntax that no encoder here writes, put together by hand after the tables of the standard: pictures of one field, an order
    # count of type 1, changes of both lists, weights, and pictures that are kept for long.
    pps = golomb(0) + golomb(0) + "1" + "1" + golomb(0) + golomb(1) + golomb(2) + "1" + "01" + signed(4) + signed(0) * 2 + "111"
    field = golomb(0) + golomb(6) + golomb(0) + "0001" + "1" + "1" + signed(-3) + golomb(1)
    changes = "1" + golomb(0) + golomb(5) + golomb(2) + golomb(1) + golomb(3) + "0"
    weights = golomb(5) + golomb(5) + "1" + signed(30) + signed(-2) + "0" + "0" + "1" + signed(1) * 4 + "0" * 6
    marking = "1" + golomb(3) + golomb(1) + golomb(2) + golomb(4) + golomb(3) + golomb(5) + golomb(0)
    b_slice = field + "1" + "0" + changes + weights + marking + golomb(2) + signed(-7)
    slices = H264Slices()
    assert slices.quantiser(b"\x67" + as_bytes(FIELDS_SPS)) is None
    assert slices.quantiser(b"\x68" + as_bytes(pps)) is None
    assert slices.quantiser(b"\x41" + as_bytes(b_slice)) == 26 + 4 - 7


def test_slice_groups_and_layers_have_no_quantiser() -> None:
    slices = H264Slices()
    slices.quantiser(b"\x67" + as_bytes(FIELDS_SPS))
    groups = golomb(0) + golomb(0) + "00" + golomb(1) + "1" * 64
    slices.quantiser(b"\x68" + as_bytes(groups))
    assert slices.quantiser(b"\x65" + b"\xff" * 30) is None
    assert HevcSlices().quantiser(b"\x26\x09" + b"\xff" * 30) is None


def packets(sizes: list[int], keys: set[int], step: float = 0.04, quantisers: list[float | None] | None = None) -> Packets:
    times: list[float | None] = [place * step for place in range(len(sizes))]
    known = quantisers or [None] * len(sizes)
    return Packets(0.04, sizes, [place in keys for place in range(len(sizes))], times, times, known)


def test_packets_become_facts() -> None:
    facts = bitstream_of(packets([9000, 1000, 1000, 10, 9000, 1000, 1000, 1000], {0, 4}), "h264", 64, 48)
    assert facts.fps == pytest.approx(25)
    assert facts.bitrate == pytest.approx(23010 * 8 / 0.32)
    assert facts.gop == pytest.approx(0.16)
    assert (facts.keyframes, facts.key_bytes, facts.other_bytes) == (2, 9000, pytest.approx(5010 / 6))
    assert facts.smallest == pytest.approx(1 / 6)
    assert facts.qp_mean is None


def test_a_quantiser_that_most_pictures_lack_is_unknown() -> None:
    known = bitstream_of(packets([5] * 4, {0}, quantisers=[20.0, 30.0, None, None]), "h264", 64, 48)
    assert (known.qp_mean, known.qp_spread) == (25, 5)
    assert bitstream_of(packets([5] * 5, {0}, quantisers=[20.0, 30.0, None, None, None]), "h264", 64, 48).qp_mean is None


def test_stamps_that_jump_or_are_missing_do_not_change_the_rate() -> None:
    jump = packets([500] * 50, {0})
    jump.decoded_at = jump.shown_at = [time + (3600 if place > 20 else 0) for place, time in enumerate(jump.decoded_at)]  # type: ignore[operator]
    assert bitstream_of(jump, "h264", 64, 48).fps == pytest.approx(25)
    back = packets([500] * 50, {0})
    back.decoded_at = back.shown_at = [time % 1.0 for time in back.decoded_at]  # type: ignore[operator]
    assert bitstream_of(back, "h264", 64, 48).fps == pytest.approx(25)
    missing = packets([500] * 50, {0})
    missing.decoded_at = missing.shown_at = [None] * 50
    assert bitstream_of(missing, "h264", 64, 48).fps == pytest.approx(25)


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.booleans(), st.none() | st.floats(-1e12, 1e12)), min_size=1, max_size=40),
)
@settings(deadline=None)
def test_facts_of_any_packets_are_finite(rows: list[tuple[int, bool, float | None]]) -> None:
    sizes, keys, times = map(list, zip(*rows, strict=True))
    facts = bitstream_of(Packets(0.04, sizes, keys, times, times, [None] * len(rows)), "h264", 64, 48)
    assert 0 < facts.fps <= 1000 * 40
    assert 0 < facts.bitrate < float("inf")
    assert facts.gop is None or 0 < facts.gop < float("inf")
    assert 0 <= facts.smallest <= 1
