"""From a stream's scores to its alerts: pure functions, without Kafka.

`step` takes one score into a stream's state, `tick` judges its silence. Both return the new state and the alerts to send.
What they decide depends only on the scores, their order and the times of their records: a worker that reads the same scores
again decides the same, with the same alert ids. Each rendition of a stream has a state of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from streams.alerts.averages import averaged, weight_of
from streams.alerts.cause import cause_of_silence, explained
from streams.alerts.clock import (
    LIVE_TOLERANCE,
    STRAY_SECONDS,
    before_backlog,
    before_stray,
    end_of,
    healed,
    is_live,
    latest_end,
    noted_run,
    placed,
    runs_ahead,
    with_late,
)
from streams.alerts.limits import Alerts
from streams.alerts.rendition import Change, close, judge
from streams.alerts.state import OpenAlert, RenditionState, StreamState
from streams.events import AlertCause, AlertKind, QualityAlert, SegmentScore

MISSING_SECONDS = 10.0
"""Half-life of the share of time for which segments are missing."""

LEAST_GAP, LEAST_MISSING = 0.5, 0.01
"""A shorter gap, in durations of the segment after it, is a packager's rounding; a smaller share is forgotten."""

MAX_RENDITIONS = 32
"""Renditions kept of one stream. Encoders have fewer; a broken packager must not make the state grow without end."""


def step(
    state: StreamState, score: SegmentScore, limits: Alerts, received: datetime | None = None
) -> tuple[StreamState, list[QualityAlert]]:
    """The state after one more score, and the alerts that follow from it.

    A repeated or late segment changes nothing. A skipped one shows that the stream is alive, and says nothing about quality.
    limits: the policy for the stream's labels. received: when the score was written, by the broker's record, UTC; None takes
    the packager's clock as it is.
    """
    name = score.rendition or ""
    ahead = None
    if received is not None:
        score, ahead = placed(score, state.renditions.get(name), received)
        state = healed(state, name, score, received)
    rendition = state.renditions.get(name)
    if rendition is not None:
        before = before_stray(rendition, score, ahead or 0.0) or before_backlog(rendition, score, ahead or 0.0)
        if before is not None:
            rendition, state = before, state.with_rendition(name, before)
            state = replace(state, until=latest_end(state))
        else:
            score, ahead, noted = _noted(state, rendition, score, limits, ahead, received)
            if noted != rendition:  # else the state stays the same object, which is not written to its topic
                rendition, state = noted, state.with_rendition(name, noted)
            if not _is_new(rendition, score):
                return _end_announced_late(state, rendition, score)
    state, alerts = _end_silence(state, score)
    rendition = _moved_to(rendition, score, limits, ahead, runs_ahead(score, received))
    if received is not None:
        rendition = replace(rendition, received=received, live=noted_run(rendition.live, score.start, received, LIVE_TOLERANCE))
    if score.ended:
        state, more = _close(replace(state.with_rendition(name, rendition), ended=True), end_of(score), score.segment_id)
    else:
        state, more = _judged(state, name, rendition, score, limits)
    alerts += more
    until = end_of(score) if state.until is None else max(state.until, end_of(score))
    latest = max((time for time in (received, state.received) if time is not None), default=None)
    return replace(state, until=until, segment_id=score.segment_id, labels=score.labels, received=latest), alerts


