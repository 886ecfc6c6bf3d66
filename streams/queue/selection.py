"""Which segments are worth a person's time to rate. The harvest agent decides by this, without Kafka and without clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streams.events import HarvestReason, SegmentScore, TrainingExample, may_be_stored

ALIKE_BITS = 10
"""Fingerprints (64 bits) that differ in at most this many bits show the same scene; those of other scenes differ in about 32."""

ALIKE_POINTS = 10.0
"""A scene is worth another rating where its score differs by more than this: it has another quality then."""

REMEMBERED = timedelta(days=1)
"""For this long after a clip, the same scene at the same quality is not stored again."""

HOUR = timedelta(hours=1)

BLACK_SHARE = 0.95
"""Share of black pixels from which there is nothing to rate."""


@dataclass(frozen=True)
class HarvestLimits:
    """When a segment is worth a rating.

    per_hour: most clips of one stream in an hour. score: the segment's score is lower, points. uncertainty: its uncertainty is
    higher, points. disagreement: its score differs by more from the second model's, or the large model's from the small one's,
    points.
    """

    per_hour: int = 4
    score: float = 40.0
    uncertainty: float = 13.0
    disagreement: float = 15.0


def harvest_reason(score: SegmentScore, limits: HarvestLimits, alerted: bool) -> HarvestReason | None:
    """Why a segment should be rated; None where it need not or must not be. alerted: whether an alert names it."""
    if score.score is None or score.uncertainty is None or score.fingerprint is None or score.signals is None:
        return None
    if score.model is None:
        return None  # another program has written it; an example names the model
    if score.tier == "glance":
        return None  # the model has not seen it; the full look that it rests on was here before
    if score.signals.black >= BLACK_SHARE or not may_be_stored(score.labels):
        return None
    if alerted:
        return "alert"
    if score.score < limits.score:
        return "low-score"
    if score.uncertainty > limits.uncertainty:
        return "uncertain"
    others = (score.second, score.shallow)
    if any(other is not None and abs(other.score - score.score) > limits.disagreement for other in others):
        return "disagreement"
    return None


@dataclass(frozen=True)
class _Stored:
    """A segment that is stored, or will be. at: when it was chosen. fingerprint: as a number of 64 bits."""

    segment_id: str
    rendition: str | None
    at: datetime
    fingerprint: int
    score: float


class Memory:
    """The clips that were stored of each stream in the last day: limits their number, and finds scenes that are stored already.

    per_hour: most clips of one stream in an hour. stored: the examples on the queue. Times are those of storing, not of the
    segments: a stream with a wrong clock would have no limit otherwise. Those that are to come are of a worker's clock that was
    ahead: by more than these times they say nothing. While it is ahead it deletes nothing: only what is a day old by a clock that
    has run for a day without a jump of a day leaves the memory.
    """

    def __init__(self, per_hour: int, stored: Iterable[TrainingExample] = ()) -> None:
        self._per_hour = per_hour
        self._stored: dict[str, list[_Stored]] = defaultdict(list)
        self._swept: datetime | None = None
        self._last = self._steady_since = datetime.min.replace(tzinfo=UTC)
        for example in sorted(stored, key=lambda example: example.queued_at):
            self.add(example, example.queued_at)

    def wants(self, score: SegmentScore, now: datetime) -> bool:
        """Whether a segment should be stored: its stream's hour has room, and the same scene at its quality is not stored."""
        assert score.score is not None
        assert score.fingerprint is not None
        recent = [stored for stored in self._stored.get(score.stream_id, []) if abs(now - stored.at) < REMEMBERED]
        if sum(1 for stored in recent if abs(now - stored.at) < HOUR) >= self._per_hour:
            return False
        fingerprint = int(score.fingerprint, 16)
        return not any(
            (fingerprint ^ stored.fingerprint).bit_count() <= ALIKE_BITS and abs(score.score - stored.score) <= ALIKE_POINTS
            for stored in recent
        )

    def add(self, segment: SegmentScore | TrainingExample, at: datetime) -> None:
        """Remember a segment that is stored at this time: that of this machine's clock, also where it was set back or forward."""
        assert segment.score is not None
        assert segment.fingerprint is not None
        if abs(at - self._last) >= REMEMBERED:
            self._steady_since = at
        self._last = at
        self._sweep(at)
        recent = self._stored[segment.stream_id]
        recent.append(_Stored(segment.segment_id, segment.rendition, at, int(segment.fingerprint, 16), segment.score))
        self._stored[segment.stream_id] = [stored for stored in recent if not self._is_over(stored, at)]

    def _is_over(self, stored: _Stored, now: datetime) -> bool:
        """Whether a segment may be dropped: it is a day old by a clock that has run for that day, or of one that was ahead."""
        age = now - stored.at
        return age <= -REMEMBERED or (age >= REMEMBERED and now - self._steady_since >= REMEMBERED)

    def _sweep(self, now: datetime) -> None:
        """Once an hour, drop the streams that have nothing left: some platforms name a new one for each broadcast."""
        if self._swept is not None and abs(now - self._swept) < HOUR:
            return
        self._swept = now
        over = [stream for stream, recent in self._stored.items() if all(self._is_over(stored, now) for stored in recent)]
        for stream_id in over:
            del self._stored[stream_id]

    def forget(self, score: SegmentScore) -> None:
        """Forget a segment that was added but could not be stored."""
        recent = self._stored[score.stream_id]
        segment = score.segment_id, score.rendition
        self._stored[score.stream_id] = [stored for stored in recent if (stored.segment_id, stored.rendition) != segment]
