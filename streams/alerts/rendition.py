"""Judging one rendition: from its state and its next segment's score to the alerts that fire or resolve. Pure functions.

`judge` applies each kind's limits in turn. A kind's `Watch` decides by time: it fires once the segments were bad for long
enough, and resolves once they were good for long enough. Segments between the two limits (hysteresis) are neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from streams.alerts.averages import averaged, averaged_levels, levels_of, measured_alike, scored_alike, weight_of
from streams.alerts.clock import end_of
from streams.alerts.limits import Alerts, QualityDrop, Share, Timing
from streams.alerts.moves import USUAL_SECONDS, is_spoiled
from streams.alerts.sound import is_known, silence_of, with_segment
from streams.alerts.state import OpenAlert, RenditionState, Sound, Watch
from streams.events import AlertKind, SegmentScore

INITIAL_NOISE_SECONDS = 30.0
"""Seconds of scores that the assumed noise (`INITIAL_NOISE`) counts as."""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that fired or resolved. ended_at: None for one that fired."""

    kind: AlertKind
    alert: OpenAlert
    ended_at: datetime | None = None


def judge(state: RenditionState, score: SegmentScore, limits: Alerts) -> tuple[RenditionState, list[Change]]:
    """The state after a scored segment, and the alerts that fired or resolved. One cause raises one alert.

    state: already moved to this segment. score: of status `scored`.
    """
    watches = _Watches(state.every_watch(), score, in_maintenance=limits.in_maintenance)
    state = _judge_sound(scored_alike(measured_alike(state, score), score), watches, limits)
    signals = score.signals
    recent = averaged_levels(state.recent, levels_of(score), weight_of(score.duration, limits.smoothing))
    black = signals is not None and _judge_signal(watches, "black", signals.black, limits.black)
    # The frames of a black picture repeat too: that is not frozen as well.
    frozen = signals is not None and _judge_signal(watches, "frozen", 0.0 if black else signals.freeze, limits.frozen)
    # The score of a black or frozen picture says nothing about its quality, nor does that of a picture without a face.
    if not black and not frozen and not _judge_face(state, watches, limits):
        state = _judge_quality(state, watches, score, limits)
    elif watches.is_open("black" if black else "frozen" if frozen else "no-face"):
        state = _interrupted(state, watches)
    watches.end_disabled(limits)
    if any(change.kind == "quality-drop" and change.ended_at is not None for change in watches.changes):
        state = state.without_drop()  # however the alert ended
    return replace(state, recent=recent, glanced=score.tier == "glance").watching(watches.by_kind), watches.changes


def close(state: RenditionState, at: datetime) -> tuple[RenditionState, list[Change]]:
    """The state with nothing open, and the alerts that this resolves. at: when the rendition ended, or was given up."""
    changes = [
        Change(kind, watch.open_alert, max(at, watch.open_alert.started_at))
        for kind, watch in state.every_watch().items()
        if watch.open_alert is not None
    ]
    return replace(state.watching({}).without_drop(), smoothed=None, recent=(), missing=0.0, sound=Sound()), changes


