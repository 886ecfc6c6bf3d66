"""Silences of an Alertmanager: an alert that somebody has acknowledged is not told again by it either.

A silence matches labels, so it is for the alert's kind, stream and rendition. Its comment has the alert's id, by which it is
found again: after a restart, and by whichever worker has the stream then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from streams.alerts.acknowledge import Acknowledgements
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import TURN_SECONDS
from streams.alerts.request import Address, RefusedError
from streams.events import AlertAcknowledgement, QualityAlert
from streams.text import printable

LONGEST = timedelta(hours=4)
"""A silence ends after this unless it is made longer: nothing stays silent for good if no worker is left."""

RENEWED_BEFORE = timedelta(hours=1)
"""A silence is made longer this long before its end, as long as its acknowledgement holds."""

MOST_BYTES = 1 << 20
"""Alertmanager's list of one stream's silences is read up to this length."""

AUTHOR = "fvq"


class Silencer:
    """Keeps an Alertmanager's silences in line with the acknowledgements. Methods raise `RefusedError` or `UnavailableError`.

    No call begins a request after `TURN_SECONDS`: what is left is done by the next `update`.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._address = Address(receiver)
        self._kept: dict[str, tuple[AlertAcknowledgement, datetime]] = {}
        self._looked: set[str] = set()
        self._turns: dict[str, float] = {}
        self._over: dict[str, QualityAlert] = {}

    def update(self, firing: Iterable[QualityAlert], acknowledgements: Acknowledgements, now: datetime) -> None:
        """Make, renew and end silences. firing: the open alerts of this worker. now: UTC.

        A silence whose alert is with another worker by now is left to that one. Raises the first refusal at the end.

        An alert that is new to this worker may have a silence of another one, whose acknowledgement was taken back when no
        worker had the stream. It is looked for once, after all that is known to be due.
        """
        until = time.monotonic() + TURN_SECONDS
        alerts = {alert.alert_id: alert for alert in firing}
        self._kept = {alert_id: kept for alert_id, kept in self._kept.items() if alert_id in alerts}
        self._turns = {alert_id: turn for alert_id, turn in self._turns.items() if alert_id in alerts}
        self._over = {
            alert_id: alert
            for alert_id, alert in self._over.items()
            if alert_id not in alerts and now - (alert.ended_at or now) < LONGEST
        }
        self._looked &= alerts.keys()
        refusals: list[RefusedError] = []
        # Those first that waited longest: where some are refused each time, the others have their turn all the same.
        for alert_id in sorted(alerts, key=lambda alert_id: self._turns.get(alert_id, 0.0)):
            if time.monotonic() > until:
                break
            alert, self._turns[alert_id] = alerts[alert_id], time.monotonic()
            seen = acknowledgements.of(alert_id, now)
            with _noted(refusals):
                if seen is not None:
                    self._keep(alert, seen, now)
                elif alert_id in self._kept:
                    self.end(alert)
                    del self._kept[alert_id]
        for alert in acknowledgements.unseen(alerts.values(), now) if acknowledgements.complete else []:
            if alert.alert_id in self._looked:
                continue
            if time.monotonic() > until:
                break
            with _noted(refusals):
                self.end(alert)
            self._looked.add(alert.alert_id)  # also where it was refused, which a repetition does not change
        refusals += self._end_over(until)  # last: one that nobody answers is asked for again and again
        if refusals:
            raise refusals[0]

    def end_resolved(self, alerts: Iterable[QualityAlert]) -> None:
        """End the silences of alerts that have resolved: one that goes on would hide the next alert of its kind.

        Where nobody answers, the next `update` does it. One that is refused ends by itself, within `LONGEST`.
        """
        self._over |= {alert.alert_id: alert for alert in alerts}
        if refusals := self._end_over(time.monotonic() + TURN_SECONDS):
            raise refusals[0]

    def _end_over(self, until: float) -> list[RefusedError]:
        """End silences of resolved alerts until a time, monotonic seconds; returns the refusals."""
        refusals: list[RefusedError] = []
        while self._over and time.monotonic() <= until:
            alert_id, alert = next(iter(self._over.items()))
            with _noted(refusals):
                self.end(alert)
            del self._over[alert_id]
        return refusals

    def end(self, alert: QualityAlert) -> None:
        """End the silences of an alert, by whichever worker they were made."""
        for silence in self._find(alert):
            self._address.request("DELETE", f"/api/v2/silence/{silence['id']}")

    def _keep(self, alert: QualityAlert, seen: AlertAcknowledgement, now: datetime) -> None:
        known, ends_at = self._kept.get(alert.alert_id, (None, now))
        limited = seen.until is not None and ends_at >= seen.until
        if known == seen and (limited or ends_at - now > RENEWED_BEFORE):
            return
        silence = as_silence(alert, seen, now)
        present = self._find(alert)
        if present:
            silence["id"] = present[0]["id"]
        self._address.request("POST", "/api/v2/silences", json.dumps(silence).encode())
        self._kept[alert.alert_id] = seen, datetime.fromisoformat(silence["endsAt"])
        self._looked.add(alert.alert_id)

    def _find(self, alert: QualityAlert) -> list[dict[str, Any]]:
        """The silences of an alert that have not ended."""
        filters = [("filter", f"{matcher['name']}={_quoted(matcher['value'])}") for matcher in matchers_of(alert)]
        answer = self._address.request("GET", f"/api/v2/silences?{urlencode(filters)}", most=MOST_BYTES)
        try:
            silences = json.loads(answer or b"[]")
            return [
                silence
                for silence in silences
                if silence["createdBy"].startswith(f"{AUTHOR}: ")
                and f"alert {alert.alert_id}" in silence["comment"]
                and silence["status"]["state"] != "expired"
                and isinstance(silence["id"], str)
                and silence["id"].replace("-", "").isalnum()
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            return []  # not an Alertmanager's answer


@contextmanager
def _noted(refusals: list[RefusedError]) -> Iterator[None]:
    """A refusal within is noted, so that the other alerts have their turn."""
    try:
        yield
    except RefusedError as error:
        refusals.append(error)


def matchers_of(alert: QualityAlert) -> list[dict[str, Any]]:
    """The matchers of an alert's silence: kind, stream and rendition, as `as_alertmanager` labels them."""
    values = {"alertname": alert.kind, "stream_id": alert.stream_id, "rendition": alert.rendition or ""}
    return [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in values.items()]


def _quoted(value: str) -> str:
    """A value as Alertmanager's filters take it: it knows no other escapes than these."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def as_silence(alert: QualityAlert, seen: AlertAcknowledgement, now: datetime) -> dict[str, Any]:
    """An acknowledged alert's silence as Alertmanager's API v2 takes it, from now, UTC, to the acknowledgement's end."""
    ends_at = now + LONGEST if seen.until is None else min(seen.until, now + LONGEST)
    note = f": {printable(seen.note)}" if seen.note else ""
    return {
        "matchers": matchers_of(alert),
        "startsAt": now.isoformat(),
        "endsAt": ends_at.isoformat(),
        "createdBy": f"{AUTHOR}: {printable(seen.by)}",
        "comment": f"acknowledged, alert {alert.alert_id}{note}",
    }
