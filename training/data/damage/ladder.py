"""A ladder: one kind of damage in steps from mild to severe, and the one function that applies a step to a clip.

`training.data.damage.catalogue.LADDERS` has all of them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["source", "delivery"]
"""Where the damage happens: before the stream is encoded (lens, sensor, camera, light), or on the way to the viewer."""

Measure = Literal["vmaf", "ssim", "declared"]
"""What the label of a step is: a full-reference measure, or the target that the ladder declares."""

Damage = Callable[[int, Path, Path, str], None]
"""(step, source, target, seed): write the damaged clip of that step."""

STEPS = 5
"""Steps of a ladder. Some that were there first have another number of them."""


@dataclass(frozen=True)
class Ladder:
    """One kind of damage."""

    name: str
    """The `kind` of its segments in labels.csv."""
    stage: Stage
    steps: int
    """A step is a number from 0, the mildest, to `steps` - 1; a higher step is always worse."""
    target: tuple[float, ...] | None
    """The label of each step, points 0-100, falling; None where it is measured."""
    measure: Measure
    why: str
    """Why it is measured like that, or where its targets come from."""
    damage: Damage

    def __post_init__(self) -> None:
        if (self.target is None) == (self.measure == "declared"):
            raise ValueError(f"ladder {self.name}: targets are for ladders whose measure is declared, and only for them")
        if self.target is not None and (
            len(self.target) != self.steps or list(self.target) != sorted(set(self.target), reverse=True)
        ):
            raise ValueError(f"ladder {self.name}: {self.target} are not {self.steps} falling targets")


def apply(ladder: Ladder, step: int, source: Path, target: Path, seed: str | None = None) -> None:
    """Write the clip `source`, damaged by that step of the ladder, to `target`: same size, frame rate and number of pictures.

    step: 0 to `ladder.steps` - 1. target: a `.mkv` path. seed: decides what is drawn at random, as which packets are lost; it
    is the same for all steps of a clip, so that a higher step is worse in the same places. None: the source's file name.
    Raises ValueError where the step is not there or the clip cannot have this damage, and as `training.data.ffmpeg.run_ffmpeg`.
    """
    if not 0 <= step < ladder.steps:
        raise ValueError(f"ladder {ladder.name} has the steps 0 to {ladder.steps - 1}, not {step}")
    # A killed run must not leave half a clip under the final name: the next run would keep it.
    part = target.with_name(f".{target.stem}.part.mkv")
    try:
        ladder.damage(step, source, part, source.name if seed is None else seed)
    except (ValueError, OSError, subprocess.SubprocessError):
        part.unlink(missing_ok=True)
        raise
    part.rename(target)
