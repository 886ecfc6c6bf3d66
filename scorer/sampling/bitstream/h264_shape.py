"""What an SPS of H.264 says beyond the slices: the pictures' size, the pixels' shape, how many pictures wait for others."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.sampling.bitstream.bits import Bits, BitsError
from scorer.sampling.bitstream.h264 import SPS, Sequence, sequence_of
from scorer.sampling.bitstream.units import avc_configuration, payload

BLOCK = 16
"""Side of a macroblock, px."""

SQUARE, OWN_SHAPE = 1, 255
"""Values of aspect_ratio_idc (table E-1): square pixels, and a shape that is written out."""

MOST_DELAYED = 16
"""Pictures that may wait until they are shown."""

MOST_BUFFERS = 31
"""The most that cpb_cnt_minus1 can be."""


@dataclass(frozen=True)
class Shape:
    """width, height: px that are shown. is_square: whether pixels are square, or nothing is said of them. is_progressive:
    whether all pictures are whole frames. delay: pictures that wait until they are shown; None where nothing is said of it."""

    width: int
    height: int
    is_square: bool
    is_progressive: bool
    delay: int | None


def shape_of(extradata: bytes) -> Shape | None:
    """The shape of a stream whose configuration is `extradata`; None where it has no SPS, several, or one that cannot be read."""
    sets = [unit for unit in avc_configuration(extradata).units if unit and unit[0] & 0x1F == SPS]
    if len(sets) != 1:
        return None
    bits = Bits(payload(sets[0][1:]))
    try:
        return _shape(bits, sequence_of(bits)[1])
    except BitsError:
        return None


def _shape(bits: Bits, sequence: Sequence) -> Shape:
    """What follows `sequence_of` in an SPS (7.3.2.1.1 and E.1.1)."""
    if not sequence.frames_only:
        bits.flag()  # mb_adaptive_frame_field_flag
    bits.flag()  # direct_8x8_inference_flag
    left, right, top, bottom = (bits.golomb() for _ in range(4)) if bits.flag() else (0, 0, 0, 0)
    across = 2 if sequence.colours in (1, 2) else 1
    down = (2 if sequence.colours == 1 else 1) * (1 if sequence.frames_only else 2)
    width = BLOCK * sequence.map_units[0] - across * (left + right)
    height = BLOCK * sequence.map_units[1] * (1 if sequence.frames_only else 2) - down * (top + bottom)
    is_square, delay = _usability(bits) if bits.flag() else (True, None)
    return Shape(width, height, is_square, sequence.frames_only, delay)


def _usability(bits: Bits) -> tuple[bool, int | None]:
    """Whether pixels are square or nothing is said of them, and the pictures that wait, of the usability information (E.1.1)."""
    is_square = True
    if bits.flag():
        shape = bits.number(8)
        is_square = shape in (0, SQUARE) or (shape == OWN_SHAPE and bits.number(16) == bits.number(16))
    if bits.flag():
        bits.flag()  # overscan_appropriate_flag
    if bits.flag():
        bits.skip(4)  # video_format, video_full_range_flag
        if bits.flag():
            bits.skip(24)  # colour_primaries, transfer_characteristics, matrix_coefficients
    if bits.flag():
        bits.golomb()  # chroma_sample_loc_type_top_field
        bits.golomb()  # chroma_sample_loc_type_bottom_field
    if bits.flag():
        bits.skip(65)  # num_units_in_tick, time_scale, fixed_frame_rate_flag
    has_buffers = [_skip_buffers(bits) for _ in range(2)]
    if any(has_buffers):
        bits.flag()  # low_delay_hrd_flag
    bits.flag()  # pic_struct_present_flag
    if not bits.flag():
        return is_square, None
    bits.flag()  # motion_vectors_over_pic_boundaries_flag
    for _ in range(4):
        bits.golomb()  # the most bytes of a picture and bits of a block, and the longest vectors
    return is_square, bits.golomb(MOST_DELAYED)


def _skip_buffers(bits: Bits) -> bool:
    """Leave out the parameters of the reference decoder's buffers (E.1.2); whether there were any."""
    if not bits.flag():
        return False
    count = bits.golomb(MOST_BUFFERS) + 1
    bits.skip(8)  # bit_rate_scale, cpb_size_scale
    for _ in range(count):
        bits.golomb()  # bit_rate_value_minus1
        bits.golomb()  # cpb_size_value_minus1
        bits.flag()  # cbr_flag
    bits.skip(20)  # lengths of delays and of time_offset
    return True
