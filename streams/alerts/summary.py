"""An alert in words: one sentence for people, and its address on the wall."""

from __future__ import annotations

from streams.events import QualityAlert
from streams.text import printable


def complete(alert: QualityAlert, web_url: str) -> QualityAlert:
    """The alert with its sentence and its address. web_url: address of the wall, '' where there is none."""
    url = f"{web_url}/alerts/{alert.alert_id}" if web_url else None
    return alert.model_copy(update={"summary": describe(alert), "url": url})


def describe(alert: QualityAlert) -> str:
    """An alert as a sentence of one line, whatever characters are in the stream's name."""
    source = printable(alert.stream_id if alert.rendition is None else f"{alert.stream_id} ({alert.rendition})")
    if alert.state == "firing":
        return f"{source}: {_problem(alert)}, since {alert.started_at:%H:%M:%S} UTC"
    assert alert.ended_at is not None
    seconds = (alert.ended_at - alert.started_at).total_seconds()
    return f"{source}: {alert.kind} is over after {_lasted(seconds)}, since {alert.ended_at:%H:%M:%S} UTC"


def _lasted(seconds: float) -> str:
    """A length of time as people say it: `16 s`, `12 min`, `8 h 2 min`, `2 d 4 h`."""
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def _problem(alert: QualityAlert) -> str:
    """What is wrong, against which limit, and what is usual."""
    usual = "" if alert.baseline is None else f", usual {alert.baseline:.0f}"
    points = "" if alert.threshold is None else f", limit {alert.threshold:.0f}"
    share = "" if alert.threshold is None else f", limit {alert.threshold:.0%}"
    seconds = "" if alert.threshold is None else f", limit {alert.threshold:.0f} s"
    return {
        "low-quality": f"quality is low: {alert.value:.0f}{points}{usual}",
        "quality-drop": f"quality dropped to {alert.value:.0f}{points}{usual}",
        "black": f"picture is black: {alert.value:.0%}{share}",
        "frozen": f"picture does not move: {alert.value:.0%}{share}",
        "no-segments": f"no segments for {alert.value:.0f} s{seconds}",
        "no-face": f"no face for {alert.value:.0f} s{seconds}",
        "silent": f"sound is silent: {alert.value:.0%}{share}",
    }[alert.kind]


def named(alert: QualityAlert) -> dict[str, str]:
    """The fields of a log line that say which alert it is about."""
    return {"stream_id": alert.stream_id, "kind": alert.kind, "alert_id": alert.alert_id}
