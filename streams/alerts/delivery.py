"""Delivery of alerts: a courier for each receiver brings it the alerts of the topic.

Each receiver has a consumer group of its own, so its place in the topic survives the worker, and a receiver that is down holds
back neither the others nor the scoring. The offset of an alert is committed when the receiver has taken it: killed in between,
the courier delivers it again, with the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import TopicPartition

from streams import metrics
from streams.alerts.policy import Receiver
from streams.alerts.receivers import MOST_AT_ONCE, REPEAT_SECONDS, Poster, RefusedError, UnavailableError
from streams.errors import EventError
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, Member

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before an attempt is repeated, doubled each time up to the longest."""

MOST_WAITING = 500
"""Alerts of a receiver that are held in memory; the others wait in Kafka."""

POLL_SECONDS, POLL_RECORDS = 0.2, 100


@dataclass(frozen=True)
class _Waiting:
    """A message that is not committed yet. alert: None where this receiver does not want it."""

    at: TopicPartition
    offset: int
    alert: QualityAlert | None


class Courier:
    """Brings one receiver its alerts.

    group: the scorers' group. firing: gives the alerts that fire in the streams of this worker, which are repeated to an
    Alertmanager.
    """

    def __init__(
        self, connection: Connection, group: Group, receiver: Receiver, firing: Callable[[], list[QualityAlert]]
    ) -> None:
        self._connection, self._group, self._receiver, self._firing = connection, group, receiver, firing
        self._poster = Poster(receiver)
        self._waiting: deque[_Waiting] = deque()
        self._wait, self._next_try, self._next_repeat = FIRST_WAIT, 0.0, 0.0

    def agent(self) -> Agent:
        """The agent that runs it."""
        return Agent(f"alerts to {self._receiver.name}", self.run)

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; alerts that are not delivered then stay in the topic."""
        self._waiting.clear()
        with Member(self._connection, self._group.of(f"alerts.{self._receiver.name}"), [ALERTS_TOPIC]) as member:
            # It polls while the receiver is down as well: a consumer that does not poll loses its partitions.
            for batch in member.batches(stop, self._poll_seconds, POLL_RECORDS):
                self._take(member.consumer, batch)
                if time.monotonic() >= self._next_try:
                    self._repeat()
                    self._deliver(member, stop)

    def _poll_seconds(self) -> float:
        due = self._waiting and time.monotonic() >= self._next_try
        return 0.0 if due else POLL_SECONDS

    def _take(self, consumer: Any, batch: Batch) -> None:
        """Queue the messages of a batch, and stop reading while too many wait."""
        if batch.reassigned:
            # The waiting alerts are delivered by the worker that has their partition now, or are read here once more.
            self._waiting.clear()
            for at in consumer.assignment():
                committed = consumer.committed(at)
                consumer.seek_to_beginning(at) if committed is None else consumer.seek(at, committed)
        else:
            for at, records in batch.records.items():
                self._waiting.extend(_Waiting(at, record.offset, self._wanted(record.value)) for record in records)
        if len(self._waiting) >= MOST_WAITING:
            consumer.pause(*consumer.assignment())
        elif consumer.paused():
            consumer.resume(*consumer.paused())

    def _wanted(self, value: bytes) -> QualityAlert | None:
        try:
            alert = QualityAlert.from_bytes(value)
        except EventError as error:
            log.warning("a message on %s is no alert: %s", ALERTS_TOPIC, error)
            return None
        return alert if self._receiver.accepts(alert) else None

    def _deliver(self, member: Member, stop: threading.Event) -> None:
        """Post the first alerts that wait, in one request, and commit them."""
        while self._waiting and not stop.is_set():
            taken: list[_Waiting] = []
            alerts: list[QualityAlert] = []
            for waiting in self._waiting:
                if len(alerts) == self._poster.at_once or len(taken) == MOST_WAITING:
                    break
                taken.append(waiting)
                if waiting.alert is not None and not self._too_old(waiting.alert):
                    alerts.append(waiting.alert)
            if not self._post(alerts):
                return
            for _ in taken:
                self._waiting.popleft()
            member.commit({waiting.at: waiting.offset + 1 for waiting in taken})
            if alerts:
                return  # poll again before the next request

    def _post(self, alerts: list[QualityAlert]) -> bool:
        """Whether the receiver has taken or refused all of them; False where they have to be posted again."""
        if not alerts:
            return True
        name = self._receiver.name
        try:
            self._poster.post(alerts)
        except UnavailableError as error:
            pause = max(self._wait, min(error.retry_after, LONGEST_WAIT))
            metrics.RETRIES.labels(f"alerts to {name}").inc()
            log.warning("alerts to %s failed, trying again in %.0f s: %s", name, pause, error)
            self._next_try = time.monotonic() + pause
            self._wait = min(LONGEST_WAIT, self._wait * 2)
            return False
        except RefusedError as error:
            if len(alerts) > 1:
                # One of them is at fault; posted one by one, the others arrive.
                return all(self._post([alert]) for alert in alerts)
            metrics.ALERT_DELIVERIES.labels(name, "refused").inc()
            log.error("%s refused an alert: %s", name, error, extra={"alert_id": alerts[0].alert_id})
        else:
            metrics.ALERT_DELIVERIES.labels(name, "delivered").inc(len(alerts))
        self._wait = FIRST_WAIT
        return True

    def _repeat(self) -> None:
        """Post the firing alerts to an Alertmanager again, from time to time."""
        now = time.monotonic()
        if self._receiver.type != "alertmanager" or now < self._next_repeat:
            return
        self._next_repeat = now + REPEAT_SECONDS
        firing = [alert for alert in self._firing() if self._receiver.accepts(alert)]
        try:
            for begin in range(0, len(firing), MOST_AT_ONCE):
                self._poster.post(firing[begin : begin + MOST_AT_ONCE])
        except (UnavailableError, RefusedError) as error:
            log.warning("%s did not take the repetition of firing alerts: %s", self._receiver.name, error)

    def _too_old(self, alert: QualityAlert) -> bool:
        """Whether it is too late to deliver an alert; one that still fires is never too late."""
        age = (datetime.now(UTC) - (alert.ended_at or alert.started_at)).total_seconds()
        if age <= self._receiver.give_up:
            return False
        if alert.state == "firing" and alert.alert_id in {open_alert.alert_id for open_alert in self._firing()}:
            return False
        metrics.ALERT_DELIVERIES.labels(self._receiver.name, "too-old").inc()
        log.warning(
            "an alert is %.0f s old and not delivered to %s", age, self._receiver.name, extra={"alert_id": alert.alert_id}
        )
        return True
