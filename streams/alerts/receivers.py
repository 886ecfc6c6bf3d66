"""The receivers of alerts: the requests that Alertmanager, Slack and plain webhooks take, and what their answers mean.

No error and no log line holds an address or a token: they name a receiver by its name in the policy.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from urllib3.util import parse_url

from scorer.http_client import retry_after, shut_down_at
from streams.alerts.receiver_settings import Receiver
from streams.alerts.summary import describe
from streams.events import QualityAlert
from streams.text import printable

MAX_BATCH = 50
"""Most alerts in one request to Alertmanager."""

REPEAT_SECONDS = 60.0
"""How often a firing alert is sent to Alertmanager, which forgets alerts that are not sent again, and all alerts at a restart."""

EXPIRE_SECONDS = 5 * REPEAT_SECONDS
"""Alertmanager takes an alert that was not sent again for this long as resolved."""

REFUSING_STATUSES = {400, 413, 422}
"""Status codes that a repetition does not change. Others may pass: a wrong token, a wrong address, a server that is away."""


MAX_ANSWER_BYTES = 4096
"""A longer answer's body is not read. No body says more than the status, but a receiver shall be able to send a usual one."""


SIGNATURE_HEADER = "X-FVQ-Signature"
"""The header of signed requests: see `signature`."""


class RefusedError(Exception):
    """The receiver will never take this alert."""


class UnavailableError(Exception):
    """The receiver did not take the alert now. retry_after: seconds that it asked to wait, 0 for none."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Poster:
    """Posts alerts to one receiver. batch_size: most alerts to pass in one call of `post`."""

    def __init__(self, receiver: Receiver) -> None:
        self._type = receiver.type
        # `parse_url` encodes what HTTP does not allow in a host or a path.
        self._url = parse_url(receiver.address() + ("/api/v2/alerts" if receiver.type == "alertmanager" else ""))
        self._seconds = receiver.timeout
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        token = receiver.token()
        self._headers = {"Content-Type": "application/json", "User-Agent": "fvq"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._signing_secret = receiver.signing_secret()
        self.batch_size = MAX_BATCH if receiver.type == "alertmanager" else 1

    def post(self, alerts: Sequence[QualityAlert]) -> None:
        """Post alerts: to Alertmanager in one request, to others in one request each.

        Raises `RefusedError` or `UnavailableError`; their text holds no address.
        """
        if self._type == "alertmanager":
            self._request(json.dumps([as_alertmanager(alert, datetime.now(UTC)) for alert in alerts]).encode())
            return
        for alert in alerts:
            self._request(as_slack(alert) if self._type == "slack" else alert.to_bytes())

    def _request(self, body: bytes) -> None:
        until = time.monotonic() + self._seconds
        connection = self._connection()
        try:
            connection.connect()
            with shut_down_at(connection.sock, until):
                # `http.client` follows no redirect, which would send the token to another host.
                connection.request("POST", self._url.request_uri, body=body, headers=self._headers | self._signed(body))
                answer = connection.getresponse()
                if time.monotonic() >= until:
                    raise TimeoutError  # `http.client` takes headers that were cut for whole ones
                if answer.length is not None and answer.length <= MAX_ANSWER_BYTES:
                    with suppress(OSError, http.client.HTTPException):
                        answer.read()
        except (http.client.HTTPException, OSError, ValueError) as error:
            # The error's own text holds the address, so only its type is reported.
            late = time.monotonic() >= until
            raise UnavailableError(f"no answer within {self._seconds:g} s" if late else type(error).__name__) from None
        finally:
            connection.close()
        if answer.status in REFUSING_STATUSES:
            raise RefusedError(f"status {answer.status}")
        if not 200 <= answer.status < 300:
            raise UnavailableError(f"status {answer.status}", retry_after(answer.headers.get("Retry-After", "")) or 0.0)

    def _signed(self, body: bytes) -> dict[str, str]:
        """The header that proves who sent a body, where the receiver has a secret for it."""
        if self._signing_secret is None:
            return {}
        return {SIGNATURE_HEADER: signature(self._signing_secret, int(time.time()), body)}

    def _connection(self) -> http.client.HTTPConnection:
        """A connection for one request, not connected yet."""
        host = self._url.host or ""
        if self._tls is not None:
            return http.client.HTTPSConnection(host, self._url.port, timeout=self._seconds, context=self._tls)
        return http.client.HTTPConnection(host, self._url.port, timeout=self._seconds)


def signature(secret: str, seconds: int, body: bytes) -> str:
    """`t=SECONDS,v1=DIGEST` of a body: the HMAC-SHA256 of the time since 1970, a dot and the body, in hexadecimal.

    With the time in it, a receiver can refuse a request that somebody has recorded and sends again later.
    """
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def as_alertmanager(alert: QualityAlert, now: datetime) -> dict[str, Any]:
    """An alert as Alertmanager's API v2 takes it. now: UTC.

    Alertmanager identifies an alert by its labels, so they are the same when it fires and when it resolves. It refuses an end
    before the start, and takes an alert as firing until its end. So no time is after now, whatever the packager's clock says;
    of the starts that it is sent for one alert, it keeps the first.
    """
    labels = {_label(name): value for name, value in alert.labels.items() if value}
    labels |= {"alertname": alert.kind, "stream_id": alert.stream_id, "service": "fvq"}
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
    posted = {"labels": labels, "annotations": annotations, "startsAt": starts_at.isoformat(), "endsAt": ends_at.isoformat()}
    return posted if alert.url is None else posted | {"generatorURL": alert.url}


def as_slack(alert: QualityAlert) -> bytes:
    """The body for an incoming webhook of Slack. Slack's markup in a stream's name is escaped."""
    lines = [describe(alert)]
    if alert.cause is not None and alert.cause.text:
        lines.append(printable(alert.cause.text))
    text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    emoji = ":rotating_light:" if alert.state == "firing" else ":white_check_mark:"
    link = "" if alert.url is None else f"\n<{alert.url}>"
    return json.dumps({"text": f"{emoji} {text}{link}"}).encode()


def _label(name: str) -> str:
    """A label's name, with `_` for each character that Prometheus does not allow."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return name if re.match(r"[a-zA-Z_]", name) else f"_{name}"
