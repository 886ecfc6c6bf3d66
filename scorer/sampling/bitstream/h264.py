"""The quantiser of H.264's slices, read from their headers (ITU-T H.264, 7.3). Nothing is decoded.

Parameter sets (SPS and PPS) say how a slice's header is written, and the header says with which quantiser the slice begins. What
cannot be read here (data partitions, slice groups, auxiliary pictures) has no quantiser; it is never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorer.sampling.bitstream.bits import Bits, BitsError
from scorer.sampling.bitstream.units import of_header, payload

SLICE, IDR_SLICE, SPS, PPS = 1, 5, 7, 8
"""Types of units (table 7-1)."""

P, B, I, SP, SI = range(5)  # noqa: E741 (the standard's names)
"""Types of slices (table 7-6), modulo 5."""

WITH_CHROMA_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
"""Profiles whose SPS says how colour is sampled (7.3.2.1.1)."""

HIGHEST_QP = 51

MOST_REFERENCES = 32
"""Pictures in a list of references, with fields."""

MOST_COMMANDS = 66
"""Commands in a header that change a list of references, or mark pictures."""


@dataclass(frozen=True)
class Sequence:
    """What a slice's header needs of its SPS. colours: ChromaArrayType. order_*: of pic_order_cnt. map_units: across and down."""

    separate_planes: bool
    colours: int
    extra_depth: int
    frame_number_bits: int
    order_type: int
    order_bits: int
    order_always_zero: bool
    frames_only: bool
    map_units: tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """What a slice's header needs of its PPS. references: of both lists, by default. begin_qp: 26 + pic_init_qp_minus26."""

    sequence: int
    is_cabac: bool
    order_in_frame: bool
    references: tuple[int, int]
    is_weighted_p: bool
    weighted_b: int
    begin_qp: int
    has_redundant: bool


class H264Slices:
    """Reads the units of one stream in their order, and keeps its parameter sets: at most 32 SPS and 256 PPS."""

    def __init__(self) -> None:
        self._sequences: dict[int, Sequence] = {}
        self._pictures: dict[int, Picture] = {}

    def quantiser(self, unit: bytes) -> int | None:
        """The quantiser of a slice; None for any other unit and for a slice whose header cannot be read."""
        if not unit or unit[0] & 0x80:
            return None
        try:
            match unit[0] & 0x1F:
                case kind if kind in (SLICE, IDR_SLICE):
                    return of_header(unit, 1, lambda bits: self._slice(bits, kind == IDR_SLICE, bool(unit[0] & 0x60)))
                case kind if kind == SPS:
                    number, sequence = sequence_of(Bits(payload(unit[1:])))
                    self._sequences[number] = sequence
                case kind if kind == PPS:
                    number, picture = picture_of(Bits(payload(unit[1:])))
                    self._pictures[number] = picture
        except BitsError:
            pass
        return None

    def _slice(self, bits: Bits, is_idr: bool, is_reference: bool) -> int:
        bits.golomb()  # first_mb_in_slice
        kind = bits.golomb(9) % 5
        picture = self._pictures.get(bits.golomb(255))
        sequence = None if picture is None else self._sequences.get(picture.sequence)
        if picture is None or sequence is None:
            raise BitsError("the slice's parameter sets are missing")
        _skip_numbers(bits, sequence, picture, is_idr)
        if kind == B:
            bits.flag()  # direct_spatial_mv_pred_flag
        references = _references(bits, kind, picture)
        _skip_list_changes(bits, kind)
        if (picture.is_weighted_p and kind in (P, SP)) or (picture.weighted_b == 1 and kind == B):
            _skip_weights(bits, references, sequence.colours)
        if is_reference:
            _skip_marking(bits, is_idr)
        if picture.is_cabac and kind not in (I, SI):
            bits.golomb(2)  # cabac_init_idc
        quantiser = picture.begin_qp + bits.signed()
        if not -6 * sequence.extra_depth <= quantiser <= HIGHEST_QP:
            raise BitsError(f"a quantiser of {quantiser} cannot be")
        return quantiser


