"""Which segments the large model looks at, after the small one: the plan of the cascade. Pure: no clock, no model, no Kafka.

Every segment is scored by the small model (tier `full`), or rests on one that was (tier `glance`): that counts, and no more. The
large model looks at few of the others (tier `deep`), for the first of these reasons that holds: the segment is its stream's
control; its stream has an open alert; its score is falling; it is low; it is uncertain. How many are few is a share of all
segments, and each look costs one token of a bucket that only this worker's own segments fill. So the shares of all workers sum
up to the share, and no worker has to know another.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from streams.events import TierReason
from streams.remembered import remember

Course = Literal["steady", "changing", "alert", "no-picture"]
"""Where a stream's scores are going. `no-picture`: this segment is black or frozen, so no score says anything of it."""

BURST = 16.0
"""Most tokens in a worker's bucket: after a quiet hour this many segments may go deep at once, and not an hour's worth."""

CONTROL_PART = 0.2
"""Part of the share for controls: segments that are taken by count alone, so that the two models are compared without bias."""

MOST_STREAMS = 10_000
"""Streams that a worker remembers; the one that was silent for longest is forgotten first."""

FLOOR: dict[TierReason, float] = {"control": 1, "alert": 2, "changing": 3, "low": 4, "uncertain": 5}
"""Tokens that must be there for each reason, most urgent first: the last ones are kept for what is more urgent."""

URGENCY: dict[TierReason, float] = {"alert": 8, "changing": 4, "low": 2, "uncertain": 1}
"""How much each reason's streams get, against each other, where there is not enough for all."""


@dataclass(frozen=True)
class DeepLimits:
    """When a segment goes deep.

    share: of all segments, at most, 0-1. low: a lower score is low, points. uncertain: a higher uncertainty is uncertain, points.
    """

    share: float = 0.05
    low: float = 40.0
    uncertain: float = 13.0

    @property
    def control_every(self) -> int:
        """Segments of a stream from one control to the next. Only where the share is over 0."""
        return max(1, round(1 / (self.share * CONTROL_PART)))


@dataclass(frozen=True)
class Facts:
    """What is known of a segment when the small model has scored it.

    stream: of one rendition. score, uncertainty: points. can_go_deep: whether it was sampled, and can wait for the large model.
    """

    stream: str
    sequence: int
    course: Course
    score: float
    uncertainty: float
    can_go_deep: bool = True


@dataclass(frozen=True, slots=True)
class StreamLooks:
    """What is remembered of a stream.

    until_control: segments until the next control; 0 or less: it is due. looked_at: tokens that the bucket had got in all when
    the stream last went deep; None: it has not.
    """

    until_control: int
    looked_at: float | None = None


def first_seen(facts: Facts, limits: DeepLimits) -> StreamLooks:
    """The state of a new stream. Streams that start together have their controls at different times, drawn by their names."""
    digest = hashlib.blake2b(f"{facts.stream}\n{facts.sequence}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return StreamLooks(1 + int.from_bytes(digest) % limits.control_every)


def reason_of(state: StreamLooks, facts: Facts, limits: DeepLimits) -> TierReason | None:
    """Why the segment should go deep; None where it need not. A control comes first, so that it is due at any quality alike."""
    if facts.course == "no-picture" or not facts.can_go_deep:
        return None
    if state.until_control <= 0:
        return "control"
    if facts.course != "steady":
        return facts.course
    if facts.score < limits.low:
        return "low"
    return "uncertain" if facts.uncertainty > limits.uncertain else None


def price(reason: TierReason, state: StreamLooks, earned: float) -> float:
    """Tokens that must be in the bucket for this stream to take one.

    earned: tokens that the bucket has got in all. The price is `BURST` for a stream that has just been looked at, and falls with
    the tokens that the bucket has got since. So the stream that waits for longest can pay first, one that never was looked at
    can pay at once, and one that is alone gets every token. An alert's wait counts eight times as much as an uncertain score's.
    """
    if reason == "control" or state.looked_at is None:
        return FLOOR[reason]
    waited = URGENCY[reason] * (earned - state.looked_at)
    return max(FLOOR[reason], BURST - math.log2(1 + waited))


class DeepPlan:
    """Plans the deep looks of a worker's segments, in the order in which they come."""

    def __init__(self, limits: DeepLimits) -> None:
        self.limits = limits
        self._streams: OrderedDict[str, StreamLooks] = OrderedDict()
        self._tokens = 0.0
        self._earned = 0.0

    def plan(self, batch: Sequence[Facts], room: int) -> list[TierReason | None]:
        """For each segment the reason to go deep, or None for tier full.

        batch: all segments that have a score, also those that cannot go deep. room: how many of them may go deep now; what is not
        taken stays in the bucket.
        """
        plan: list[TierReason | None] = [None] * len(batch)
        if self.limits.share <= 0:
            return plan
        wanted: list[tuple[float, float, int, TierReason]] = []
        for place, facts in enumerate(batch):
            self._tokens = min(BURST, self._tokens + self.limits.share)
            self._earned += self.limits.share
            state = self._arrived(facts)
            if reason := reason_of(state, facts, self.limits):
                wanted.append((FLOOR[reason], price(reason, state, self._earned), place, reason))
        for *_, place, reason in sorted(wanted):
            if room and self._take(batch[place].stream, reason):
                plan[place] = reason
                room -= 1
        return plan

    def _arrived(self, facts: Facts) -> StreamLooks:
        """The stream's state after one more segment."""
        state = self._streams.get(facts.stream) or first_seen(facts, self.limits)
        state = replace(state, until_control=state.until_control - 1)
        remember(self._streams, facts.stream, state, MOST_STREAMS)
        return state

    def _take(self, stream: str, reason: TierReason) -> bool:
        state = self._streams[stream]
        # Two segments of a stream in one batch can both see the same control due.
        if reason == "control" and state.until_control > 0:
            return False
        if self._tokens < price(reason, state, self._earned):
            return False
        self._tokens -= 1
        if reason == "control":
            # From the place where it was due, so that controls stay evenly spread where one had to wait.
            every = self.limits.control_every
            state = replace(state, until_control=every + state.until_control % -every)
        self._streams[stream] = replace(state, looked_at=self._earned)
        return True
