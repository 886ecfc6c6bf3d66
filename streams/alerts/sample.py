"""A made-up alert for a receiver: `fvq alerts send-test` shows that its address, token and signature work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from streams.alerts.policy import load_policy
from streams.alerts.receivers import Poster
from streams.alerts.request import RefusedError, UnavailableError
from streams.alerts.summary import complete
from streams.errors import ReceiverError, SettingsError
from streams.events import AlertCause, QualityAlert

LASTED = timedelta(seconds=30)


def send_test(policy: Path | None, name: str, web_url: str, now: datetime) -> Iterator[str]:
    """Send an alert and its end to one receiver; gives the sentence of each once the receiver has taken it.

    policy: the file. name: the receiver's. web_url: of the wall, '' without one. now: UTC. Raises `SettingsError` where there is
    no such receiver or a secret is missing, and `ReceiverError` where the receiver does not take them.
    """
    receivers = {receiver.name: receiver for receiver in load_policy(policy).receivers}
    if name not in receivers:
        names = ", ".join(receivers) or "none"
        raise SettingsError("receivers", f"there is no receiver {name!r}; the policy has {names}")
    poster = Poster(receivers[name])
    for alert in made_up(now):
        alert = complete(alert, web_url)
        try:
            poster.post([alert])
        except (RefusedError, UnavailableError) as error:
            raise ReceiverError(f"{name} did not take the alert: {error}") from None
        yield alert.summary


def made_up(now: datetime) -> tuple[QualityAlert, QualityAlert]:
    """A made-up alert as it fires, and its end. now: UTC."""
    firing = QualityAlert(
        alert_id="0000000000000000",
        stream_id="fvq-test",
        kind="quality-drop",
        state="firing",
        started_at=now - LASTED,
        value=40,
        baseline=75,
        segment_id="fvq-test/1",
        severity="warning",
        threshold=60,
        cause=AlertCause(where="unknown", text="this is a test: nothing is wrong"),
    )
    return firing, firing.model_copy(update={"state": "resolved", "ended_at": now})
