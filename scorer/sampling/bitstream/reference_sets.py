"""HEVC's short-term reference picture sets (ITU-T H.265, 7.3.7 and 7.4.8): which pictures around it a picture may refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scorer.sampling.bitstream.bits import Bits, BitsError

MOST_PICTURES = 16
"""Pictures before, and pictures after; also what a decoder keeps at most."""


@dataclass(frozen=True)
class ReferenceSet:
    """before, after: distance in output order (negative before), nearest first, and whether the picture itself refers to it."""

    before: tuple[tuple[int, bool], ...]
    after: tuple[tuple[int, bool], ...]

    @property
    def used(self) -> int:
        """How many pictures the picture itself refers to."""
        return sum(is_used for _, is_used in (*self.before, *self.after))


def read_reference_set(bits: Bits, sets: Sequence[ReferenceSet], count: int) -> ReferenceSet:
    """The next set. sets: of the SPS, those before it. count: how many the SPS has; a slice's own set comes after them all.

    Raises `BitsError`.
    """
    if sets and bits.flag():
        back = bits.golomb(len(sets) - 1) + 1 if len(sets) == count else 1
        return _predicted(bits, sets[len(sets) - back])
    before, after = bits.golomb(MOST_PICTURES), bits.golomb(MOST_PICTURES)
    return ReferenceSet(_distances(bits, before, -1), _distances(bits, after, 1))


def _distances(bits: Bits, count: int, sign: int) -> tuple[tuple[int, bool], ...]:
    distance = 0
    pictures = []
    for _ in range(count):
        distance += sign * (bits.golomb(1 << 15) + 1)
        pictures.append((distance, bits.flag()))
    return tuple(pictures)


def _predicted(bits: Bits, model: ReferenceSet) -> ReferenceSet:
    """A set that is another one, seen from another picture, with some pictures left out (7-61, 7-62)."""
    is_negative = bits.flag()
    shift = (bits.golomb(1 << 15) + 1) * (-1 if is_negative else 1)
    # The model's pictures before, those after, and the model's own picture, in this order.
    distances = [distance + shift for distance, _ in (*model.before, *model.after)] + [shift]
    kept = []
    for distance in distances:
        is_used = bits.flag()
        if is_used or bits.flag():
            kept.append((distance, is_used))
    before = tuple(sorted((picture for picture in kept if picture[0] < 0), reverse=True))
    after = tuple(sorted(picture for picture in kept if picture[0] > 0))
    if max(len(before), len(after)) > MOST_PICTURES:
        raise BitsError("a set of references is too large")
    return ReferenceSet(before, after)