def tick(
    state: StreamState,
    now: datetime,
    silent_for: float,
    limits: Alerts,
    explain: Callable[[StreamState], AlertCause] = cause_of_silence,
) -> tuple[StreamState | None, list[QualityAlert]]:
    """The state of a stream without new segments, and the alerts that follow; None where the stream can be forgotten.

    now: wall time; nothing fires by it. silent_for: seconds without a segment, as far as the caller is sure of them.
    explain: gives the cause of a silence that fires.
    """
    if state.until is None:
        return state, []
    if silent_for < limits.no_segments.after and state.silence is None:
        return state, []  # most streams, each second
    until_now = max(now, state.until + timedelta(seconds=silent_for))
    if state.silence is not None and not limits.no_segments.enabled:
        resolved = _silence_over(state, state.silence, until_now, state.segment_id)
        return replace(state, silence=None), [resolved]
    after, severity = limits.no_segments.patience(state.duration), limits.no_segments.severity
    if silent_for < after:
        return state, []
    # A live stream's clock may be behind by days; a recording was over then.
    since = state.received if state.received is not None and is_live(state) else state.until
    lasts = max((now - since).total_seconds(), silent_for)
    if lasts >= limits.no_segments.given_up_after(state.duration):
        # Not at the last segment's end: alerts that ended so long ago are too old for receivers, where they would stay open.
        return None, close_all(state, until_now)
    if state.ended:
        # The last segments of another rendition may have come after the one that ended the stream.
        closed, alerts = _close(state, state.until, state.segment_id)
        return (closed if alerts else state), alerts
    already_fired = state.silence_started_at is not None and state.until <= state.silence_started_at
    if state.silence is not None or already_fired or not limits.no_segments.enabled or limits.in_maintenance:
        return state, []
    resumed = state.silence_ended_at
    if resumed is not None and (state.until - resumed).total_seconds() + silent_for < limits.no_segments.cool_down:
        return state, []
    silence = OpenAlert(state.until, after, None, state.labels, after, severity, explain(state))
    firing = _alert(state.stream_id, "", "no-segments", silence, state.segment_id)
    return replace(state, silence=silence, silence_started_at=state.until), [firing]


def open_alerts(state: StreamState) -> Iterator[QualityAlert]:
    """The alerts of a stream that have fired and are not resolved, as they were sent."""
    for name, rendition in state.renditions.items():
        for kind, watch in rendition.every_watch().items():
            if watch.open_alert is not None:
                yield _alert(state.stream_id, name, kind, watch.open_alert, state.segment_id)
    if state.silence is not None:
        yield _alert(state.stream_id, "", "no-segments", state.silence, state.segment_id)


def close_all(state: StreamState, at: datetime | None = None) -> list[QualityAlert]:
    """The alerts that resolve when a stream's state is given up: all that are open.

    at: when it is given up; None for the end of the latest segment.
    """
    at = at or state.until
    return _close(state, at, state.segment_id)[1] if at is not None else []


def alert_id(stream_id: str, rendition: str, kind: AlertKind, started_at: datetime) -> str:
    """16 hexadecimal digits: the same for the same alert, on every worker and each time that it is raised."""
    return hashlib.sha256("\n".join((stream_id, rendition, kind, started_at.isoformat())).encode()).hexdigest()[:16]


def _noted(
    state: StreamState,
    rendition: RenditionState,
    score: SegmentScore,
    limits: Alerts,
    ahead: float | None,
    received: datetime | None,
) -> tuple[SegmentScore, float | None, RenditionState]:
    """The score, its `ahead`, and its rendition, with what the segment says of a clock that was set back (`with_late`)."""
    # One that is judged by its number may be from before `until` because of a wrong duration: until then `until` is to come.
    is_before = received is not None and end_of(score) <= rendition.until <= received
    if _is_new(rendition, score) and not is_before and not _is_late(state, score):
        return score, ahead, replace(rendition, behind=None)
    if received is None or _is_read_again(state, rendition, received):
        return score, ahead, rendition
    return with_late(rendition, score, ahead or 0.0, received, limits.no_segments.after)


def _judged(
    state: StreamState, name: str, rendition: RenditionState, score: SegmentScore, limits: Alerts
) -> tuple[StreamState, list[QualityAlert]]:
    """The state after a segment that does not end its stream, and the alerts that follow. rendition: moved to the segment."""
    alerts: list[QualityAlert] = []
    if score.status == "scored" and score.score is not None:
        rendition, changes = judge(rendition, score, limits)
        state, changes = _with_causes(state, name, rendition, changes, limits)
        rendition = state.renditions[name]
        alerts = [_changed(state.stream_id, name, change, score.segment_id) for change in changes]
    state, resolved = _keep(state, name, rendition, score, limits)
    # Another rendition's segments may come after the one that ended the stream.
    if state.ended and state.until is not None and score.start >= state.until:
        state = replace(state, ended=False)
    return state, alerts + resolved