def sequence_of(bits: Bits) -> tuple[int, Sequence]:
    """Number and content of an SPS (7.3.2.1.1), up to what a slice's header needs. Raises `BitsError`."""
    profile = bits.number(8)
    bits.skip(16)  # constraints, level
    number = bits.golomb(31)
    colours, extra_depth, separate = 1, 0, False
    if profile in WITH_CHROMA_FORMAT:
        colours = bits.golomb(3)
        separate = colours == 3 and bits.flag()
        extra_depth = bits.golomb(6)
        bits.golomb(6)  # bit_depth_chroma_minus8
        bits.flag()  # qpprime_y_zero_transform_bypass_flag
        if bits.flag():
            for place in range(12 if colours == 3 else 8):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    frame_number_bits = bits.golomb(12) + 4
    order_type, order_bits, always_zero = bits.golomb(2), 0, False
    if order_type == 0:
        order_bits = bits.golomb(12) + 4
    elif order_type == 1:
        always_zero = bits.flag()
        bits.signed()  # offset_for_non_ref_pic
        bits.signed()  # offset_for_top_to_bottom_field
        for _ in range(bits.golomb(255)):
            bits.signed()  # offset_for_ref_frame
    bits.golomb()  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    map_units = bits.golomb() + 1, bits.golomb() + 1
    frames_only = bits.flag()
    chroma_array = 0 if separate else colours
    return number, Sequence(
        separate, chroma_array, extra_depth, frame_number_bits, order_type, order_bits, always_zero, frames_only, map_units
    )


def picture_of(bits: Bits) -> tuple[int, Picture]:
    """Number and content of a PPS (7.3.2.2), up to what a slice's header needs. Raises `BitsError`."""
    number, sequence = bits.golomb(255), bits.golomb(31)
    is_cabac, order_in_frame = bits.flag(), bits.flag()
    if bits.golomb(7):
        raise BitsError("slice groups are not read")
    references = bits.golomb(MOST_REFERENCES - 1) + 1, bits.golomb(MOST_REFERENCES - 1) + 1
    is_weighted_p, weighted_b = bits.flag(), bits.number(2)
    begin_qp = 26 + bits.signed()
    bits.signed()  # pic_init_qs_minus26
    bits.signed()  # chroma_qp_index_offset
    bits.skip(2)  # deblocking_filter_control_present_flag, constrained_intra_pred_flag
    has_redundant = bits.flag()
    return number, Picture(sequence, is_cabac, order_in_frame, references, is_weighted_p, weighted_b, begin_qp, has_redundant)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_numbers(bits: Bits, sequence: Sequence, picture: Picture, is_idr: bool) -> None:
    """Leave out the numbers that say which picture the slice belongs to."""
    if sequence.separate_planes:
        bits.skip(2)  # colour_plane_id
    bits.skip(sequence.frame_number_bits)
    is_field = not sequence.frames_only and bits.flag()
    if is_field:
        bits.flag()  # bottom_field_flag
    if is_idr:
        bits.golomb(65535)  # idr_pic_id
    if sequence.order_type == 0:
        bits.skip(sequence.order_bits)
    if sequence.order_type == 1 and not sequence.order_always_zero:
        bits.signed()  # delta_pic_order_cnt[0]
    has_delta = sequence.order_type == 0 or (sequence.order_type == 1 and not sequence.order_always_zero)
    if has_delta and picture.order_in_frame and not is_field:
        bits.signed()  # delta_pic_order_cnt_bottom, or delta_pic_order_cnt[1]
    if picture.has_redundant:
        bits.golomb(127)  # redundant_pic_cnt


def _references(bits: Bits, kind: int, picture: Picture) -> list[int]:
    """How many pictures are in each list of references that the slice has."""
    lists = 0 if kind in (I, SI) else 2 if kind == B else 1
    if lists and bits.flag():
        return [bits.golomb(MOST_REFERENCES - 1) + 1 for _ in range(lists)]
    return list(picture.references[:lists])


def _skip_list_changes(bits: Bits, kind: int) -> None:
    for _ in range(0 if kind in (I, SI) else 2 if kind == B else 1):
        if bits.flag():
            for _ in range(MOST_COMMANDS):
                if bits.golomb(3) == 3:
                    break
                bits.golomb()  # abs_diff_pic_num_minus1 or long_term_pic_num
            else:
                raise BitsError("a list of references is changed too often")


def _skip_weights(bits: Bits, references: list[int], colours: int) -> None:
    bits.golomb(7)  # luma_log2_weight_denom
    if colours:
        bits.golomb(7)  # chroma_log2_weight_denom
    for count in references:
        for _ in range(count):
            for numbers in (2, 4) if colours else (2,):
                if bits.flag():
                    for _ in range(numbers):
                        bits.signed()  # weights and offsets


def _skip_marking(bits: Bits, is_idr: bool) -> None:
    if is_idr:
        bits.skip(2)  # no_output_of_prior_pics_flag, long_term_reference_flag
    elif bits.flag():
        for _ in range(MOST_COMMANDS):
            command = bits.golomb(6)
            if command == 0:
                return
            for _ in range((0, 1, 1, 2, 1, 0, 1)[command]):
                bits.golomb()  # what the command is about
        raise BitsError("too many pictures are marked")
