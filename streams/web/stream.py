"""A stream as the wall knows it, and the row that says how it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.events import AlertAcknowledgement, QualityAlert
from streams.web.pictures import Pictures
from streams.web.rendition import Rendition, is_stale

STATES = (
    "ok", "low-quality", "quality-drop", "black", "frozen", "silent", "no-segments", "no-face", "skipped", "stale", "ended",
    "unknown",
)  # fmt: skip
"""What a row's state can be; its place here is the state's number on the socket. Names are added at the end only."""

URGENCY = ("black", "no-segments", "frozen", "quality-drop", "low-quality", "silent", "no-face")
"""Kinds of alerts, the most urgent first."""

SEVERITIES = {"critical": 0, "warning": 10, "info": 20}

NO_ALERT = 100
"""The rank of a stream without an alert that somebody has to look at."""


@dataclass(frozen=True, slots=True)
class Row:
    """How a stream is now, by its worst rendition. Times in seconds since 1970.

    kind: of the alert that stands for the stream, a silence before its worst one; '' without any. smoothed: the score over the
    last seconds, by which rows are ordered. since: start of the worst alert, or when the level of
    the score last changed. rank: of the worst alert that nobody has acknowledged; smaller is more urgent. acked: it has alerts,
    and all are acknowledged. at: end of the last segment. maintenance: when that ends which it is in; None for none.
    """

    stream_id: str
    rendition: str | None
    labels: dict[str, str]
    state: str
    kind: str
    since: float
    score: float | None
    smoothed: float | None
    usual: float | None
    uncertainty: float | None
    lag: float | None
    rank: int
    acked: bool
    alerts: tuple[str, ...]
    at: float
    segment_id: str
    model: str
    maintenance: float | None

    def worst_first(self) -> tuple[int, float, str]:
        """The key by which the worst stream comes first."""
        return self.rank, 1000.0 if self.smoothed is None else round(self.smoothed, 2), self.stream_id


@dataclass(slots=True)
class Stream:
    """One stream. alerts: those that fire, by id. knows_usual: the alert agent tells its usual score. judged: when the latest
    score was written that is in the agent's first state, seconds since 1970.
    """

    id: str
    labels: dict[str, str] = field(default_factory=dict)
    renditions: dict[str, Rendition] = field(default_factory=dict)
    alerts: dict[str, QualityAlert] = field(default_factory=dict)
    pictures: Pictures = field(default_factory=Pictures)
    ended: bool = False
    knows_usual: bool = False
    judged: float = 0.0
    row: Row | None = None

    @property
    def received(self) -> float:
        """When the stream's last score was written; before the first one, when its picture was taken."""
        seen = self.pictures.last.taken if self.pictures.last is not None else 0.0
        return max((rendition.received for rendition in self.renditions.values()), default=seen)


def rank_of(alert: QualityAlert) -> int:
    """The urgency of an alert; smaller is more urgent."""
    kind = URGENCY.index(alert.kind) if alert.kind in URGENCY else len(URGENCY)
    return SEVERITIES.get(alert.severity or "warning", 10) + kind


def is_acknowledged(ack: AlertAcknowledgement | None, now: float) -> bool:
    """Whether an acknowledgement holds now."""
    return ack is not None and (ack.until is None or ack.until.timestamp() > now)


def turns_stale(stream: Stream, row: Row, now: float) -> bool:
    """Whether time alone has made a row wrong: its score is too old since it was made."""
    if row.state in ("stale", "ended", "no-segments"):
        return False
    rendition = stream.renditions.get(row.rendition or "")
    return rendition is not None and is_stale(rendition, now)


def row_of(stream: Stream, acks: Mapping[str, AlertAcknowledgement], now: float, maintenance: float | None = None) -> Row:
    """The stream's row at this time. maintenance: when that ends which the stream is in, seconds since 1970."""
    open_ranks = {
        id: NO_ALERT + rank_of(alert) if is_acknowledged(acks.get(id), now) else rank_of(alert)
        for id, alert in stream.alerts.items()
    }
    worst_alert = min(stream.alerts.values(), key=lambda alert: (open_ranks[alert.alert_id], alert.started_at), default=None)
    worst = min(stream.renditions.values(), key=lambda rendition: _badness(stream, rendition, open_ranks, now), default=None)
    acked = bool(open_ranks) and all(rank >= NO_ALERT for rank in open_ranks.values())
    rank = min(NO_ALERT, *open_ranks.values()) if open_ranks else NO_ALERT
    alerts = tuple(sorted(open_ranks, key=lambda id: (open_ranks[id], id)))
    since = worst_alert.started_at.timestamp() if worst_alert is not None else 0.0
    kind = _kind(stream, worst_alert)
    if worst is None:
        state = _state(stream, None, kind, now)
        return Row(
            stream.id, None, stream.labels, state, kind, since, None, None, None, None, None, rank, acked, alerts, 0.0, "", "",
            maintenance,
        )  # fmt: skip
    return Row(
        stream_id=stream.id,
        rendition=worst.name or None,
        labels=stream.labels,
        state=_state(stream, worst, kind, now),
        kind=kind,
        since=since or worst.level_since,
        score=worst.score,
        smoothed=worst.smoothed,
        usual=worst.usual,
        uncertainty=worst.uncertainty,
        lag=worst.lag,
        rank=rank,
        acked=acked,
        alerts=alerts,
        at=worst.until,
        segment_id=worst.segment_id,
        model=worst.model,
        maintenance=maintenance,
    )


def _badness(stream: Stream, rendition: Rendition, open_ranks: Mapping[str, int], now: float) -> tuple[int, bool, float, str]:
    """Smaller for the worse rendition: by its own alerts, then one whose score is not stale, then by its smoothed score."""
    own = [open_ranks[id] for id, alert in stream.alerts.items() if (alert.rendition or "") == rendition.name]
    score = 1000.0 if rendition.smoothed is None else rendition.smoothed
    return min(own, default=3 * NO_ALERT), is_stale(rendition, now), score, rendition.name


def _kind(stream: Stream, worst: QualityAlert | None) -> str:
    """The kind of the alert that stands for a stream, '' without any. Without segments nobody knows whether the others hold."""
    if any(alert.kind == "no-segments" for alert in stream.alerts.values()):
        return "no-segments"
    return str(worst.kind) if worst is not None else ""


def _state(stream: Stream, rendition: Rendition | None, kind: str, now: float) -> str:
    """What a row says first: a silence, then an end, then old age, then what the picture shows. kind: of its alert."""
    if kind == "no-segments":
        return kind
    if stream.ended:
        return "ended"
    if rendition is None:
        return kind or "unknown"
    if is_stale(rendition, now):
        return "stale"
    if kind:
        return kind
    if rendition.black:
        return "black"
    if rendition.frozen:
        return "frozen"
    if rendition.status == "skipped":
        return "skipped"
    return "ok" if rendition.smoothed is not None else "unknown"
