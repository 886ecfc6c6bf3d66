"""How far a segment is from one that was looked at: the numbers that a glance sees, and the distance of two of them. Pure.

A distance is the root mean square of the differences, each divided by what is usual for it. What is usual starts from a table
(`usual_changes.json`, made by `python -m tests.bench.tiers --usual`) and is learned for each stream: a picture with a restless
background moves more from segment to segment than a person before a wall.

Damage moves few of the numbers, and those together: light blur takes away fine detail, and leaves light, colour and bitrate. So
besides the distance the differences are summed up along the directions in which known damage moves them
(`damage_directions.json`, made by `python -m tests.bench.tier_directions`). How much such a sum moves is learned as well.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the sampler's libraries are loaded where they are needed
    from scorer.sampling.bitstream.facts import Bitstream
    from scorer.sampling.glance import Glance

FloatArray = NDArray[np.float64]

HEADER_NAMES = ("bitrate", "key_bytes", "other_bytes", "other_spread", "smallest", "qp_mean", "qp_spread", "largest")
"""The numbers that packets alone give, in order; sizes as log2."""

HEADERS = slice(0, len(HEADER_NAMES))
PICTURE = slice(len(HEADER_NAMES), None)

LOGARITHMIC = {"ggd_variance", "half_ggd_variance", "laplacian_std", "half_laplacian_std", "noise"}
"""Statistics of a picture whose changes are in proportion to their size."""

LARGEST = 8.0
"""No difference counts as more than so many times the usual one: a single number that runs wild is no changed stream."""

FIRST_SEGMENTS, MOST_SEGMENTS = 6.0, 40.0
"""How many segments the table counts as in a new stream's spread, and how many the spread remembers at most."""

LEAST, MOST = 0.4, 2.5
"""Bounds of a learned deviation, times that of the table: a still picture must not make each flicker a change, and a stream that
changes all the time must not make the plan blind."""


@cache
def names() -> tuple[str, ...]:
    """The names of all numbers, in order: those of the headers, then those of the picture."""
    from scorer.sampling.glance import PICTURE_NAMES

    return (*HEADER_NAMES, *PICTURE_NAMES)


def values_of(glance: Glance) -> FloatArray:
    """The numbers of a glance, in the order of `names`, NaN for what it did not see."""
    picture = np.full(len(names()) - len(HEADER_NAMES), np.nan)
    if glance.picture is not None:
        picture = np.asarray(glance.picture, np.float64)
        picture = np.where(_is_logarithmic(), np.log1p(np.maximum(picture, 0.0)), picture)
    return np.concatenate([_header_values(glance.bitstream), picture])


@cache
def _is_logarithmic() -> NDArray[np.bool_]:
    return np.array([name in LOGARITHMIC for name in names()[PICTURE]])


def _header_values(bitstream: Bitstream) -> FloatArray:
    unknown = math.nan
    return np.array(
        [
            _log2(bitstream.bitrate),
            _log2(bitstream.key_bytes),
            _log2(bitstream.other_bytes),
            bitstream.other_spread if bitstream.other_bytes else unknown,
            bitstream.smallest if bitstream.other_bytes else unknown,
            unknown if bitstream.qp_mean is None else bitstream.qp_mean,
            unknown if bitstream.qp_spread is None else bitstream.qp_spread,
            bitstream.largest if bitstream.other_bytes else unknown,
        ]
    )


def _log2(value: float) -> float:
    return math.log2(value) if value > 0 else math.nan


@cache
def usual_deviations() -> FloatArray:
    """The table: each number's usual difference to that of an unchanged segment; NaN for one that it does not have."""
    table = json.loads(Path(__file__).with_name("usual_changes.json").read_text())
    return np.array([table.get(name, math.nan) for name in names()])


@cache
def damage_directions() -> FloatArray:
    """(kinds of damage, numbers): the weights of differences in usual ones; usual for such a sum of an unchanged segment is 1."""
    table = json.loads(Path(__file__).with_name("damage_directions.json").read_text())
    return np.array([[direction.get(name, 0.0) for name in names()] for direction in table.values()])


@dataclass(frozen=True, slots=True)
class Spread:
    """What is usual for one stream: mean squares of the differences of its unchanged segments, and over how many segments.

    squares: of each number. damage: of the sum along each direction of damage.
    """

    squares: FloatArray
    damage: FloatArray
    segments: float = FIRST_SEGMENTS

    def with_differences(self, differences: FloatArray) -> Spread:
        """The spread with one more unchanged segment. NaN teaches nothing."""
        return Spread(
            self._learned(self.squares, differences, usual_deviations()),
            self._learned(self.damage, _along_damage(differences), np.ones(len(self.damage))),
            min(MOST_SEGMENTS, self.segments + 1),
        )

    def _learned(self, squares: FloatArray, differences: FloatArray, usual: FloatArray) -> FloatArray:
        # A segment that was called unchanged by mistake must not widen the spread at once.
        new = np.minimum(differences**2, (2 * MOST * usual) ** 2)
        return np.where(np.isfinite(new), squares + (new - squares) / (self.segments + 1), squares)

    def deviations(self) -> FloatArray:
        """By what each difference is divided."""
        usual = usual_deviations()
        return np.clip(np.sqrt(self.squares), LEAST * usual, MOST * usual)

    def damage_deviations(self) -> FloatArray:
        """By what each sum along a direction of damage is divided."""
        return np.clip(np.sqrt(self.damage), LEAST, MOST)


def first_spread() -> Spread:
    """The spread of a stream of which nothing is known."""
    return Spread(usual_deviations() ** 2, np.ones(len(damage_directions())))


def distance(differences: FloatArray, spread: Spread) -> float:
    """How far a segment is, 0 upwards; 1 is usual for an unchanged one.

    Where both were seen, packets and picture count as much as each other, however many numbers they have: some damage shows in
    one of them alone. 0 where nothing can be compared.
    """
    in_usual = np.clip(differences / spread.deviations(), -LARGEST, LARGEST)
    parts = [mean for part in (HEADERS, PICTURE) if (mean := _mean_square(in_usual[part])) is not None]
    return math.sqrt(sum(parts) / len(parts)) if parts else 0.0


def damage(differences: FloatArray, spread: Spread) -> float:
    """How far a segment is along the direction of damage that fits it best, 0 upwards; 1 is usual for an unchanged one.

    Away from damage counts as much: a stream may become good again. 0 without a picture: packets alone do not show it.
    """
    sums = np.abs(_along_damage(differences)) / spread.damage_deviations()
    return float(np.max(sums)) if np.isfinite(sums).all() else 0.0


def _along_damage(differences: FloatArray) -> FloatArray:
    """The sum of the differences along each direction of damage; NaN without a picture."""
    if not np.isfinite(differences[PICTURE]).any():
        return np.full(len(damage_directions()), np.nan)
    # As for the distance, a single number that runs wild is no changed stream.
    in_usual = np.clip(differences / usual_deviations(), -LARGEST, LARGEST)
    return damage_directions() @ np.nan_to_num(in_usual)


def _mean_square(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.mean(known**2)) if len(known) else None
