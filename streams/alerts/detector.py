"""From a stream's scores to its alerts: pure functions, without Kafka.

`step` folds one score into a stream's state, `tick` judges its silence. Both give the new state and the alerts to send.
What they decide depends on event time and on the order of segments alone, so whoever folds the same scores again decides
the same, with the same ids. Each rendition of a stream has a course of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from streams.alerts.policy import Alerts, Black, Frozen, Timing
from streams.alerts.state import Course, Opened, StreamState, Watch
from streams.events import AlertKind, QualityAlert, SegmentScore

USUAL_NOISE_SECONDS = 60.0
"""Seconds of scores that the assumed noise (`USUAL_NOISE`) counts as."""

MOST_RENDITIONS = 32
"""Courses kept of one stream; encoders have fewer, and a broken packager must not grow the state without end."""


def alert_id(stream_id: str, rendition: str, kind: AlertKind, started_at: datetime) -> str:
    """16 hexadecimal digits, the same whoever raises the alert and however often."""
    return hashlib.sha256("\n".join((stream_id, rendition, kind, started_at.isoformat())).encode()).hexdigest()[:16]


def step(state: StreamState, score: SegmentScore, limits: Alerts) -> tuple[StreamState, list[QualityAlert]]:
    """The state after one more score, and what follows from it.

    A repeated or late segment changes nothing. A skipped one shows that the stream lives, and says nothing of quality.
    limits: the policy for the stream's labels.
    """
    name = score.rendition or ""
    course = state.courses.get(name)
    if course is not None and not _is_new(course, score):
        # A packager may learn of the end after the last segment was announced, and announce it once more.
        if score.ended and not state.ended and score.sequence == course.sequence and _end(score) == state.until:
            return _close(replace(state, ended=True), _end(score), score.segment_id)
        return state, []
    alerts: list[QualityAlert] = []
    end = _end(score)
    if state.silence is not None:
        back = max(score.start, state.silence.started_at)
        alerts.append(_alert(state.stream_id, "", "no-segments", state.silence, score.segment_id, back))
        state = replace(state, silence=None, back=back)
    course = _advanced(course, score, limits)
    if score.ended:
        state = replace(state, courses=state.courses | {name: course}, ended=True)
        state, resolved = _close(state, end, score.segment_id)
        alerts += resolved
    else:
        if score.status == "scored" and score.score is not None:
            course, found = _judge_segment(course, score, limits)
            alerts += found
        state, resolved = _keep(state, name, course, score, limits)
        alerts += resolved
        # Another rendition's segments may come after the one that ended the stream.
        if state.ended and state.until is not None and score.start >= state.until:
            state = replace(state, ended=False)
    until = end if state.until is None else max(state.until, end)
    return replace(state, until=until, segment_id=score.segment_id, labels=score.labels), alerts


def tick(state: StreamState, now: datetime, silent_for: float, limits: Alerts) -> tuple[StreamState | None, list[QualityAlert]]:
    """The state of a stream of which nothing came for a time, and what follows; None: it is gone and can be forgotten.

    now: wall time, for forgetting alone. silent_for: seconds without a segment, as far as the caller is sure of them.
    """
    if state.until is None or silent_for < limits.no_segments.after:
        return state, []
    if (now - state.until).total_seconds() >= limits.no_segments.forget_after:
        return None, close_all(state)
    fired_already = state.silence is not None or (state.judged is not None and state.until <= state.judged)
    if state.ended or fired_already or not limits.no_segments.enabled:
        return state, []
    if state.back is not None and (state.until - state.back).total_seconds() + silent_for < limits.no_segments.cool_down:
        return state, []
    opened = Opened(state.until, limits.no_segments.after, None, state.labels)
    firing = _alert(state.stream_id, "", "no-segments", opened, state.segment_id)
    return replace(state, silence=opened, judged=state.until), [firing]


def open_alerts(state: StreamState) -> Iterator[QualityAlert]:
    """The alerts of a stream that have fired and are not resolved, as they were sent."""
    for name, course in state.courses.items():
        for kind, watch in course.watches.items():
            if watch.opened is not None:
                yield _alert(state.stream_id, name, kind, watch.opened, state.segment_id)
    if state.silence is not None:
        yield _alert(state.stream_id, "", "no-segments", state.silence, state.segment_id)


def close_all(state: StreamState) -> list[QualityAlert]:
    """What follows when a stream is given up: everything open resolves."""
    return _close(state, state.until, state.segment_id)[1] if state.until is not None else []


def _is_new(course: Course, score: SegmentScore) -> bool:
    """Whether a segment was not folded yet: a later number, or, where numbers began anew, a later time.

    The second half keeps repeats from before a restart out, whose numbers are higher than the present ones.
    """
    return score.start >= course.until or (score.sequence > course.sequence and score.start > course.begun)


def _advanced(course: Course | None, score: SegmentScore, limits: Alerts) -> Course:
    """The course moved to a new segment, before anything is judged."""
    if course is None:
        return Course(score.sequence, score.start, _end(score))
    if score.start - course.until > timedelta(seconds=limits.no_segments.after):
        # Nobody knows what was in the gap: what was only suspected begins anew.
        watches = {kind: replace(watch, since=None) for kind, watch in course.watches.items()}
        course = replace(course, fallen=0.0, fallen_since=None, smooth=None, watches=watches)
    begun = score.start if score.sequence <= course.sequence else course.begun
    return replace(course, sequence=score.sequence, begun=begun, until=max(course.until, _end(score)))


def _judge_segment(course: Course, score: SegmentScore, limits: Alerts) -> tuple[Course, list[QualityAlert]]:
    """Judge a scored segment by everything that it is evidence of: one cause, one alert."""
    judge = _Judge(course.watches, score, [])
    signals = score.signals
    black = signals is not None and judge.signal("black", signals.black, limits.black)
    # A black picture does not move either.
    frozen = signals is not None and judge.signal("frozen", 0.0 if black else signals.freeze, limits.frozen)
    # Nor does the score of a black or frozen picture say anything about quality.
    if not black and not frozen:
        course = _judge_quality(course, judge, limits)
    return replace(course, watches=judge.watches), judge.alerts


def _judge_quality(course: Course, judge: _Judge, limits: Alerts) -> Course:
    """Judge the score itself, by the threshold and against the baseline; the course with all averages moved.

    A drop is found by the one-sided cumulative sum S = max(0, S + baseline - score - slack) > limit of E. S. Page,
    Continuous inspection schemes, Biometrika 41 (1954), with the slack (reference value) at half of the shift to be
    found and the stretch in which S was last zero as the estimate of its begin: D. C. Montgomery, Introduction to
    Statistical Quality Control, chapter 9.1. Slack and limit grow with the stream's own noise: where cameras cut or people
    move, scores spread several times as wide as where they do not. S is bounded, so that one wild score is forgotten soon.
    """
    score, low, drop = judge.value, limits.low_quality, limits.quality_drop
    seconds = judge.score.duration
    smooth = score if course.smooth is None else course.smooth + _weight(seconds, limits.smoothing) * (score - course.smooth)
    usual = score if course.baseline is None else course.baseline

    judge.watch("low-quality", smooth < low.threshold, smooth >= low.threshold + low.hysteresis, smooth, usual, low)

    noise = math.sqrt(course.variance)
    slack, limit = max(drop.slack, drop.noise_slack * noise), max(drop.limit, drop.noise_limit * noise)
    fallen, fallen_since = 0.0, None
    if course.seen >= drop.warm_up:
        fallen = min(2 * limit, max(0.0, course.fallen + usual - score - slack))
        if fallen:
            fallen_since = course.fallen_since or judge.score.start
    bad = fallen > limit and score < usual - slack
    # At its end the watch is told so by a sum of zero: what was found is not held against the next stretch.
    if judge.watch("quality-drop", bad, smooth > usual - slack, smooth, usual, drop, fallen_since) == "resolved":
        fallen, fallen_since = 0.0, None

    opened = judge.watches["quality-drop"].opened is not None
    settled = _weight(seconds, drop.adapt if opened else drop.baseline)
    weight = max(settled, seconds / (course.seen + seconds)) if course.seen < drop.warm_up else settled
    variance = course.variance
    if not opened and not bad:
        first = seconds / (course.seen + USUAL_NOISE_SECONDS + seconds)
        variance += max(_weight(seconds, drop.noise), first) * ((score - usual) ** 2 - variance)
    return replace(
        course,
        smooth=smooth,
        baseline=usual + weight * (score - usual),
        seen=min(course.seen + seconds, max(drop.warm_up, 2 * drop.noise)),
        variance=variance,
        fallen=fallen,
        fallen_since=fallen_since,
    )


@dataclass(slots=True)
class _Judge:
    """Judges one segment; collects the watches as they become, and the alerts."""

    watches: dict[AlertKind, Watch]
    score: SegmentScore
    alerts: list[QualityAlert]

    @property
    def value(self) -> float:
        assert self.score.score is not None
        return self.score.score

    def signal(self, kind: AlertKind, value: float, limits: Black | Frozen) -> bool:
        """Judge a share of the picture; whether this very segment is over the threshold."""
        bad = limits.enabled and value >= limits.threshold
        self.watch(kind, bad, value < limits.threshold - limits.hysteresis, value, None, limits)
        return bad

    def watch(
        self,
        kind: AlertKind,
        bad: bool,
        good: bool,
        value: float,
        baseline: float | None,
        timing: Timing,
        since: datetime | None = None,
    ) -> str:
        """Move one watch on: "firing", "resolved" or "". since: when a bad stretch began, if not in this segment."""
        before = self.watches.get(kind, Watch())
        after, change = _moved(before, bad, good, self.score, timing, value, baseline, since)
        # Written anew, never changed in place: the state before must stay as it was.
        self.watches = self.watches | {kind: after}
        rendition = self.score.rendition or ""
        if change == "firing" and after.opened is not None:
            self.alerts.append(_alert(self.score.stream_id, rendition, kind, after.opened, self.score.segment_id))
        if change == "resolved" and before.opened is not None:
            now = replace(before.opened, value=value, baseline=baseline)
            self.alerts.append(_alert(self.score.stream_id, rendition, kind, now, self.score.segment_id, after.ended_at))
        return change


def _moved(
    watch: Watch,
    bad: bool,
    good: bool,
    score: SegmentScore,
    timing: Timing,
    value: float,
    baseline: float | None,
    begin: datetime | None,
) -> tuple[Watch, str]:
    end = _end(score)
    if watch.opened is None:
        if not bad or not timing.enabled:
            return replace(watch, since=None), ""
        since = watch.since or begin or score.start
        rested = watch.ended_at is None or end - watch.ended_at >= timedelta(seconds=timing.cool_down)
        if not rested or end - since < timedelta(seconds=timing.minimum):
            return replace(watch, since=since), ""
        return Watch(opened=Opened(since, value, baseline, score.labels)), "firing"
    if not good and timing.enabled:
        return replace(watch, since=None), ""
    since = watch.since or score.start
    if timing.enabled and end - since < timedelta(seconds=timing.clear):
        return replace(watch, since=since), ""
    return Watch(ended_at=max(since, watch.opened.started_at)), "resolved"


def _close(state: StreamState, at: datetime, segment_id: str) -> tuple[StreamState, list[QualityAlert]]:
    """Resolve whatever is open in a stream's courses: it ended, or is gone."""
    alerts = []
    courses = {}
    for name, course in state.courses.items():
        courses[name], resolved = _closed(state.stream_id, name, course, at, segment_id)
        alerts += resolved
    if state.silence is not None:
        alerts.append(_alert(state.stream_id, "", "no-segments", state.silence, segment_id, at))
    return replace(state, courses=courses, silence=None), alerts


