"""By which specification clips are sampled while the replicas of a scorer are replaced. Pure: the caller says what time it is.

During a roll-over some replicas take clips by the old specification and some by the new one. To change at each answer of the
other kind would sample every batch again and again. So the specification stays as long as any replica answers by it, and changes
only after a while without; each change within a short time takes twice as long as the one before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scorer.spec import SamplerSpec

PATIENCE, LONGEST_PATIENCE = 5.0, 80.0
"""Seconds without an answer by the present specification before another one is taken; the most after several changes."""

CALM_SECONDS = 300.0
"""After this time without a change the patience is the first one again."""


@dataclass(frozen=True)
class Rollover:
    """The specification in use. matched: when a replica last answered by it, or when it was taken. changed: when it took
    the place of another one."""

    spec: SamplerSpec
    matched: float
    changed: float
    patience: float = PATIENCE

    @classmethod
    def begin(cls, spec: SamplerSpec, now: float) -> Rollover:
        """The state of a worker that has just learned the specification."""
        return cls(spec, now, -math.inf)

    def answered(self, now: float) -> Rollover:
        """The state after an answer by the present specification."""
        return replace(self, matched=now)

    def wait(self, now: float) -> float:
        """Seconds until another specification may be taken; 0 where it may be taken now."""
        return max(0.0, self.matched + self.patience - now)

    def take(self, spec: SamplerSpec, now: float) -> Rollover:
        """The state with another specification."""
        soon = now - self.changed < CALM_SECONDS
        patience = min(LONGEST_PATIENCE, 2 * self.patience) if soon else PATIENCE
        return Rollover(spec, now, now, patience)
