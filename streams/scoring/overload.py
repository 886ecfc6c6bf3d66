"""Which segments are not scored: those that come too late, and some when the workers cannot keep up.

These are left out so that lag stays bounded and every stream keeps its part.

Without it a queue older than the live window would drop whichever segments happen to stand where the window ends: some streams
would lose nearly all of theirs, streams with a priority as many as the others. Knows no Kafka and no model.
"""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime

from streams import metrics
from streams.events import SegmentEvent
from streams.remembered import remember

PRIORITY_LABEL = "priority"
ORDINARY_VALUES = {"", "0", "false", "no", "none", "low", "normal"}
"""Values of the label `priority` that ask for nothing; every other value is a priority."""

ORDINARY, PRIORITY = (0.4, 0.7), (0.8, 1.0)
"""Between which shares of the live window the part of a stream's segments that is scored falls to `LEAST_SHARE`, by what the
segments have waited. Below them nothing is left out, so that a short outage is caught up. The ordinary streams' part is at its
least before any stream with a priority loses a segment, and well before the window ends and drops whatever stands there."""

LEAST_SHARE = 0.1
"""Share of a rendition's segments that is scored at least within the window, so that none goes dark."""

LATEST = 256
"""Segments whose longest wait counts: enough that every partition of a worker is among them."""

MOST_RENDITIONS = 100_000
"""Renditions that are remembered; the one that was not heard of for longest is forgotten first."""


def has_priority(labels: Mapping[str, str]) -> bool:
    """Whether a stream's labels ask that it is served first: `priority` with a value that is not of `ORDINARY_VALUES`."""
    return labels.get(PRIORITY_LABEL, "").strip().lower() not in ORDINARY_VALUES


def share_kept(waited: float, window: float, priority: bool) -> float:
    """The share of a stream's segments to score, `LEAST_SHARE` to 1, by how long they wait already.

    waited, window: seconds. It falls in a straight line. So the wait settles where just as many segments are kept as the
    workers can score: with twice too many ordinary ones, near the middle of the line.
    """
    first, last = PRIORITY if priority else ORDINARY
    fallen = (waited / window - first) / (last - first)
    return max(LEAST_SHARE, 1 - (1 - LEAST_SHARE) * max(0.0, fallen))


class Shedder:
    """Keeps the same share of the segments of every stream and of each of its renditions, spread evenly over them.

    window: the live window, seconds.

    The longest wait of the latest segments decides for all of them: a worker reads its partitions in turn, so the segments of a
    partition with many streams wait longer, and by its own wait each of those streams would lose more than the others.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._waits: deque[float] = deque(maxlen=LATEST)
        self._credit: OrderedDict[str, float] = OrderedDict()

    def keeps(self, rendition: str, priority: bool, waited: float) -> bool:
        """Whether to score this segment of a rendition. rendition: names it and its stream. waited: seconds in the queue so far.

        Each segment adds the present share to its rendition's credit; a segment is scored for a credit of 1. They start with
        different credits, so that streams whose segments come together do not all lose the same moment. With one credit for a
        stream, whose renditions come in turn, the same rendition would pay each time, and another be scored.
        """
        self._waits.append(waited)
        share = share_kept(max(self._waits), self._window, priority)
        if share == 1:
            return True
        credit = self._credit.get(rendition)
        if credit is None:
            credit = (zlib.crc32(rendition.encode()) % 1000) / 1000
        credit += share
        remember(self._credit, rendition, credit - 1 if credit >= 1 else credit, MOST_RENDITIONS)
        return credit >= 1


class Freshness:
    """Says which segments are answered `skipped`. window: the live window, seconds; None scores every segment."""

    def __init__(self, window: float | None) -> None:
        self._window = window
        self._shedder = Shedder(window) if window is not None else None

    def too_late(self, event: SegmentEvent) -> str | None:
        """Why a segment is too old to be scored; None where it is not."""
        waited = _lag(event)
        if self._window is None or waited <= self._window:
            return None
        return f"the segment ended {waited:.0f} s ago, more than the live window of {self._window:g} s"

    def shed(self, event: SegmentEvent, sent: float | None) -> str | None:
        """Why a segment is left out because there is too much to do; None where it is not.

        sent: when its message was, or came to its topic, seconds since 1970; see `Message.sent`.
        """
        # A stream whose packager's clock is behind is not queued for longer than the others: its message's time tells.
        waited = _lag(event) if sent is None else min(_lag(event), time.time() - sent)
        priority = has_priority(event.labels)
        if self._shedder is None or self._shedder.keeps(f"{event.stream_id}\n{event.rendition or ''}", priority, waited):
            return None
        metrics.SHED.labels("high" if priority else "ordinary").inc()
        return f"the workers cannot keep up: segments wait {waited:.0f} s, and every stream has a part of its segments skipped"


def _lag(event: SegmentEvent) -> float:
    return datetime.now(UTC).timestamp() - event.start.timestamp() - event.duration
