"""Which segments are worth a person's time: the harvest agent's judgement, without Kafka and without clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from streams.events import HarvestReason, SegmentScore, TrainingExample

ALIKE_BITS = 10
"""Fingerprints of 64 bits that differ in no more than these show the same scene; those of others differ in about half."""

ALIKE_POINTS = 10.0
"""The same scene is worth another rating where its quality is another one: when its score differs by more."""

REMEMBERED = timedelta(days=1)
"""So long after a clip the same scene at the same quality is not stored again."""

HOUR = timedelta(hours=1)

NOTHING_TO_SEE = 0.95
"""Share of black pixels from which on there is nothing to rate."""

PRIVATE = ("store", "no")
"""Label of a stream none of whose clips may be stored."""


@dataclass(frozen=True)
class HarvestLimits:
    """When a segment is worth a rating. per_hour: clips of one stream in an hour at most.

    score: a lower one is; uncertainty: a higher one is; disagreement: a larger difference to the second model is. Points.
    """

    per_hour: int = 4
    score: float = 40.0
    uncertainty: float = 15.0
    disagreement: float = 15.0


def why(score: SegmentScore, limits: HarvestLimits, alerted: bool) -> HarvestReason | None:
    """Why a segment should be rated, None if it need not. alerted: whether an alert began with it."""
    if score.score is None or score.uncertainty is None or score.fingerprint is None or score.signals is None:
        return None
    if score.signals.black >= NOTHING_TO_SEE or score.labels.get(PRIVATE[0]) == PRIVATE[1]:
        return None
    if alerted:
        return "alert"
    if score.score < limits.score:
        return "low-score"
    if score.uncertainty > limits.uncertainty:
        return "uncertain"
    if score.second is not None and abs(score.second.score - score.score) > limits.disagreement:
        return "disagreement"
    return None


@dataclass(frozen=True)
class _Stored:
    segment_id: str
    at: datetime
    fingerprint: int
    score: float


class Memory:
    """What was stored of each stream lately: no more than so many in an hour, and no scene twice at the same quality.

    By the time of storing, not of the segments: a stream whose clock is wrong would else have no limit.
    """

    def __init__(self, per_hour: int, stored: Iterable[TrainingExample] = ()) -> None:
        self._per_hour = per_hour
        self._stored: dict[str, list[_Stored]] = defaultdict(list)
        for one in sorted(stored, key=lambda one: one.queued_at):
            self.add(one, one.queued_at)

    def wants(self, score: SegmentScore, now: datetime) -> bool:
        """Whether there is room for a segment, and nothing like it."""
        assert score.score is not None
        assert score.fingerprint is not None
        stored = [one for one in self._stored.get(score.stream_id, []) if now - one.at < REMEMBERED]
        if sum(1 for one in stored if now - one.at < HOUR) >= self._per_hour:
            return False
        bits = int(score.fingerprint, 16)
        return not any(
            (bits ^ one.fingerprint).bit_count() <= ALIKE_BITS and abs(score.score - one.score) <= ALIKE_POINTS for one in stored
        )

    def add(self, stored: SegmentScore | TrainingExample, at: datetime) -> None:
        """Remember a segment that is stored; in the order of the times."""
        assert stored.score is not None
        assert stored.fingerprint is not None
        kept = self._stored[stored.stream_id]
        kept.append(_Stored(stored.segment_id, at, int(stored.fingerprint, 16), stored.score))
        self._stored[stored.stream_id] = [one for one in kept if at - one.at < REMEMBERED]

    def forget(self, score: SegmentScore) -> None:
        """A segment that was to be stored and could not be."""
        kept = self._stored[score.stream_id]
        self._stored[score.stream_id] = [one for one in kept if one.segment_id != score.segment_id]
