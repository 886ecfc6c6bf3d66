"""Which measure the label of a segment is: one function says it for every kind, with the reason.

A kind is a ladder's name, `reference`, or of a segment that was damaged twice `DELIVERY@SOURCE-STEP`. `x264@blur-2`: the source
was damaged by that step of the ladder `blur`, then encoded by a step of `x264`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from training.data.damage.catalogue import LADDERS, VMAF_TRUSTED
from training.data.damage.ladder import Ladder
from training.data.degradations import vmaf_label

_TWICE = re.compile(r"(?P<delivery>[^@]+)@(?P<source>[^@]+)-(?P<step>\d{1,3})")


@dataclass(frozen=True)
class Choice:
    """A measure, and why it is taken. `product`: the source's grade times what is left of it after the second damage."""

    measure: Literal["vmaf", "ssim", "declared", "product"]
    why: str


def twice_kind(delivery: str, source: str, step: int) -> str:
    """The kind of clips that are damaged by that step of a source ladder, and then by a delivery ladder."""
    return f"{delivery}@{source}-{step}"


def is_twice(kind: str) -> bool:
    """Whether clips of that kind are damaged twice."""
    return "@" in kind


def parts_of_kind(kind: str) -> tuple[str | None, int, str | None]:
    """(source ladder, its step, delivery ladder) of a kind; None and 0 for a part that is not there."""
    if twice := _TWICE.fullmatch(kind):
        return twice["source"], int(twice["step"]), twice["delivery"]
    ladder = LADDERS.get(kind)
    if ladder is not None and ladder.stage == "source":
        return kind, 0, None
    return None, 0, None if kind == "reference" else kind


def measure_of(kind: str) -> Choice:
    """The measure of a kind's labels, and the reason. Kinds that are not made here count as VMAF: their files have the labels."""
    source, _, delivery = parts_of_kind(kind)
    ladders = [LADDERS[name] for name in (source, delivery) if name in LADDERS]
    if not ladders:
        return Choice("vmaf", "the reference itself, or a kind of another origin")
    if len(ladders) == 1:
        return Choice(ladders[0].measure, ladders[0].why)
    if all(ladder.measure == "vmaf" for ladder in ladders):
        return Choice("vmaf", "VMAF sees both damages, and the flawless reference is at hand")
    blind = ", ".join(ladder.name for ladder in ladders if ladder.measure != "vmaf")
    return Choice("product", f"VMAF is blind to {blind}: what is left after each of the two damages is multiplied")


def points(ladder: Ladder, step: int, vmaf: float) -> float:
    """The grade of one damage, 0 to that of a reference. vmaf: against the clip that was damaged.

    Raises ValueError where the ladder has another measure.
    """
    if ladder.target is not None:
        return ladder.target[step]
    if ladder.measure != "vmaf":
        raise ValueError(f"ladder {ladder.name}: nothing says how many points its measure, {ladder.measure}, is worth")
    return vmaf_label(vmaf)


def absolute(kind: str, source_grade: float, relative: float, vmaf: float) -> float:
    """The label of a segment, 0-100: how good it is against the flawless reference.

    source_grade: the grade of its source, 0-100. relative: what is left of that, 0-100. vmaf: against the flawless reference.
    """
    if _TWICE.fullmatch(kind) and measure_of(kind).measure == "vmaf":
        return vmaf_label(vmaf)
    return round(source_grade * relative / 100, 3)


def is_made_here(kind: str) -> bool:
    """Whether `fvq synth` makes that kind."""
    source, _, delivery = parts_of_kind(kind)
    return all(name in LADDERS for name in (source, delivery) if name is not None) and kind != "reference"


def is_measured(kind: str) -> bool:
    """Whether labels of that kind are measured in full. False where a declared target is in them."""
    return measure_of(kind).measure == "vmaf"


def is_trusted(kind: str) -> bool:
    """Whether VMAF sees the kind well. Also true of references, and of kinds of another origin, which people may have rated."""
    source, _, delivery = parts_of_kind(kind)
    names = [name for name in (source, delivery) if name is not None]
    return all(name in VMAF_TRUSTED or name not in LADDERS for name in names)
