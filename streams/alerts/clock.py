"""The clocks of packagers, held against the broker's: one wrong `start` must not make all later segments count as old.

Segments are judged in their own time, so that a backlog is judged as it would have been live. That time is a packager's word.
A clock that is ahead is set back to the time at which the score was written, by the same seconds for all segments that follow
on it, so that durations stay right. One stray segment changes nothing for those after it. Pure functions.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from streams.alerts.state import RenditionState, Run, StreamState, Watch
from streams.events import SegmentScore

AHEAD_SECONDS = 60.0
"""A segment that ends later than this after its score was written comes from a clock that is ahead, unless it follows on the
segment before it by less than this."""

FAST_SECONDS = 6 * 3600.0
"""So far can segments that follow on each other run ahead: a recording may be announced faster than it plays."""

STRAY_SECONDS = 10.0
"""A segment that starts later than this after the one before it may be a stray: the next one tells."""

LIVE_TOLERANCE, LIVE_SECONDS = 30.0, 60.0
"""A stream is live if its segments came as fast as they play for the last minute, give or take half of one: packagers announce
bursts of some segments, and scorers wait for each other. So a recording that comes more than half as fast again is not live."""

UNEVEN_SHARE = 0.25
"""By this share of its patience may the segments of a clock that was set back come unevenly."""

OVERLAP_SECONDS = 1.0
"""A segment may start this much before the end of the one that it follows on."""


def end_of(score: SegmentScore) -> datetime:
    """The end of a score's segment."""
    return score.start + timedelta(seconds=score.duration)


def placed(score: SegmentScore, rendition: RenditionState | None, received: datetime) -> tuple[SegmentScore, float]:
    """The score with a start that the broker's clock allows, and the seconds by which its own clock is ahead; under 0: set back.

    rendition: the state before it; None for the first segment. received: when the score was written, by the broker's record.
    """
    ends_after = (score.start - received).total_seconds() + score.duration
    ahead = ends_after if ends_after > AHEAD_SECONDS else 0.0
    # Without `ahead`, nobody has held the state's times against the broker's: nothing can follow on them.
    if rendition is not None and rendition.ahead is not None:
        known = rendition.ahead
        gap = (score.start - rendition.until).total_seconds() - known
        follows = abs(gap) <= AHEAD_SECONDS and ends_after - known <= FAST_SECONDS
        if known < 0:
            # A clock that was set back: its segments are before `until`, and nearer to their arrival where they are set forward.
            follows = gap + known < -OVERLAP_SECONDS and abs(ends_after - known) < abs(ends_after)
        # A repeated segment of a clock that is known to be ahead.
        repeats = known > 0 and gap < 0 and ends_after > AHEAD_SECONDS and known - ends_after <= FAST_SECONDS
        if follows or repeats:
            ahead = known
    return (score.model_copy(update={"start": score.start - timedelta(seconds=ahead)}) if ahead else score), ahead


def runs_ahead(score: SegmentScore, received: datetime | None) -> bool:
    """Whether a segment, as `placed` gives it, ends after its score was written: a fast recording, or a wrong duration."""
    return received is not None and end_of(score) > received + timedelta(seconds=AHEAD_SECONDS)


def before_stray(rendition: RenditionState, score: SegmentScore, ahead: float) -> RenditionState | None:
    """The rendition as it was before a stray segment, where the latest one was that: this one follows on the one before it.

    ahead: of the score's clock, as `placed` gives it. What the stray itself fired or resolved stays so.
    """
    before = rendition.before
    if before is None or not 0 <= (score.start - before.until).total_seconds() <= STRAY_SECONDS:
        return None
    if score.start > rendition.until - timedelta(seconds=OVERLAP_SECONDS) and ahead == (rendition.ahead or 0.0):
        return None  # it follows on the latest one as well
    watches, latest = before.every_watch(), rendition.every_watch()
    for kind in watches.keys() | latest.keys():
        old, new = watches.get(kind, Watch()), latest.get(kind, Watch())
        if (old.open_alert, old.ended_at) != (new.open_alert, new.ended_at):
            watches[kind] = new
            if kind == "quality-drop" and new.open_alert is None:
                before = before.without_drop()  # its alert has ended since
    return before.watching(watches)


def before_backlog(rendition: RenditionState, score: SegmentScore, ahead: float) -> RenditionState | None:
    """The rendition as it is at a segment by the right clock that starts before all others, where their clock was ahead.

    A worker that reads a backlog meets it so: the segments that were set back to the time of reading are later than what
    follows them. Alerts that they fired stay open. None where the segment is not of that kind.
    """
    if ahead or not rendition.began_ahead or score.start >= rendition.numbered_since:
        return None
    watches = {kind: Watch(open_alert=watch.open_alert) for kind, watch in rendition.every_watch().items() if watch.open_alert}
    return RenditionState(score.sequence - 1, score.start, score.start, ahead=0.0).watching(watches)


