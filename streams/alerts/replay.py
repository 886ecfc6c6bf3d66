"""What a policy would have done: past scores through the alerts' own code, and the difference between two policies. Pure.

Two alerts of two policies are the same one where stream, rendition and kind agree and their times overlap: another limit moves an
alert's start, and with it its id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streams.alerts.clock import end_of
from streams.alerts.detector import step, tick
from streams.alerts.policy import AlertPolicy
from streams.alerts.state import StreamState
from streams.alerts.summary import complete
from streams.events import QualityAlert, SegmentScore

ROUNDING_SECONDS = 1e-3
"""After a cool-down's end, that a difference of two times is surely not before it."""

NEVER = datetime.max.replace(tzinfo=UTC)


class Replay:
    """One stream's past through one policy.

    labels: that the stream carries beside those of its scores. Scores come in the order of their starts, each once.
    """

    def __init__(self, stream_id: str, policy: AlertPolicy, labels: Mapping[str, str]) -> None:
        self._policy, self._labels = policy, dict(labels)
        self._state = StreamState(stream_id)
        self._alerts: dict[str, QualityAlert] = {}

    def add(self, score: SegmentScore) -> None:
        """Judge the next segment, and the silence before it."""
        labels = score.labels | self._labels
        self._judge_silence(end_of(score), labels)  # when a worker learns of it
        labelled = score.model_copy(update={"labels": labels}) if self._labels else score
        self._state, alerts = step(self._state, labelled, self._policy.of(labels, score.start))
        self._note(alerts)

    def alerts(self, until: datetime) -> list[QualityAlert]:
        """The alerts in order of their starts, each once: with its end, or firing where it has none.

        until: the stream is silent from its last score up to then.
        """
        self._judge_silence(until, {**self._state.labels, **self._labels})
        return sorted(self._alerts.values(), key=lambda alert: (alert.started_at, alert.kind, alert.rendition or ""))

    def _judge_silence(self, until: datetime, labels: Mapping[str, str]) -> None:
        """Judge the time without segments up to a moment: when it may fire, and when the stream is given up."""
        last, silence = self._state.until, self._policy.of(labels).no_segments
        after = silence.patience(self._state.duration)
        if last is None or (until - last).total_seconds() < after:
            return  # after most segments
        moments = [after, silence.given_up_after(self._state.duration)]
        if self._state.silence_ended_at is not None:
            rested = silence.cool_down - (last - self._state.silence_ended_at).total_seconds()
            moments.append(max(after, rested + ROUNDING_SECONDS))
        # What is due while somebody is at work fires when that is over.
        works = [work for work in self._policy.maintenance if work.concerns(labels)]
        due = [last + timedelta(seconds=seconds) for seconds in moments]
        moments += [(work[1] - last).total_seconds() for moment in due for each in works if (work := each.next(moment))]
        for seconds in sorted(moments):
            moment = last + timedelta(seconds=seconds)
            if self._state.until is None or until < moment:
                return
            state, alerts = tick(self._state, moment, seconds, self._policy.of(labels, moment))
            self._state = StreamState(self._state.stream_id) if state is None else state
            self._note(alerts)

    def _note(self, alerts: Iterable[QualityAlert]) -> None:
        for alert in alerts:
            before = self._alerts.get(alert.alert_id)
            # The end has another value: what is told of an alert is what fired.
            kept = alert if before is None else before.model_copy(update={"state": alert.state, "ended_at": alert.ended_at})
            self._alerts[alert.alert_id] = complete(kept, "") if before is None else kept


@dataclass(frozen=True)
class Difference:
    """What another policy changes.

    before, after: all alerts of each. gained: those of `after` that `before` has not; lost: the other way round.
    changed_severity: those of `after` that `before` has with another severity.
    """

    before: list[QualityAlert]
    after: list[QualityAlert]
    gained: list[QualityAlert]
    lost: list[QualityAlert]
    changed_severity: list[QualityAlert]


def difference(before: Sequence[QualityAlert], after: Sequence[QualityAlert]) -> Difference:
    """The difference between the alerts of two policies over the same past."""
    known, new = _by_place(before), _by_place(after)
    gained = [alert for alert in after if not _same(alert, known)]
    lost = [alert for alert in before if not _same(alert, new)]
    changed = [
        alert for alert in after if (same := _same(alert, known)) and all(other.severity != alert.severity for other in same)
    ]
    return Difference(list(before), list(after), gained, lost, changed)


def within(alerts: Iterable[QualityAlert], start: datetime) -> list[QualityAlert]:
    """The alerts that began at this time or later."""
    return [alert for alert in alerts if alert.started_at >= start]


def newest_end(scores: Iterable[SegmentScore]) -> datetime | None:
    """The latest end of some segments; None without any."""
    return max((end_of(score) for score in scores), default=None)


_Place = tuple[str, str | None, str]


def _by_place(alerts: Iterable[QualityAlert]) -> dict[_Place, list[QualityAlert]]:
    places: dict[_Place, list[QualityAlert]] = defaultdict(list)
    for alert in alerts:
        places[alert.stream_id, alert.rendition, alert.kind].append(alert)
    return places


def _same(alert: QualityAlert, others: Mapping[_Place, Sequence[QualityAlert]]) -> list[QualityAlert]:
    """The alerts of another policy that are this one."""
    return [
        other
        for other in others.get((alert.stream_id, alert.rendition, alert.kind), ())
        if other.started_at <= (alert.ended_at or NEVER) and alert.started_at <= (other.ended_at or NEVER)
    ]