def _is_new(rendition: RenditionState, score: SegmentScore) -> bool:
    """Whether a segment comes after all that are in the state: by its number, or by its time where numbers restarted.

    A number alone is not enough: repeats from before a restart have higher numbers than the present segments.
    """
    if score.start >= rendition.until:
        return True
    return score.sequence > rendition.sequence and score.start > rendition.numbered_since


def _is_read_again(state: StreamState, rendition: RenditionState, received: datetime) -> bool:
    """Whether a score is read once more, as after a crash: then it says nothing about the clock, however early it is.

    It was not written after its rendition's latest one. Older workers' states know only when the stream's was.
    """
    last = rendition.received or state.received
    return last is not None and received <= last


def _end_announced_late(
    state: StreamState, rendition: RenditionState, score: SegmentScore
) -> tuple[StreamState, list[QualityAlert]]:
    """The state after a repeated segment: it matters only where it is the last one, announced again as the stream's end."""
    if score.ended and not state.ended and score.sequence == rendition.sequence and end_of(score) == state.until:
        return _close(replace(state, ended=True), end_of(score), score.segment_id)
    return state, []


def _with_causes(
    state: StreamState, name: str, rendition: RenditionState, changes: list[Change], limits: Alerts
) -> tuple[StreamState, list[Change]]:
    """The state with the rendition in it and with the causes of open alerts, and the changes with theirs."""
    state = explained(state.with_rendition(name, rendition), limits)
    latest = state.renditions[name].every_watch()
    fired = [
        replace(change, alert=latest[change.kind].open_alert or change.alert) if change.ended_at is None else change
        for change in changes
    ]
    return state, fired


def _end_silence(state: StreamState, score: SegmentScore) -> tuple[StreamState, list[QualityAlert]]:
    """The state after a new segment: it resolves an open alert of kind no-segments, unless it is late."""
    if state.silence is None or _is_late(state, score):
        return state, []
    resolved = _silence_over(state, state.silence, score.start, score.segment_id)
    return replace(state, silence=None, silence_ended_at=resolved.ended_at), [resolved]


def _is_late(state: StreamState, score: SegmentScore) -> bool:
    """Whether a segment ends before the open silence began: of a rendition that is behind the others, and no sign of life."""
    if state.silence is None or state.until is None:
        return False
    # A silence that began after `until` is of a clock that was ahead: what comes now is not late.
    return end_of(score) <= state.silence.started_at <= state.until


def _silence_over(state: StreamState, silence: OpenAlert, at: datetime, segment_id: str) -> QualityAlert:
    """The end of the open alert of kind no-segments, not before its start."""
    return _alert(state.stream_id, "", "no-segments", silence, segment_id, max(at, silence.started_at))


def _moved_to(
    rendition: RenditionState | None, score: SegmentScore, limits: Alerts, ahead: float | None, runs_ahead: bool
) -> RenditionState:
    """The rendition's state at a new segment, before that segment is judged.

    ahead: of the score's clock, None if not known. runs_ahead: the segment ends after its score was written.
    """
    if rendition is None:
        began_ahead, durations = (ahead or 0.0) > 0, (score.duration,)
        return RenditionState(
            score.sequence, score.start, end_of(score), ahead=ahead, began_ahead=began_ahead, durations=durations
        )
    changed = ahead is not None and ahead != (rendition.ahead or 0.0)
    may_be_stray = changed or score.start - rendition.until > timedelta(seconds=STRAY_SECONDS)
    before = None
    if (runs_ahead or (ahead or 0.0) > 0) and rendition.before is not None and not changed:
        before = rendition.before  # from before the first segment that ran ahead, or whose clock was ahead
    elif may_be_stray or runs_ahead:
        before = replace(rendition, before=None)
    if score.start - rendition.until > timedelta(seconds=limits.no_segments.after):
        rendition = rendition.interrupted()
    gap = max(0.0, (score.start - rendition.until).total_seconds()) if not changed else 0.0
    restarted = score.sequence <= rendition.sequence
    return replace(
        rendition,
        sequence=score.sequence,
        numbered_since=score.start if restarted or changed else rendition.numbered_since,
        until=end_of(score) if changed else max(rendition.until, end_of(score)),
        ahead=rendition.ahead if ahead is None else ahead,
        began_ahead=rendition.began_ahead and (ahead or 0.0) > 0,
        before=before,
        missing=_missing(rendition.missing, gap, score.duration),
        durations=(*rendition.durations[-2:], score.duration),
    )


