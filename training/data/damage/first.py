"""The ladders of `training.data.degradations`, from which `fvq synth` draws, in the shape that all ladders have."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from training.data.damage.ladder import Damage, Ladder, Measure, Stage
from training.data.degradations import Degradation, degrade, ladders

SOURCE_KINDS = frozenset({"blur", "motion-blur", "noise", "dark", "bright"})
"""Kinds that a camera makes. The others have an encoder or the way to the viewer in them."""

_WHY = {
    "loss": "no better measure at hand: VMAF sees the broken blocks, and weighs a short loss by its pictures",
    "motion-blur": "VMAF sees the lost detail; it does not know that fast motion hides it",
    "noise+x264": "VMAF sees what the encoder did to the noisy clip, and little of the noise",
    "noise": "VMAF gives noise of sigma 20 still 80-90: the order of the steps is sure, the distances are an opinion",
    "dark": "VMAF is nearly blind to brightness; the first steps cost little, as a picture does not say that it was darkened",
    "bright": "VMAF is nearly blind to brightness; the last step has no detail left in a face",
    "freeze": "VMAF compares a frozen picture with a similar one: a viewer sees that time stands still",
    "drop": "VMAF compares a late picture with a similar one; opinions of frame rates fall slowly to 12, then fast",
}
_WHY_VMAF = "VMAF was made for compression and scaling, and sees blur"


def first_ladders() -> list[Ladder]:
    """These ladders, in the order of the catalogue they come from; their steps are 3 to 10."""
    return [_ladder(kind, list(steps)) for kind, steps in groupby(ladders(), key=lambda step: step.kind)]


def _ladder(kind: str, steps: list[Degradation]) -> Ladder:
    targets = tuple(step.target for step in steps if step.target is not None)
    stage: Stage = "source" if kind in SOURCE_KINDS else "delivery"
    measure: Measure = "declared" if targets else "vmaf"
    return Ladder(kind, stage, len(steps), targets or None, measure, _WHY.get(kind, _WHY_VMAF), _damage(steps))


def _damage(steps: list[Degradation]) -> Damage:
    def damage(step: int, source: Path, target: Path, seed: str) -> None:
        degrade(source, steps[step], target, seed)

    return damage