def noted_run(run: Run | None, start: datetime, received: datetime, tolerance: float) -> Run:
    """The run of segments with one more of them, or one that it begins.

    run: so far; None without any. start: of the segment. received: when its score was written; none that is read again.
    tolerance: seconds by which it may come earlier or later after the run's first one than it plays. Segments that are scored
    again, or of a recording, are in no long run: a scorer is through them sooner than they play.
    """
    if run is None or abs(((received - run.received) - (start - run.start)).total_seconds()) > tolerance:
        return Run(start, received)
    return run


def is_set_back(run: Run, start: datetime, patience: float) -> bool:
    """Whether the clock was set back: such segments have come for `patience` seconds, as fast as they play.

    run: as `noted_run` gives it with a segment of this start.
    """
    return (start - run.start).total_seconds() >= patience


def is_live(state: StreamState) -> bool:
    """Whether a rendition's segments came as fast as they play for the last `LIVE_SECONDS`: a recording's come faster."""
    return any(
        rendition.live is not None
        and rendition.received is not None
        and (rendition.received - rendition.live.received).total_seconds() >= LIVE_SECONDS
        for rendition in state.renditions.values()
    )


def with_late(
    rendition: RenditionState, score: SegmentScore, ahead: float, received: datetime, patience: float
) -> tuple[SegmentScore, float, RenditionState]:
    """A segment that comes too late to be judged, or to end a silence: its score, the seconds by which its clock is ahead, and
    its rendition with it in the run of such segments.

    Where the clock was set back, the score is set forward and follows on the rendition.

    score, ahead: as `placed` gives them; none that is read again. patience: as in `is_set_back`.
    """
    run = noted_run(rendition.behind, score.start, received, patience * UNEVEN_SHARE)
    rendition = replace(rendition, behind=run)
    if not is_set_back(run, score.start, patience):
        return score, ahead, rendition
    return _set_forward(rendition.interrupted(), score, ahead, received)


def _set_forward(
    rendition: RenditionState, score: SegmentScore, ahead: float, received: datetime
) -> tuple[SegmentScore, float, RenditionState]:
    """The score of a clock that was set back, ending when it arrived; its `ahead`; and its rendition at the start of it."""
    late = received - end_of(score)
    score = score.model_copy(update={"start": score.start + late})
    ahead -= late.total_seconds()
    moved = replace(rendition, sequence=score.sequence - 1, numbered_since=score.start, until=score.start, ahead=ahead)
    return score, ahead, replace(moved, before=None, behind=None)


def healed(state: StreamState, name: str, score: SegmentScore, received: datetime) -> StreamState:
    """The state without times that the broker's clock has not reached: a worker that took them as they came has stored them.

    name: of the score's rendition. score: as `placed` gives it; the times of its rendition restart at its start.
    """
    rendition = state.renditions.get(name)
    checked = state
    if rendition is not None:
        # Without `ahead`, the state is of a worker that did not hold clocks against the broker's.
        latest = received + timedelta(seconds=AHEAD_SECONDS if rendition.ahead is None else FAST_SECONDS)
        if not _is_before(rendition, latest):
            watches = {
                kind: replace(watch, pending_since=_kept(watch.pending_since, latest), ended_at=_kept(watch.ended_at, latest))
                for kind, watch in rendition.every_watch().items()
            }
            rendition = replace(
                rendition.watching(watches),
                numbered_since=_kept(rendition.numbered_since, latest) or score.start,
                until=_kept(rendition.until, latest) or score.start,
                cusum_since=_kept(rendition.cusum_since, latest),
            )
            checked = state.with_rendition(name, rendition)
    latest = received + timedelta(seconds=FAST_SECONDS)
    if checked.renditions != state.renditions or _kept(state.until, latest) != state.until:
        checked = replace(checked, until=latest_end(checked))
    if checked.until is not None:
        # No silence begins or ends after the latest segment.
        started, ended = _kept(state.silence_started_at, checked.until), _kept(state.silence_ended_at, checked.until)
        if (started, ended) != (checked.silence_started_at, checked.silence_ended_at):
            checked = replace(checked, silence_started_at=started, silence_ended_at=ended)
    # The same object where nothing changed: a changed state is written to its topic.
    return state if checked is state or checked == state else checked


def _is_before(rendition: RenditionState, latest: datetime) -> bool:
    """Whether no time of a rendition is after `latest`, as nearly always: then nothing has to be made anew."""
    watched = (time for watch in rendition.every_watch().values() for time in (watch.pending_since, watch.ended_at))
    times = (rendition.numbered_since, rendition.until, rendition.cusum_since, *watched)
    return all(time is None or time <= latest for time in times)


def latest_end(state: StreamState) -> datetime | None:
    """The latest end of a segment in all renditions; None without any."""
    return max((rendition.until for rendition in state.renditions.values()), default=None)


def _kept(time: datetime | None, latest: datetime) -> datetime | None:
    """A time that is not after another one; None for a later one."""
    return time if time is None or time <= latest else None
