"""Where the scores of a worker's streams are going, for its choice of the look that a segment gets.

The alert agent of this process has other partitions than its score agent, so it does not know of these streams' alerts. Reading
them from their topic would be one more consumer, and late. So the detector itself runs once more here, over the scores that the
worker makes: it takes microseconds, and with the same policy it comes to the same alerts. A worker that has just taken over a
partition knows of an open alert only after the alert's minimum duration; until then such a stream's segments are low or changing.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Literal

from streams.alerts.detector import step
from streams.alerts.policy import AlertPolicy
from streams.alerts.rendition import drop_limit
from streams.alerts.state import StreamState, Watch
from streams.events import AlertKind, SegmentScore
from streams.remembered import remember

MOST_STREAMS = 10_000
"""Streams whose course is known; the one that was silent for longest is forgotten first."""

QUALITY: tuple[AlertKind, ...] = ("low-quality", "quality-drop")
"""The kinds of alert that a score decides."""


class Courses:
    """The course of each stream, after the scores that it was given in their order."""

    def __init__(self, policy: AlertPolicy) -> None:
        self._policy = policy
        self._streams: OrderedDict[str, StreamState] = OrderedDict()

    def use(self, policy: AlertPolicy) -> bool:
        """Judge by another policy from the next score on; returns whether its limits are others. Any thread may call it."""
        before, self._policy = self._policy, policy
        return not policy.has_limits_of(before)

    def __call__(self, score: SegmentScore, now: datetime) -> Literal["steady", "changing", "alert", "no-picture"]:
        """The course of a segment's stream with this segment.

        `alert`: an alert for its quality is open; `changing`: its score falls, so that one may be about to fire; `no-picture`:
        this segment is black or frozen, so its score says nothing; `steady` otherwise. now: UTC, against which the packager's
        clock is held.
        """
        limits = self._policy.of(score.labels, score.start)
        state, _ = step(self._streams.get(score.stream_id) or StreamState(score.stream_id), score, limits, now)
        remember(self._streams, score.stream_id, state, MOST_STREAMS)
        signals, rendition = score.signals, state.renditions[score.rendition or ""]
        if signals and (signals.black >= limits.black.threshold or signals.freeze >= limits.frozen.threshold):
            return "no-picture"
        if any(rendition.watches.get(kind, Watch()).open_alert is not None for kind in QUALITY):
            return "alert"
        # A drop fires at the limit itself. Noise alone is over half of it in one of a thousand segments.
        return "changing" if rendition.cusum > drop_limit(rendition, limits.quality_drop) / 2 else "steady"

    def is_undecided(self, score: SegmentScore) -> bool:
        """Whether an alert of a score's rendition is open, or may be about to open or to end; of a score that was taken in.

        So it is where a stretch is pending, where the last score was under the usual one by more than the slack, and where
        the smoothed one is nearer to its threshold than to where it is good again.
        """
        state = self._streams.get(score.stream_id)
        rendition = state.renditions.get(score.rendition or "") if state is not None else None
        if rendition is None:
            return False
        # A glance hears as well as a full look: for a silence none is needed.
        watches = [watch for kind, watch in rendition.every_watch().items() if kind != "silent"]
        if any(watch.open_alert is not None or watch.pending_since is not None for watch in watches) or rendition.cusum:
            return True
        low = self._policy.of(score.labels).low_quality
        return low.enabled and rendition.smoothed is not None and rendition.smoothed < (low.threshold + low.good_from) / 2
