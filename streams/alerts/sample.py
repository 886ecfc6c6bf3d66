"""A made-up alert for a receiver: `fvq alerts send-test` shows that its address, token and signature work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from streams.alerts.policy import AlertPolicy
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import Poster
from streams.alerts.request import RefusedError, UnavailableError
from streams.alerts.summary import complete
from streams.errors import ReceiverError, SettingsError
from streams.events import AlertCause, AlertKind, QualityAlert

LASTED = timedelta(seconds=30)

MEASURED: dict[AlertKind, tuple[float, float, float | None]] = {
    "quality-drop": (40.0, 60.0, 75.0), "low-quality": (30.0, 40.0, 75.0),
    "no-segments": (30.0, 20.0, None), "no-face": (30.0, 30.0, None),
}  # fmt: skip
"""Value, limit and usual value of a made-up alert; the other kinds are shares of pictures."""


def send_test(policy: AlertPolicy, name: str, web_url: str, now: datetime) -> Iterator[tuple[QualityAlert, str]]:
    """Send an alert and its end to one receiver; gives each, and the status that was answered, once the receiver has taken it.

    The alert is of a kind, severity and stream of which this receiver is told, so that it takes the way of real ones.
    name: the receiver's. web_url: of the wall, '' without one. now: UTC. Raises `SettingsError` where there is
    no such receiver or a secret is missing, and `ReceiverError` where the receiver does not take them.
    """
    receivers = {receiver.name: receiver for receiver in policy.receivers}
    if name not in receivers:
        names = ", ".join(receivers) or "none: name a policy with receivers in FVQ_ALERT_POLICY, or with --policy"
        raise SettingsError("receivers", f"there is no receiver {name!r}; the policy has {names}")
    poster = Poster(receivers[name])
    for alert in made_up(receivers[name], now):
        alert = complete(alert, web_url)
        try:
            poster.post([alert])
        except (RefusedError, UnavailableError) as error:
            raise ReceiverError(f"{name} did not take the alert: {error}") from None
        yield alert, poster.answered


def made_up(receiver: Receiver, now: datetime) -> tuple[QualityAlert, QualityAlert]:
    """A made-up alert of which a receiver is told as it fires, and its end. now: UTC."""
    kind = receiver.kinds[0] if receiver.kinds else "quality-drop"
    value, threshold, baseline = MEASURED.get(kind, (1.0, 0.95, None))
    firing = QualityAlert(
        alert_id="0000000000000000",
        stream_id="fvq-test",
        kind=kind,
        state="firing",
        started_at=now - LASTED,
        value=value,
        baseline=baseline,
        segment_id="fvq-test/1",
        severity=receiver.severity or "warning",
        threshold=threshold,
        labels=receiver.labels,
        cause=AlertCause(where="unknown", text="this is a test: nothing is wrong"),
    )
    return firing, firing.model_copy(update={"state": "resolved", "ended_at": now})