def _closed(stream_id: str, name: str, course: Course, at: datetime, segment_id: str) -> tuple[Course, list[QualityAlert]]:
    alerts = []
    for kind, watch in course.watches.items():
        if watch.opened is not None:
            alerts.append(_alert(stream_id, name, kind, watch.opened, segment_id, max(at, watch.opened.started_at)))
    return replace(course, watches={}, fallen=0.0, fallen_since=None, smooth=None), alerts


def _keep(
    state: StreamState, name: str, course: Course, score: SegmentScore, limits: Alerts
) -> tuple[StreamState, list[QualityAlert]]:
    """The state with a course in it; renditions that are gone make room, and so do the oldest beyond the most."""
    courses = state.courses | {name: course}
    oldest_first = sorted((one for one in courses if one != name), key=lambda one: courses[one].until)
    before = _end(score) - timedelta(seconds=limits.no_segments.forget_after)
    alerts: list[QualityAlert] = []
    for place, one in enumerate(oldest_first):
        if courses[one].until < before or len(oldest_first) - place >= MOST_RENDITIONS:
            alerts += _closed(state.stream_id, one, courses.pop(one), _end(score), score.segment_id)[1]
    return replace(state, courses=courses), alerts


def _alert(
    stream_id: str, rendition: str, kind: AlertKind, opened: Opened, segment_id: str, ended_at: datetime | None = None
) -> QualityAlert:
    return QualityAlert(
        alert_id=alert_id(stream_id, rendition, kind, opened.started_at),
        stream_id=stream_id,
        rendition=rendition or None,
        kind=kind,
        state="firing" if ended_at is None else "resolved",
        started_at=opened.started_at,
        ended_at=ended_at,
        value=round(opened.value, 3),
        baseline=None if opened.baseline is None else round(opened.baseline, 3),
        segment_id=segment_id,
        labels=opened.labels,
    )


def _end(score: SegmentScore) -> datetime:
    return score.start + timedelta(seconds=score.duration)


def _weight(seconds: float, half_life: float) -> float:
    """The share of a new value that lasts so long, in an average with this half-life."""
    return 1.0 - 2.0 ** (-seconds / half_life) if half_life else 1.0
