"""How often an alert names its cause, and what becomes of pictures without a face: streams of `known_causes.py` are judged.

An alert's cause is right if it says where the incident is (source, rendition and which one, network), and if its leading signal
is of a family that the incident changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streams.alerts.detector import open_alerts, step
from streams.alerts.known_causes import (
    EXPECTED,
    FAMILIES,
    INCIDENT_SEGMENTS,
    USUAL_SEGMENTS,
    Incident,
    Picture,
    incidents_of,
    load_measured,
    made_score,
    scores_of,
)
from streams.alerts.limits import Alerts
from streams.alerts.state import StreamState
from streams.events import AlertCause, QualityAlert, SegmentScore

QUALITY = ("low-quality", "quality-drop")


@dataclass
class Named:
    """How often the alerts of one incident named their cause.

    streams: with the incident. silent: those in which no alert fired. alerts: that fired in it. where, signal, both: how many of
    those had the place, the leading signal, and both right. later: how many had both right ten seconds after they had fired.
    """

    streams: int = 0
    silent: int = 0
    alerts: int = 0
    where: int = 0
    signal: int = 0
    both: int = 0
    later: int = 0


@dataclass
class Faceless:
    """What became of streams that show something without a face, or with a face that is hard to find.

    found: share of the windows in which a face is found. streams: how many. paged: streams with an alert for their quality.
    no_face: those with a `no-face` alert. unruled: those that have an alert for quality where `judge_quality` is set.
    """

    found: float = 0.0
    streams: int = 0
    paged: int = 0
    no_face: int = 0
    unruled: int = 0


@dataclass
class Causes:
    """The result. named: by incident and where its cause is. faceless, harm: by what is shown."""

    named: dict[tuple[str, str], Named] = field(default_factory=lambda: defaultdict(Named))
    faceless: dict[str, Faceless] = field(default_factory=lambda: defaultdict(Faceless))
    harm: dict[str, Faceless] = field(default_factory=lambda: defaultdict(Faceless))

    def share(self) -> float:
        """The share of alerts whose cause is right, 0-1."""
        return sum(row.both for row in self.named.values()) / max(1, sum(row.alerts for row in self.named.values()))


def evaluate_causes(limits: Alerts, seed: int, repeats: int = 4) -> Causes:
    """How good the causes are with these limits.

    seed: the same one makes the same streams. repeats: streams of each clip and incident, which differ in the order of their
    segments.
    """
    measured, result = load_measured(), Causes()
    dice = np.random.default_rng(seed)
    for clip in measured.clips():
        for incident in incidents_of(measured, clip):
            for _ in range(repeats):
                _count(result.named[incident.name, incident.where], scores_of(measured, clip, incident, dice), incident, limits)
    for where, rows in (("faceless", result.faceless), ("harm", result.harm)):
        for clip, shown, rendition in measured.of(where):
            pictures = measured.pictures[clip, where, shown, rendition]
            for host in [clip] if clip in measured.clips() else measured.clips():
                _count_faceless(rows[shown], measured.usual(host, rendition), pictures, limits, dice)
    return result


def table(result: Causes) -> str:
    """The result as Markdown."""
    lines = ["| incident | where | streams | alerts | where right | signal right | both right | 10 s later |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (incident, where), row in sorted(result.named.items(), key=lambda item: item[0][::-1]):
        counts = (row.streams, row.alerts, row.where, row.signal, row.both, row.later)
        lines.append(f"| {incident} | {where} | {' | '.join(str(count) for count in counts)} |")
    lines += ["", f"The cause is right in {result.share():.1%} of the alerts.", ""]
    lines.append("| shown | face found | streams | `no-face` | paged for quality | paged without the rule |")
    lines.append("|---|---|---|---|---|---|")
    for rows in (result.faceless, result.harm):
        for shown, count in sorted(rows.items()):
            numbers = (count.streams, count.no_face, count.paged, count.unruled)
            lines.append(f"| {shown} | {count.found:.0%} | {' | '.join(str(number) for number in numbers)} |")
    return "\n".join(lines)


def report(result: Causes) -> dict[str, object]:
    """The result for JSON."""
    # `where` is the count of the alerts that had the place right, as in `Named`.
    named = [{"incident": name, "place": place} | vars(row) for (name, place), row in sorted(result.named.items())]
    return {
        "right": round(result.share(), 4),
        "incidents": named,
        "faceless": {shown: vars(row) for shown, row in result.faceless.items()},
        "harm": {shown: vars(row) for shown, row in result.harm.items()},
    }


def _count(row: Named, scores: Sequence[SegmentScore], incident: Incident, limits: Alerts) -> None:
    state, fired = _judged(scores, limits)
    inside = [alert for alert in fired if alert.cause is not None and alert.kind != "no-face"]
    latest = {alert.alert_id: alert.cause for alert in open_alerts(state)}
    row.streams += 1
    row.silent += not inside
    for alert in inside:
        assert alert.cause is not None
        where, signal = _is_right(alert.cause, incident)
        row.alerts += 1
        row.where += where
        row.signal += signal
        row.both += where and signal
        row.later += all(_is_right(latest.get(alert.alert_id) or alert.cause, incident))


def _is_right(cause: AlertCause, incident: Incident) -> tuple[bool, bool]:
    """Whether the place is right, and whether the leading signal is."""
    expected = incident.rendition if incident.where == "rendition" else None
    where = (cause.where, cause.rendition) == (incident.where, expected)
    leading = cause.signals[0].name if cause.signals else ""
    return where, any(leading in FAMILIES[family] for family in EXPECTED[incident.name])


def _judged(scores: Sequence[SegmentScore], limits: Alerts) -> tuple[StreamState, list[QualityAlert]]:
    """The last state of a stream, and the alerts that fired."""
    state, fired = StreamState("stream"), []
    for score in scores:
        state, alerts = step(state, score, limits)
        fired += [alert for alert in alerts if alert.state == "firing"]
    return state, fired


def _count_faceless(
    row: Faceless, usual: Sequence[Picture], shown: Sequence[Picture], limits: Alerts, dice: np.random.Generator
) -> None:
    """A stream of usual pictures that shows something else after a minute, judged with the limits and without their rule."""
    windows = [usual] * USUAL_SEGMENTS + [shown] * INCIDENT_SEGMENTS
    scores = [made_score(sequence, pictures, dice) for sequence, pictures in enumerate(windows)]
    kinds = {alert.kind for alert in _judged(scores, limits)[1]}
    rule_off = limits.model_copy(update={"no_face": limits.no_face.model_copy(update={"judge_quality": True})})
    found = sum(picture.faces.count > 0 for picture in shown) / len(shown)
    row.found = (row.found * row.streams + found) / (row.streams + 1)
    row.streams += 1
    row.no_face += "no-face" in kinds
    row.paged += not kinds.isdisjoint(QUALITY)
    row.unruled += not {alert.kind for alert in _judged(scores, rule_off)[1]}.isdisjoint(QUALITY)