def drop_limit(state: RenditionState, drop: QualityDrop) -> float:
    """The cumulative sum over which a rendition's scores are a drop, points."""
    return max(drop.limit, drop.noise_limit * math.sqrt(state.variance))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one segment says about one kind of alert.

    bad: it is beyond the limit. good: it is back by more than the hysteresis. value, threshold, baseline: what the alert reports.
    bad_since: when the bad stretch began, if before this segment. unsure: one look alone says so, and an alert waits for another.
    by_any_look: a glance measures it like a full look.
    """

    bad: bool
    good: bool
    value: float
    threshold: float
    baseline: float | None = None
    bad_since: datetime | None = None
    unsure: bool = False
    by_any_look: bool = False


@dataclass(slots=True)
class _Watches:
    """The watches of a rendition while one segment is judged, and the alerts that fired or resolved by it."""

    by_kind: dict[AlertKind, Watch]
    score: SegmentScore
    in_maintenance: bool
    changes: list[Change] = field(default_factory=list)

    def update(self, kind: AlertKind, reading: _Reading, timing: Timing) -> Watch:
        """Advance the watch of one kind; returns it."""
        before = self.by_kind.get(kind, Watch())
        after = _advance(before, reading, self.score, timing, self.in_maintenance)
        # A new dictionary: the state before this segment holds the old one and must not change.
        self.by_kind = self.by_kind | {kind: after}
        if before.open_alert is None and after.open_alert is not None:
            self.changes.append(Change(kind, after.open_alert))
        if before.open_alert is not None and after.open_alert is None:
            resolved = replace(before.open_alert, value=reading.value, baseline=reading.baseline)
            self.changes.append(Change(kind, resolved, after.ended_at))
        return after

    def is_open(self, kind: AlertKind) -> bool:
        """Whether the alert of a kind is open."""
        return self.by_kind.get(kind, Watch()).open_alert is not None

    def end(self, kind: AlertKind) -> None:
        """End the open alert of a kind, if there is one, with what it last reported."""
        watch, at = self.by_kind.get(kind, Watch()), end_of(self.score)
        if watch.open_alert is not None:
            ended_at = max(at, watch.open_alert.started_at)
            self.by_kind = self.by_kind | {kind: Watch(ended_at=ended_at)}
            self.changes.append(Change(kind, watch.open_alert, ended_at))

    def interrupt(self, kind: AlertKind) -> None:
        """Forget the bad or good stretch of a kind, if there is one."""
        if (watch := self.by_kind.get(kind)) is not None:
            self.by_kind = self.by_kind | {kind: _pending(watch, None)}

    def end_disabled(self, limits: Alerts) -> None:
        """End the open alerts of kinds that were disabled meanwhile and that this segment says nothing about."""
        for kind in self.by_kind:
            if not getattr(limits, kind.replace("-", "_")).enabled:
                self.end(kind)


def _pending(watch: Watch, since: datetime | None) -> Watch:
    """The watch with a stretch that began then; the same object where it has it, as in nearly all segments."""
    return watch if watch.pending_since == since else replace(watch, pending_since=since)


def _advance(watch: Watch, reading: _Reading, score: SegmentScore, timing: Timing, in_maintenance: bool) -> Watch:
    """A watch after one segment: it opens an alert after `minimum` bad seconds, and ends it after `clear` good ones.

    in_maintenance: no alert opens; one that is due opens with the first segment after it.
    """
    end = end_of(score)
    repeats = score.tier == "glance" and not reading.by_any_look
    if repeats and timing.enabled and (watch.open_alert is None or watch.pending_since is None):
        # A glance repeats what a full look said: it begins no stretch and opens no alert. It lets the time pass in which the good
        # stretch that a full look began must last.
        return watch
    if watch.open_alert is None:
        if not reading.bad or not timing.enabled:
            return _pending(watch, None)
        since = watch.pending_since or reading.bad_since or score.start
        rested = watch.ended_at is None or end - watch.ended_at >= timedelta(seconds=timing.cool_down)
        if in_maintenance or not rested or reading.unsure or end - since < timedelta(seconds=timing.minimum):
            return _pending(watch, since)
        alert = OpenAlert(since, reading.value, reading.baseline, score.labels, reading.threshold, timing.severity)
        return Watch(open_alert=alert)
    # A kind that was disabled meanwhile resolves at once.
    if not reading.good and timing.enabled:
        return _pending(watch, None)
    since = watch.pending_since or score.start
    if timing.enabled and end - since < timedelta(seconds=timing.clear):
        return _pending(watch, since)
    return Watch(ended_at=max(since, watch.open_alert.started_at))


def _judge_signal(watches: _Watches, kind: AlertKind, share: float, limits: Share) -> bool:
    """Judge a share of the picture, 0 to 1; returns whether this segment alone is over the threshold."""
    bad = limits.enabled and share >= limits.threshold
    watches.update(kind, _Reading(bad, share < limits.good_under, share, limits.threshold), limits)
    return bad


def _judge_sound(state: RenditionState, watches: _Watches, limits: Alerts) -> RenditionState:
    """Judge whether a stream that had sound has none; returns the state with the segment's sound in it.

    A silence is no fault of a stream that is always silent, so only one that had sound has an alert.
    """
    score, silent = watches.score, limits.silent
    silence = silence_of(score)
    if silence is None:
        return state
    bad = silence >= silent.threshold and is_known(state.sound, limits)
    reading = _Reading(bad, silence < silent.good_under, silence, silent.threshold, by_any_look=True)
    watches.update("silent", reading, silent)
    return replace(state, sound=with_segment(state.sound, score, silence, limits))


def _judge_face(state: RenditionState, watches: _Watches, limits: Alerts) -> bool:
    """Judge whether there is a face; returns whether this segment's score says nothing because there is none.

    A face that cannot be found because the picture is bad is not absent: the quality of such a segment is judged as ever. Once
    a face is absent for so long that its alert fires, the alerts on the quality of what was shown before are over.
    """
    score, no_face = watches.score, limits.no_face
    if score.faces is None:
        return False  # nobody has looked for one
    absent = score.faces.count == 0 and not is_spoiled(state, levels_of(score))
    watch = watches.by_kind.get("no-face", Watch())
    began = watch.open_alert.started_at if watch.open_alert is not None else watch.pending_since or score.start
    seconds = (end_of(score) - began).total_seconds()
    after = watches.update("no-face", _Reading(absent, score.faces.count > 0, seconds, no_face.minimum), no_face)
    ignored = absent and no_face.enabled and not no_face.judge_quality
    if ignored and after.open_alert is not None:
        watches.end("low-quality")
        watches.end("quality-drop")
    return ignored


def _interrupted(state: RenditionState, watches: _Watches) -> RenditionState:
    """The state while an alert says what hides the picture: what its quality was before is not continued after it.

    A programme that fades into a slate and out of it again has a bad segment at each end, which must not add up to a drop.
    """
    for kind in ("low-quality", "quality-drop"):
        watches.interrupt(kind)
    return replace(state.without_drop(), smoothed=None)


def _judge_quality(state: RenditionState, watches: _Watches, score: SegmentScore, limits: Alerts) -> RenditionState:
    """Judge the score by the threshold and against the baseline; returns the state with all averages moved on.

    A drop is found by the one-sided cumulative sum S = max(0, S + baseline - score - slack) > limit of E. S. Page,
    Continuous inspection schemes, Biometrika 41 (1954). The slack (reference value) is half of the shift to find, and the
    stretch in which S was last zero is the estimate of its begin: D. C. Montgomery, Introduction to Statistical Quality
    Control, chapter 9.1. Slack and limit grow with the stream's own noise: where cameras cut or people move, scores spread
    several times as wide as where they do not. S is bounded, so that one wild score is forgotten soon.

    A glance's score is a full look's once more: it moves what is usual, and adds nothing to S and to the noise.
    """
    # Of one model for all segments: a change from one model to the other must not look like a drop.
    value = score.small_score
    assert value is not None
    low, drop = limits.low_quality, limits.quality_drop
    smoothed = averaged(state.smoothed, value, weight_of(score.duration, limits.smoothing))
    baseline = value if state.baseline is None else state.baseline

    bad, good = smoothed < low.threshold, smoothed >= low.good_from
    watches.update("low-quality", _Reading(bad, good, smoothed, low.threshold, baseline, unsure=state.glanced), low)

    slack, limit = max(drop.slack, drop.noise_slack * math.sqrt(state.variance)), drop_limit(state, drop)
    if score.tier == "glance":
        good = smoothed > baseline - slack
        watches.update("quality-drop", _Reading(False, good, smoothed, baseline - slack, baseline), drop)
        return _with_usual(replace(state, smoothed=smoothed), watches, score, drop)
    cusum, cusum_since = 0.0, None
    if state.baseline_seconds >= drop.warm_up:
        cusum = min(2 * limit, max(0.0, state.cusum + baseline - value - slack))
        if cusum:
            cusum_since = state.cusum_since or score.start
    bad, good = cusum > limit and value < baseline - slack, smoothed > baseline - slack
    before = state.watches.get("quality-drop", Watch()).open_alert
    dropped = watches.update(
        "quality-drop", _Reading(bad, good, smoothed, baseline - slack, baseline, cusum_since, state.glanced), drop
    ).open_alert
    state = replace(state, smoothed=smoothed, cusum=cusum, cusum_since=cusum_since)
    if before is not None and dropped is None:
        state = state.without_drop()  # the alert resolved
    state = state if dropped is not None or bad else _with_noise(state, value, score.duration, drop)
    return _with_usual(state, watches, score, drop)


def _with_usual(state: RenditionState, watches: _Watches, score: SegmentScore, drop: QualityDrop) -> RenditionState:
    """The state with a segment in what is usual: also a glance's, which says that the stream is as it was."""
    assert score.small_score is not None
    is_open = watches.by_kind.get("quality-drop", Watch()).open_alert is not None
    half_life = drop.adapt if is_open else drop.baseline
    state = _with_usual_signals(state, score, half_life, drop)
    return _with_baseline(state, score.small_score, score.duration, drop, is_open)


