"""The receivers of alerts: the requests that Alertmanager, Slack and plain webhooks take, and how their answers count.

Addresses and tokens are in no error and no log line: a receiver is called by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3

from streams.alerts.policy import Receiver
from streams.events import QualityAlert

MOST_AT_ONCE = 50
"""Alerts in one request to Alertmanager."""

REPEAT_SECONDS = 60.0
"""Alertmanager forgets an alert that is not sent again, and keeps nothing over its restart: this is how often it is sent."""

EXPIRE_SECONDS = 5 * REPEAT_SECONDS
"""Without a repetition for this long, Alertmanager takes an alert for resolved."""

FAULTS_OF_THE_ALERT = {400, 413, 422}
"""Status codes that no repetition changes. Others may be mended: a token, an address, a server that is away."""


class RefusedError(Exception):
    """The receiver will never take this alert."""


class UnavailableError(Exception):
    """The receiver did not take the alert now. retry_after: seconds that it asked for."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Poster:
    """Posts alerts to one receiver. Raises `RefusedError` or `UnavailableError`, whose words name no address."""

    def __init__(self, receiver: Receiver) -> None:
        self._type = receiver.type
        self._url = receiver.address() + ("/api/v2/alerts" if receiver.type == "alertmanager" else "")
        token = receiver.token()
        self._headers = {"Content-Type": "application/json", "User-Agent": "fvq"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=receiver.timeout))
        self.at_once = MOST_AT_ONCE if receiver.type == "alertmanager" else 1

    def post(self, alerts: Sequence[QualityAlert]) -> None:
        """Post alerts: to Alertmanager in one request, to others in one request each."""
        if self._type == "alertmanager":
            self._request(json.dumps([as_alertmanager(alert, datetime.now(UTC)) for alert in alerts]).encode())
            return
        for alert in alerts:
            self._request(as_slack(alert) if self._type == "slack" else alert.to_bytes())

    def _request(self, body: bytes) -> None:
        try:
            # A redirect would take the token to another host.
            answer = self._pool.request("POST", self._url, body=body, headers=self._headers, redirect=False)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            # The error's own text has the address in it, so only its type is told.
            raise UnavailableError(type(error).__name__) from None
        if answer.status in FAULTS_OF_THE_ALERT:
            raise RefusedError(f"status {answer.status}")
        if not 200 <= answer.status < 300:
            raise UnavailableError(f"status {answer.status}", _seconds(answer.headers.get("Retry-After", "")))


def describe(alert: QualityAlert) -> str:
    """An alert in words."""
    where = alert.stream_id if alert.rendition is None else f"{alert.stream_id} ({alert.rendition})"
    usual = "" if alert.baseline is None else f", usual {alert.baseline:.0f}"
    shown = {
        "low-quality": f"quality is low: {alert.value:.0f}{usual}",
        "quality-drop": f"quality dropped to {alert.value:.0f}{usual}",
        "black": f"picture is black: {alert.value:.0%}",
        "frozen": f"picture does not move: {alert.value:.0%}",
        "no-segments": f"no segments for {alert.value:.0f} s",
    }[alert.kind]
    if alert.state == "firing":
        return f"{where}: {shown}, since {alert.started_at:%H:%M:%S} UTC"
    assert alert.ended_at is not None
    lasted = (alert.ended_at - alert.started_at).total_seconds()
    return f"{where}: {alert.kind} is over after {lasted:.0f} s, since {alert.ended_at:%H:%M:%S} UTC"


def as_alertmanager(alert: QualityAlert, now: datetime) -> dict[str, Any]:
    """An alert as Alertmanager's API v2 takes it. Its labels are its identity: the same when it fires and resolves."""
    labels = {_label(name): value for name, value in alert.labels.items() if value}
    labels |= {"alertname": alert.kind, "stream_id": alert.stream_id, "service": "fvq"}
    if alert.rendition is not None:
        labels["rendition"] = alert.rendition
    ends = alert.ended_at if alert.ended_at is not None else now + timedelta(seconds=EXPIRE_SECONDS)
    values = {"value": f"{alert.value:g}", "baseline": "" if alert.baseline is None else f"{alert.baseline:g}"}
    return {
        "labels": labels,
        "annotations": {"summary": describe(alert), "alert_id": alert.alert_id, "segment_id": alert.segment_id} | values,
        "startsAt": alert.started_at.isoformat(),
        "endsAt": ends.isoformat(),
    }


def as_slack(alert: QualityAlert) -> bytes:
    """The body for an incoming webhook of Slack. Its markup is escaped: a stream's name must stay a name."""
    text = describe(alert).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    sign = ":rotating_light:" if alert.state == "firing" else ":white_check_mark:"
    return json.dumps({"text": f"{sign} {text}"}).encode()


def _label(name: str) -> str:
    """A label's name with the characters that Prometheus allows."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return name if re.match(r"[a-zA-Z_]", name) else f"_{name}"


def _seconds(text: str) -> float:
    """Retry-After as seconds; 0 for a date or nonsense."""
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0
