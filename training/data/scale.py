"""Rating scales: what a number in a table of ratings means, and the question where nobody said it.

A model is trained on points, 0 to 100, more is better. Sets are published on 1-5, 0-10, 0-1, and as DMOS, of which some count
more as worse. A scale is never guessed: a column that looks like another one is asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

USUAL_WORST = {5: 1, 7: 1, 9: 1}
"""The worst rating of the scales that do not start at 0, by their best one."""

ASKED = ((1.0, "0-1"), (5.0, "1-5"), (10.0, "0-10"))
"""A column whose ratings reach no higher looks like the scale beside it."""

SMALL_SHARE = 0.25
"""Where more of the ratings look like a smaller scale, they are asked for: the others may be typing errors, or of another
table. Of ratings in points, few clips are that bad, but one alone may be."""

FEW = 10
"""From so many small ratings on, a tenth of them may be larger than the scale that is named in the question."""

_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:-|_|to|\.\.)\s*(-?\d+(?:\.\d+)?)")
_COLUMN = re.compile(r"(d?mos)(?:[ _(\[]*(-?\d.*?)[)\]]?)?")


@dataclass(frozen=True)
class Scale:
    """A rating scale. worst, best: its ends; the worst is the larger one where more is worse."""

    worst: float
    best: float

    def points(self, rating: float) -> float:
        """A rating in points, 0-100; outside of it where the rating is outside the scale."""
        return 100 * (rating - self.worst) / (self.best - self.worst)

    def width(self, rating: float) -> float:
        """A difference of ratings in points, never negative."""
        return 100 * abs(rating / (self.best - self.worst))

    def __str__(self) -> str:
        return f"{self.worst:g}-{self.best:g}"


POINTS = Scale(0, 100)


def parse_scale(text: str) -> Scale:
    """The scale of `WORST-BEST`, as `1-5`, or `100-0` where more is worse. Raises ValueError that says what to write."""
    match = _RANGE.fullmatch(text.strip())
    ends = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if ends[0] == ends[1]:
        raise ValueError(f"{text!r} is no scale: write WORST-BEST, as 1-5, 0-10 or 0-100, and 100-0 where more is worse")
    return Scale(*ends)


def is_rating_column(name: str) -> bool:
    """Whether a column, by its name in lower case, has the ratings: `mos`, `mos_5`, `mos_1-5`, `dmos`."""
    return _COLUMN.fullmatch(name) is not None


def scale_of_column(name: str) -> Scale | None:
    """The scale that a rating column's name says: `mos_5` is 1-5, `mos_100` points, `mos_5-1` 1-5 turned round.

    None where it says none. Raises ValueError where it is DMOS without both ends: sets differ in which end is worse.
    """
    match = _COLUMN.fullmatch(name)
    kind, text = (match[1], match[2]) if match else ("", None)
    if text is not None and _RANGE.fullmatch(text):
        return parse_scale(text)
    if kind == "dmos":
        raise ValueError(
            f"the column {name} has differences of opinions, of which some sets count more as worse: name it mos_WORST-BEST, as "
            "mos_100-0 where 0 is best (`fvq train` and `fvq promote` also take --scale 100-0)"
        )
    if text is None:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"the column {name} says no scale: name it mos_WORST-BEST, as mos_1-5, or mos_100 for points")
    return Scale(USUAL_WORST.get(int(text), 0), int(text))


def question(ratings: Sequence[float]) -> str:
    """What to ask about a column of ratings that nobody named a scale of; empty where it looks like points."""
    small = sorted(abs(rating) for rating in ratings if abs(rating) <= ASKED[-1][0])
    if len(small) <= max(1, SMALL_SHARE * len(ratings)) and len(small) < max(1, len(ratings)):
        return ""
    largest = small[-1] if len(small) < FEW else small[math.ceil(0.9 * len(small)) - 1]
    looks = next(name for end, name in ASKED if largest <= end)
    return (
        f"{len(small)} of the {len(ratings)} ratings look like a scale of {looks}, and mos counts points of 0-100: say which "
        f"it is by the name of the column, mos_{looks} or mos_100 (`fvq train` and `fvq promote` also take --scale {looks} or "
        "--scale 0-100)"
    )
