"""Open alerts that a worker of an older version has dropped from a stream's state, because it does not know their kind. Pure.

An older worker reads a newer one's state and writes again what it knows of it. What is still on the alerts' topic is put back by
the next worker that knows the kind: else the alert would have no end, and its problem would be told once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streams.alerts.state import KEPT_APART, OpenAlert, StreamState, Watch
from streams.events import QualityAlert


def reopened(state: StreamState, alerts: Iterable[QualityAlert]) -> StreamState:
    """The state with its dropped alerts open again. alerts: the last ones of its stream on their topic, in their order.

    An alert that begins after the state, or whose beginning is in it, was not dropped: its worker was killed before it stored the
    state, and the scores are read again. Good ones among them must not end it, nor may it end others before it fires.
    """
    latest = {(alert.rendition or "", alert.kind): alert for alert in alerts}
    renditions = dict(state.renditions)
    for (name, kind), alert in latest.items():
        rendition = renditions.get(name)
        if alert.state != "firing" or kind not in KEPT_APART or rendition is None:
            continue
        watches = rendition.every_watch()
        if watches[kind].open_alert is not None or rendition.until <= alert.started_at:
            continue
        if watches[kind].pending_since == alert.started_at:
            continue
        dropped = OpenAlert(
            alert.started_at, alert.value, alert.baseline, alert.labels, alert.threshold, alert.severity, alert.cause
        )
        renditions[name] = rendition.watching(watches | {kind: Watch(open_alert=dropped)})
    return replace(state, renditions=renditions)
