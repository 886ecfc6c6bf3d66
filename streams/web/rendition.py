"""One rendition of a stream as the wall knows it, and what its scores do to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from scorer.spec import level_of
from streams.alerts.averages import averaged, weight_of
from streams.alerts.clock import OVERLAP_SECONDS, UNEVEN_SHARE, is_set_back, noted_run
from streams.alerts.state import RenditionState, Run, StreamState
from streams.web.reading import ScoreReading

SMOOTHING = 2.0
"""Half-life of the smoothed score, seconds: the policy's default."""

USUAL_SECONDS = 600.0
"""Half-life of the usual score where no alert agent tells it."""

BACK_SECONDS = 20.0
"""A clock was set back once segments from before the last known one have come for so long: the alert policy's default."""

FAR_BACK_SECONDS = 3600.0
"""No segment is so late: a clock that was set back by this goes on at once."""

BEHIND_SECONDS = 60.0
"""So far may a rendition be behind another one: its segments come after that one has ended the stream."""

STALE_SEGMENTS = 3
"""A score is stale when no other came for this many segments: it says nothing about what viewers see now."""

LEAST_STALE_SECONDS = 5.0

BLACK_SHARE = FROZEN_SHARE = 0.95
"""From these shares on a segment is called black or frozen before an alert says so: the policy's defaults."""


@dataclass(slots=True)
class Rendition:
    """One rendition's last values. Times in seconds since 1970; scores in points.

    row: its place in the courses. until: end of its last segment. received: when that segment's score was written. usual: its
    usual score. usual_seconds: seconds of scores in it, where no alert agent tells the usual score. level: of the smoothed
    score. level_since: since when. last: its last score as it came. sequence: its segment's number. numbered_since: no segment
    since the packager last restarted its numbers starts before this. behind: the last segments, where they came too late.
    ended: its last segment ended the stream.
    """

    name: str
    row: int
    duration: float = 2.0
    until: float = 0.0
    received: float = 0.0
    smoothed: float | None = None
    usual: float | None = None
    usual_seconds: float = 0.0
    score: float | None = None
    uncertainty: float | None = None
    lag: float | None = None
    status: str = ""
    black: bool = False
    frozen: bool = False
    level: str = ""
    level_since: float = 0.0
    segment_id: str = ""
    model: str = ""
    tier: str = ""
    last: bytes = b""
    sequence: int = -1
    numbered_since: float = 0.0
    behind: Run | None = None
    ended: bool = False


def takes(rendition: Rendition, score: ScoreReading, received: float, known: float) -> bool:
    """Whether a segment comes after the rendition's last one: by its time, by its number, or because the clock was set back.

    Notes in `rendition.behind` a segment that does not, a repeat or one out of order: many of them in a row are of a clock that
    was set back. received: when the score was written, seconds since 1970. known: until when the alert agent had read the scores
    as the wall started.
    """
    start = score.start.timestamp()
    if start >= rendition.until - OVERLAP_SECONDS or start + FAR_BACK_SECONDS <= rendition.until:
        return True
    # Whatever the last one said of its time. Repeats from before the packager restarted its numbers have higher ones.
    if score.sequence > rendition.sequence and start > rendition.numbered_since:
        return True
    if received <= max(known, rendition.received):
        return False  # It was written before the last one: nothing shows that the clock is another since.
    written = datetime.fromtimestamp(received, UTC)
    rendition.behind = noted_run(rendition.behind, score.start, written, BACK_SECONDS * UNEVEN_SHARE)
    return is_set_back(rendition.behind, score.start, BACK_SECONDS)


def take_values(rendition: Rendition, score: ScoreReading, start: float, received: float) -> None:
    """Let a score be the rendition's last one. start: of its segment. received: as in `takes`."""
    if score.sequence <= rendition.sequence or start < rendition.numbered_since:
        # Not its own start alone: that may be ahead.
        rendition.numbered_since = min(start, rendition.until)
    rendition.behind = None
    rendition.sequence, rendition.ended = score.sequence, score.ended
    rendition.duration, rendition.until, rendition.received = score.duration, start + score.duration, received
    rendition.score, rendition.uncertainty = score.score, score.uncertainty
    rendition.status, rendition.lag = score.status, score.timing.lag_s
    rendition.segment_id, rendition.tier = score.segment_id, score.tier or ""
    rendition.model = f"{score.model.name}@{score.model.version}" if score.model is not None else ""
    rendition.black = score.signals is not None and score.signals.black >= BLACK_SHARE
    rendition.frozen = score.signals is not None and score.signals.freeze >= FROZEN_SHARE


def take_state(rendition: Rendition, told: RenditionState, stream: StreamState) -> None:
    """Take what the alert agent knows: the usual score, and the rest where no score has come yet. stream: of the rendition."""
    rendition.usual = _finite(told.baseline)
    if rendition.received != 0.0:
        return
    # Of a clock that was set back the state has times that are set forward; the scores have its own.
    rendition.received, own = told.until.timestamp(), min(told.ahead or 0.0, 0.0)
    rendition.until, rendition.sequence = rendition.received + own, told.sequence
    rendition.numbered_since = told.numbered_since.timestamp() + own
    rendition.smoothed, rendition.ended = _finite(told.smoothed), stream.ended
    rendition.level = level_of_score(rendition.smoothed)
    rendition.level_since, rendition.segment_id = rendition.until, stream.segment_id


def _finite(value: float | None) -> float | None:
    """None for what is no number: JSON has none of these, and one would end every browser's socket."""
    return value if value is not None and math.isfinite(value) else None


def is_before_end(rendition: Rendition, start: float) -> bool:
    """Whether a rendition has ended the stream, and a segment of another one that starts at this time is of before that end."""
    return rendition.ended and 0 < rendition.until - start <= BEHIND_SECONDS


def smooth(rendition: Rendition, value: float, seconds: float, start: float, own_usual: bool) -> None:
    """Move the averages on by one score, as the alert agent does."""
    rendition.smoothed = averaged(rendition.smoothed, value, weight_of(seconds, SMOOTHING))
    level = level_of_score(rendition.smoothed)
    if level != rendition.level:
        rendition.level, rendition.level_since = level, start
    if own_usual:
        first = seconds / (rendition.usual_seconds + seconds)
        rendition.usual = averaged(rendition.usual, value, max(first, weight_of(seconds, USUAL_SECONDS)))
        rendition.usual_seconds = min(USUAL_SECONDS, rendition.usual_seconds + seconds)


def is_stale(rendition: Rendition, now: float) -> bool:
    """Whether a rendition's last score is too old to say how it is now."""
    return now - rendition.received > max(LEAST_STALE_SECONDS, STALE_SEGMENTS * rendition.duration)


def level_of_score(score: float | None) -> str:
    """The word for a score; '' for none."""
    return "" if score is None else level_of(score)
