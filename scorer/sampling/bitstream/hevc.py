"""The quantiser of HEVC's slices, read from their headers (ITU-T H.265, 7.3). Nothing is decoded.

As `h264` does it. Extensions for layers and for screen content change the header and are not read: their slices have no
quantiser. A dependent slice segment has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorer.sampling.bitstream.bits import Bits, BitsError
from scorer.sampling.bitstream.reference_sets import ReferenceSet, read_reference_set
from scorer.sampling.bitstream.units import of_header, payload

SPS, PPS = 33, 34
LAST_SLICE = 21
"""Types of units (table 7-1): slices are 0 to 9 and 16 to 21."""

B, P, I = range(3)  # noqa: E741 (the standard's names)
"""Types of slices (table 7-7)."""

WITH_OTHER_HEADERS = {6, 7, 8, 9, 10, 11}
"""Profiles for layers and screen content (annexes F to I)."""

HIGHEST_QP = 51


@dataclass(frozen=True)
class Sequence:
    """What a slice's header needs of its SPS. blocks: coding tree blocks of a picture. long_used: used_by_curr_pic_lt_sps."""

    separate_planes: bool
    colours: int
    extra_depth: int
    blocks: int
    order_bits: int
    has_offset: bool
    sets: list[ReferenceSet]
    has_long: bool
    long_used: list[bool]
    has_motion: bool


@dataclass(frozen=True)
class Picture:
    """What a slice's header needs of its PPS. references: of both lists, by default. begin_qp: 26 + init_qp_minus26."""

    sequence: int
    has_dependent: bool
    has_output_flag: bool
    extra_bits: int
    has_cabac_init: bool
    references: tuple[int, int]
    begin_qp: int
    is_weighted_p: bool
    is_weighted_b: bool
    has_list_changes: bool


class HevcSlices:
    """Reads the units of one stream in their order, and keeps its parameter sets: at most 16 SPS and 64 PPS."""

    def __init__(self) -> None:
        self._sequences: dict[int, Sequence] = {}
        self._pictures: dict[int, Picture] = {}

    def quantiser(self, unit: bytes) -> int | None:
        """The quantiser of a slice; None for any other unit and for a slice whose header cannot be read."""
        if len(unit) < 3 or unit[0] & 0x81 or unit[1] & 0xF8:
            return None  # damaged, or of another layer
        kind = unit[0] >> 1
        try:
            if kind <= 9 or 16 <= kind <= LAST_SLICE:
                return of_header(unit, 2, lambda bits: self._slice(bits, kind))
            if kind == SPS:
                number, sequence = sequence_of(Bits(payload(unit[2:])))
                self._sequences[number] = sequence
            elif kind == PPS:
                number, picture = picture_of(Bits(payload(unit[2:])))
                self._pictures[number] = picture
        except BitsError:
            pass
        return None

    def _slice(self, bits: Bits, kind: int) -> int | None:
        is_first = bits.flag()
        if kind >= 16:
            bits.flag()  # no_output_of_prior_pics_flag
        picture = self._pictures.get(bits.golomb(63))
        sequence = None if picture is None else self._sequences.get(picture.sequence)
        if picture is None or sequence is None:
            raise BitsError("the slice's parameter sets are missing")
        if not is_first:
            if picture.has_dependent and bits.flag():
                return None
            bits.skip((sequence.blocks - 1).bit_length())  # slice_segment_address
        bits.skip(picture.extra_bits)
        slice_kind = bits.golomb(2)
        bits.skip(picture.has_output_flag + 2 * sequence.separate_planes)
        used, has_motion = (0, False) if kind in (19, 20) else _used_references(bits, sequence)
        if sequence.has_offset:
            bits.skip(2 if sequence.colours else 1)  # slice_sao_luma_flag, slice_sao_chroma_flag
        if slice_kind != I:
            _skip_references(bits, slice_kind, sequence, picture, used, has_motion)
        quantiser = picture.begin_qp + bits.signed()
        if not -6 * sequence.extra_depth <= quantiser <= HIGHEST_QP:
            raise BitsError(f"a quantiser of {quantiser} cannot be")
        return quantiser


