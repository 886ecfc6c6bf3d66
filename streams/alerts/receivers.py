"""The receivers of alerts: what Alertmanager, Slack and plain webhooks are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.alerts.receiver_settings import Receiver
from streams.alerts.request import Address
from streams.alerts.summary import describe
from streams.events import AlertAcknowledgement, QualityAlert
from streams.text import printable

MAX_BATCH = 50
"""Most alerts in one request to Alertmanager."""

REPEAT_SECONDS = 60.0
"""How often a firing alert is sent to Alertmanager, which forgets alerts that are not sent again, and all alerts at a restart."""

TURN_SECONDS = 5.0
"""Longest time for repetitions before the next poll, and for asking an Alertmanager for silences. While a new alert waits, only
an Alertmanager gets repetitions. Thousands of them at a slow receiver would take minutes, and Kafka would give the partitions
to another member."""

EXPIRE_SECONDS = 5 * REPEAT_SECONDS
"""Alertmanager takes an alert that was not sent again for this long as resolved."""


class Poster:
    """Posts alerts to one receiver. batch_size: most alerts to pass in one call of `post`."""

    def __init__(self, receiver: Receiver) -> None:
        self._type, self._address = receiver.type, Address(receiver)
        self.batch_size = MAX_BATCH if receiver.type == "alertmanager" else 1

    @property
    def answered(self) -> str:
        """What the receiver answered last, as `200 OK`."""
        return self._address.answered

    def post(self, alerts: Sequence[QualityAlert], seen: Mapping[str, AlertAcknowledgement] | None = None) -> None:
        """Post alerts: to Alertmanager in one request, to others in one request each.

        seen: the acknowledgements of those that have one, by alert id; Alertmanager is told who it was. Raises `RefusedError` or
        `UnavailableError`; their text holds no address.
        """
        if self._type == "alertmanager":
            now = datetime.now(UTC)
            posted = [as_alertmanager(alert, now, (seen or {}).get(alert.alert_id)) for alert in alerts]
            self._address.request("POST", "/api/v2/alerts", json.dumps(posted).encode())
            return
        for alert in alerts:
            self._address.request("POST", body=as_slack(alert) if self._type == "slack" else alert.to_bytes())


def as_alertmanager(alert: QualityAlert, now: datetime, seen: AlertAcknowledgement | None = None) -> dict[str, Any]:
    """An alert as Alertmanager's API v2 takes it. now: UTC. seen: its acknowledgement.

    Alertmanager identifies an alert by its labels, so they are the same when it fires and when it resolves. It refuses an end
    before the start, and takes an alert as firing until its end. So no time is after now, whatever the packager's clock says;
    of the starts that it is sent for one alert, it keeps the first.
    """
    labels = {_label(name): value for name, value in alert.labels.items() if value}
    labels |= {"alertname": alert.kind, "stream_id": alert.stream_id, "service": "fvq"}
    labels.pop("rendition", None)  # a silence's matchers are about the alert's own
    if alert.rendition is not None:
        labels["rendition"] = alert.rendition
    if alert.severity is not None:
        labels["severity"] = alert.severity
    starts_at = min(alert.started_at, now)
    ends_at = now + timedelta(seconds=EXPIRE_SECONDS) if alert.ended_at is None else max(starts_at, min(alert.ended_at, now))
    values = {"value": f"{alert.value:g}", "baseline": "" if alert.baseline is None else f"{alert.baseline:g}"}
    values["threshold"] = "" if alert.threshold is None else f"{alert.threshold:g}"
    values["cause"] = "" if alert.cause is None else printable(alert.cause.text)
    annotations = {"summary": describe(alert), "alert_id": alert.alert_id, "segment_id": alert.segment_id} | values
    if seen is not None:
        # Not a label: labels say which alert it is.
        annotations["acknowledged_by"] = printable(seen.by)
    posted = {"labels": labels, "annotations": annotations, "startsAt": starts_at.isoformat(), "endsAt": ends_at.isoformat()}
    return posted if alert.url is None else posted | {"generatorURL": alert.url}


def as_slack(alert: QualityAlert) -> bytes:
    """The body for an incoming webhook of Slack. Slack's markup in a stream's name is escaped."""
    urgent = f" ({alert.severity})" if alert.severity is not None and alert.state == "firing" else ""
    lines = [f"{describe(alert)}{urgent}"]
    if alert.cause is not None and alert.cause.text:
        lines.append(printable(alert.cause.text))
    text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    emoji = ":rotating_light:" if alert.state == "firing" else ":white_check_mark:"
    link = "" if alert.url is None else f"\n<{alert.url}|on the wall: pictures, course, clips>"
    return json.dumps({"text": f"{emoji} {text}{link}"}).encode()


def _label(name: str) -> str:
    """A label's name, with `_` for each character that Prometheus does not allow."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return name if re.match(r"[a-zA-Z_]", name) else f"_{name}"