def _with_noise(state: RenditionState, value: float, seconds: float, drop: QualityDrop) -> RenditionState:
    """The state with a score in its noise. Bad scores are kept out: a drop must not widen its own limit."""
    usual = value if state.baseline is None else state.baseline
    first = seconds / (state.baseline_seconds + INITIAL_NOISE_SECONDS + seconds)
    weight = max(weight_of(seconds, drop.noise), first)
    return replace(state, variance=averaged(state.variance, (value - usual) ** 2, weight))


def _with_usual_signals(state: RenditionState, score: SegmentScore, half_life: float, drop: QualityDrop) -> RenditionState:
    """The state with a segment in its usual signals, which are averaged like the baseline. half_life: seconds."""
    levels, seconds = levels_of(score), score.duration
    known = state.usual_seconds if len(state.usual) == len(levels) else 0.0
    weight = weight_of(seconds, half_life)
    if known < drop.warm_up:
        weight = max(weight, seconds / (known + seconds))
    counted = min(known + seconds, max(drop.warm_up, USUAL_SECONDS)) if levels else known
    return replace(state, usual=averaged_levels(state.usual, levels, weight), usual_seconds=counted)


def _with_baseline(state: RenditionState, value: float, seconds: float, drop: QualityDrop, is_open: bool) -> RenditionState:
    """The state with a score in its baseline. is_open: whether the alert for a drop is open.

    The baseline is the plain mean until it has seen so much that the half-life alone forgets faster: a few noisy scores at the
    beginning must not be what is usual for minutes. A drop that may be beginning (a quarter of the limit: noise alone is seldom
    over it), or lasts, changes it by the half-life alone.
    """
    weight = weight_of(seconds, drop.adapt if is_open else drop.baseline)
    may_begin = state.cusum > drop_limit(state, drop) / 4
    if state.baseline_seconds < drop.warm_up or not (is_open or may_begin):
        weight = max(weight, seconds / (state.baseline_seconds + seconds))
    baseline = value if state.baseline is None else state.baseline
    counted = min(state.baseline_seconds + seconds, max(drop.warm_up, 2 * drop.noise, 2 * drop.baseline))
    return replace(state, baseline=averaged(baseline, value, weight), baseline_seconds=counted)