def sequence_of(bits: Bits) -> tuple[int, Sequence]:
    """Number and content of an SPS (7.3.2.2.1), up to what a slice's header needs. Raises `BitsError`."""
    bits.skip(4)  # sps_video_parameter_set_id
    layers = bits.number(3)
    bits.flag()  # sps_temporal_id_nesting_flag
    _skip_profile(bits, layers)
    number, colours = bits.golomb(15), bits.golomb(3)
    separate = colours == 3 and bits.flag()
    width, height = bits.golomb(1 << 16), bits.golomb(1 << 16)
    if bits.flag():
        for _ in range(4):
            bits.golomb()  # conformance window
    extra_depth = bits.golomb(8)
    bits.golomb(8)  # bit_depth_chroma_minus8
    order_bits = bits.golomb(12) + 4
    for _ in range(layers + 1 if bits.flag() else 1):
        for _ in range(3):
            bits.golomb()  # sps_max_dec_pic_buffering_minus1 and what follows it
    smallest = bits.golomb(3) + 3
    block = 1 << smallest + bits.golomb(3)
    for _ in range(4):
        bits.golomb(5)  # sizes and depths of transform blocks
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits)
    bits.flag()  # amp_enabled_flag
    has_offset = bits.flag()
    if bits.flag():
        bits.skip(8)  # bit depths of PCM
        bits.golomb()
        bits.golomb()
        bits.flag()
    sets: list[ReferenceSet] = []
    count = bits.golomb(64)
    for _ in range(count):
        sets.append(read_reference_set(bits, sets, count))
    long_used = []
    has_long = bits.flag()
    for _ in range(bits.golomb(32) if has_long else 0):
        bits.skip(order_bits)  # lt_ref_pic_poc_lsb_sps
        long_used.append(bits.flag())
    has_motion = bits.flag()
    blocks = -(-width // block) * -(-height // block)
    chroma_array = 0 if separate else colours
    return number, Sequence(
        separate, chroma_array, extra_depth, max(1, blocks), order_bits, has_offset, sets, has_long, long_used, has_motion
    )


def picture_of(bits: Bits) -> tuple[int, Picture]:
    """Number and content of a PPS (7.3.2.3.1), up to what a slice's header needs. Raises `BitsError`."""
    number, sequence = bits.golomb(63), bits.golomb(15)
    has_dependent, has_output_flag, extra_bits = bits.flag(), bits.flag(), bits.number(3)
    bits.flag()  # sign_data_hiding_enabled_flag
    has_cabac_init = bits.flag()
    references = bits.golomb(14) + 1, bits.golomb(14) + 1
    begin_qp = 26 + bits.signed()
    bits.skip(2)  # constrained_intra_pred_flag, transform_skip_enabled_flag
    if bits.flag():
        bits.golomb(3)  # diff_cu_qp_delta_depth
    bits.signed()  # pps_cb_qp_offset
    bits.signed()  # pps_cr_qp_offset
    bits.flag()  # pps_slice_chroma_qp_offsets_present_flag
    is_weighted_p, is_weighted_b = bits.flag(), bits.flag()
    bits.flag()  # transquant_bypass_enabled_flag
    has_tiles = bits.flag()
    bits.flag()  # entropy_coding_sync_enabled_flag
    if has_tiles:
        _skip_tiles(bits)
    bits.flag()  # pps_loop_filter_across_slices_enabled_flag
    if bits.flag():
        bits.flag()  # deblocking_filter_override_enabled_flag
        if not bits.flag():
            bits.signed()  # pps_beta_offset_div2
            bits.signed()  # pps_tc_offset_div2
    if bits.flag():
        _skip_scaling_lists(bits)
    has_list_changes = bits.flag()
    return number, Picture(
        sequence, has_dependent, has_output_flag, extra_bits, has_cabac_init, references, begin_qp, is_weighted_p,
        is_weighted_b, has_list_changes,
    )  # fmt: skip


def _skip_profile(bits: Bits, layers: int) -> None:
    """Leave out profile_tier_level (7.3.3). Raises where the profile has other headers. layers: sps_max_sub_layers_minus1."""
    bits.skip(3)  # general_profile_space, general_tier_flag
    if bits.number(5) in WITH_OTHER_HEADERS:
        raise BitsError("layers and screen content are not read")
    bits.skip(88)  # the rest of the general profile, and its level
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    bits.skip(2 * (8 - layers) if layers else 0)
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.flag():
                bits.golomb(5)  # scaling_list_pred_matrix_id_delta
                continue
            for _ in range(min(64, 1 << 4 + 2 * size) + (size > 1)):
                bits.signed()


def _skip_tiles(bits: Bits) -> None:
    columns, rows = bits.golomb(1 << 12), bits.golomb(1 << 12)
    if not bits.flag():
        for _ in range(columns + rows):
            bits.golomb()  # column_width_minus1, row_height_minus1
    bits.flag()  # loop_filter_across_tiles_enabled_flag


def _used_references(bits: Bits, sequence: Sequence) -> tuple[int, bool]:
    """How many pictures the slice may refer to (NumPicTotalCurr), and slice_temporal_mvp_enabled_flag."""
    bits.skip(sequence.order_bits)
    if not bits.flag():
        near = read_reference_set(bits, sequence.sets, len(sequence.sets))
    elif sequence.sets:
        number = bits.number((len(sequence.sets) - 1).bit_length())
        if number >= len(sequence.sets):
            raise BitsError("there is no such set of references")
        near = sequence.sets[number]
    else:
        raise BitsError("there is no set of references")
    used = near.used
    if sequence.has_long:
        listed = bits.golomb(32) if sequence.long_used else 0
        for place in range(listed + bits.golomb(32)):
            if place < listed:
                number = bits.number((len(sequence.long_used) - 1).bit_length())
                used += sequence.long_used[min(number, len(sequence.long_used) - 1)]
            else:
                bits.skip(sequence.order_bits)  # poc_lsb_lt
                used += bits.flag()
            if bits.flag():
                bits.golomb()  # delta_poc_msb_cycle_lt
    return used, sequence.has_motion and bits.flag()


def _skip_references(bits: Bits, kind: int, sequence: Sequence, picture: Picture, used: int, has_motion: bool) -> None:
    """Leave out what a P or B slice says of its references. used: NumPicTotalCurr."""
    lists = 2 if kind == B else 1
    references = [bits.golomb(14) + 1 for _ in range(lists)] if bits.flag() else list(picture.references[:lists])
    if picture.has_list_changes and used > 1:
        for count in references:
            if bits.flag():
                bits.skip(count * (used - 1).bit_length())  # list_entry
    if kind == B:
        bits.flag()  # mvd_l1_zero_flag
    if picture.has_cabac_init:
        bits.flag()  # cabac_init_flag
    if has_motion:
        is_first_list = kind != B or bits.flag()
        if references[0 if is_first_list else 1] > 1:
            bits.golomb(14)  # collocated_ref_idx
    if picture.is_weighted_p if kind == P else picture.is_weighted_b:
        _skip_weights(bits, references, sequence.colours)
    bits.golomb(4)  # five_minus_max_num_merge_cand


def _skip_weights(bits: Bits, references: list[int], colours: int) -> None:
    bits.golomb(7)  # luma_log2_weight_denom
    if colours:
        bits.signed()  # delta_chroma_log2_weight_denom
    for count in references:
        luma = [bits.flag() for _ in range(count)]
        chroma = [bits.flag() for _ in range(count)] if colours else [False] * count
        for has_luma, has_chroma in zip(luma, chroma, strict=True):
            for _ in range(2 * has_luma + 4 * has_chroma):
                bits.signed()  # weights and offsets