def _missing(share: float, gap: float, duration: float) -> float:
    """The share of the last seconds without a segment, after a gap and a segment, in seconds; 0 where it is next to nothing."""
    after_gap = averaged(share, 1.0, weight_of(gap, MISSING_SECONDS)) if gap >= LEAST_GAP * duration else share
    share = round(averaged(after_gap, 0.0, weight_of(duration, MISSING_SECONDS)), 3)
    return share if share >= LEAST_MISSING else 0.0


def _keep(
    state: StreamState, name: str, rendition: RenditionState, score: SegmentScore, limits: Alerts
) -> tuple[StreamState, list[QualityAlert]]:
    """The state with a rendition in it, and without those that are silent for too long or too many; their alerts resolve."""
    renditions = state.renditions | {name: rendition}
    others = sorted((other for other in renditions if other != name), key=lambda other: renditions[other].until)
    alerts: list[QualityAlert] = []
    for place, other in enumerate(others):
        silent_for = end_of(score) - renditions[other].until
        if rendition.received is not None and (last := renditions[other].received) is not None:
            silent_for = min(silent_for, rendition.received - last)  # clocks may be days apart, and scorers away for as long
        longest = limits.no_segments.given_up_after(renditions[other].duration)
        if silent_for > timedelta(seconds=longest) or len(others) - place >= MAX_RENDITIONS:
            _, changes = close(renditions.pop(other), end_of(score))
            alerts += [_changed(state.stream_id, other, change, score.segment_id) for change in changes]
    return replace(state, renditions=renditions), alerts


def _close(state: StreamState, at: datetime, segment_id: str) -> tuple[StreamState, list[QualityAlert]]:
    """The state with nothing open, and the alerts that this resolves: the stream ended, or is given up."""
    alerts: list[QualityAlert] = []
    renditions: dict[str, RenditionState] = {}
    for name, rendition in state.renditions.items():
        renditions[name], changes = close(rendition, at)
        alerts += [_changed(state.stream_id, name, change, segment_id) for change in changes]
    if state.silence is not None:
        alerts.append(_silence_over(state, state.silence, at, segment_id))
    return replace(state, renditions=renditions, silence=None), alerts


def _changed(stream_id: str, rendition: str, change: Change, segment_id: str) -> QualityAlert:
    return _alert(stream_id, rendition, change.kind, change.alert, segment_id, change.ended_at)


def _alert(
    stream_id: str, rendition: str, kind: AlertKind, alert: OpenAlert, segment_id: str, ended_at: datetime | None = None
) -> QualityAlert:
    """The event: firing, or resolved where it has an end."""
    return QualityAlert(
        alert_id=alert_id(stream_id, rendition, kind, alert.started_at),
        stream_id=stream_id,
        rendition=rendition or None,
        kind=kind,
        state="firing" if ended_at is None else "resolved",
        started_at=alert.started_at,
        ended_at=ended_at,
        value=round(alert.value, 3),
        baseline=None if alert.baseline is None else round(alert.baseline, 3),
        segment_id=segment_id,
        labels=alert.labels,
        severity=alert.severity,
        threshold=None if alert.threshold is None else round(alert.threshold, 3),
        cause=alert.cause,
    )
