"""Firing alerts that a receiver is told of again: an Alertmanager of all, others of those that nobody has acknowledged."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime

from streams.alerts.acknowledge import Acknowledgements
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import REPEAT_SECONDS, TURN_SECONDS, Poster
from streams.alerts.request import RefusedError, UnavailableError
from streams.alerts.summary import named
from streams.events import QualityAlert

log = logging.getLogger(__name__)

DUE_SECONDS = 1.0
"""How often it is checked whether an alert is due to be told again, or to be silenced."""


class Repeats:
    """Tells a receiver of firing alerts again. poster: posts to it. firing: returns those of this worker that it is told of."""

    def __init__(
        self, receiver: Receiver, poster: Poster, firing: Callable[[], list[QualityAlert]], acknowledgements: Acknowledgements
    ) -> None:
        self._receiver, self._poster, self._firing, self._acknowledgements = receiver, poster, firing, acknowledgements
        self._to_alertmanager = receiver.type == "alertmanager"
        self._told: dict[str, float] = {}
        self._next = 0.0

    def tell(self, waiting: Collection[str]) -> None:
        """Post firing alerts again: to an Alertmanager all, every `REPEAT_SECONDS`; to others those that are due.

        waiting: ids of the alerts, firing or over, that the receiver still has to be told of at all: they go first.
        """
        now = time.monotonic()
        if now < self._next or not (self._receiver.repeat or self._to_alertmanager):
            return
        self._next = now + DUE_SECONDS
        try:
            if self._post_due(now, waiting) and self._to_alertmanager:
                self._next = time.monotonic() + REPEAT_SECONDS
        except UnavailableError as error:
            self._next = now + REPEAT_SECONDS
            log.warning("%s did not take the repetition of firing alerts: %s", self._receiver.name, error)

    def _post_due(self, now: float, waiting: Collection[str]) -> bool:
        """Post the due alerts while there is time; returns whether all were posted. now: monotonic seconds.

        Alerts that wait go first, but an Alertmanager gets the due ones meanwhile: it resolves an alert that is not sent again.
        """
        for alerts in self._batches(self._due(now, waiting)):
            if (waiting and not self._to_alertmanager) or time.monotonic() - now > TURN_SECONDS:
                return False
            self._post(alerts)
            # Not before: where the receiver is away, the others must stay due.
            self._told |= {alert.alert_id: now for alert in alerts}
        return True

    def _batches(self, alerts: list[QualityAlert]) -> Iterator[list[QualityAlert]]:
        """The alerts in order, as many at a time as one request of the receiver takes."""
        size = self._poster.batch_size
        return (alerts[first : first + size] for first in range(0, len(alerts), size))

    def _due(self, now: float, waiting: Collection[str]) -> list[QualityAlert]:
        """The firing alerts that were told some time ago, the longest ago first. now: monotonic seconds.

        For an Alertmanager all that were told `REPEAT_SECONDS` ago, or never. For others those that nobody has acknowledged, and
        that were told `repeat` seconds ago: this worker counts from when it first saw an alert, and while it still has to deliver
        one, from now. One that is acknowledged until some time is due at that time.
        """
        firing = self._firing()
        if self._to_alertmanager:
            self._told = {alert.alert_id: self._told.get(alert.alert_id, -math.inf) for alert in firing}
            telling, seconds = firing, REPEAT_SECONDS
        else:
            self._told = {
                alert.alert_id: now if alert.alert_id in waiting else self._told.get(alert.alert_id, now) for alert in firing
            }
            telling, seconds = self._acknowledgements.unseen(firing, datetime.now(UTC)), self._receiver.repeat
        due = [alert for alert in telling if self._told[alert.alert_id] + seconds <= now]
        return sorted(due, key=lambda alert: self._told[alert.alert_id])

    def _post(self, alerts: list[QualityAlert]) -> None:
        """Post firing alerts again; one that is refused is named, and the others arrive. Raises `UnavailableError`."""
        now = datetime.now(UTC)
        seen = {alert.alert_id: held for alert in alerts if (held := self._acknowledgements.of(alert.alert_id, now)) is not None}
        try:
            self._poster.post(alerts, seen)
        except RefusedError as error:
            if len(alerts) == 1:
                log.warning("%s refused the repetition of an alert: %s", self._receiver.name, error, extra=named(alerts[0]))
                return
            for alert in alerts:
                self._post([alert])
