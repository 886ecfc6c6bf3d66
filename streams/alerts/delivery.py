"""Delivery of alerts: a courier for each receiver posts the alerts of the topic to it.

Each receiver has a consumer group of its own, so its offset survives the worker, and a receiver that is down delays neither the
others nor the scoring. The offset of an alert is committed after the receiver has taken it: a courier that is killed in
between delivers it again, with the same id.
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

from scorer.exposition import from_zero
from streams import metrics
from streams.alerts.acknowledge import Acknowledgements
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import REPEAT_SECONDS, Poster
from streams.alerts.repeats import DUE_SECONDS, Repeats
from streams.alerts.request import RefusedError, UnavailableError
from streams.alerts.silences import Silencer
from streams.alerts.summary import named
from streams.errors import EventError
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, Member, TopicPartition
from streams.outages import Outage

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before an attempt is repeated, doubled each time up to the longest."""

MAX_WAITING = 500
"""Most alerts of a receiver that wait in memory; the others wait in Kafka."""

MOST_OPEN = 10_000
"""Most alerts of which it is remembered that a receiver knows of their start and not of their end."""

POLL_SECONDS, POLL_RECORDS = 0.2, 100


@dataclass(frozen=True)
class _Waiting:
    """A message that is not committed yet. alert: None where it is not for this receiver, or is no alert."""

    at: TopicPartition
    offset: int
    alert: QualityAlert | None


class Courier:
    """Delivers alerts to one receiver.

    group: the scorers' group. firing: returns the firing alerts of this worker's streams, which are posted to an Alertmanager
    again and again, and to others as often as they want, until somebody acknowledges them.
    """

    def __init__(
        self,
        connection: Connection,
        group: Group,
        receiver: Receiver,
        firing: Callable[[], list[QualityAlert]],
        acknowledgements: Acknowledgements | None = None,
    ) -> None:
        self._connection, self._group, self._receiver, self._firing = connection, group, receiver, firing
        self._acknowledgements = acknowledgements or Acknowledgements()
        self._topic = connection.named(ALERTS_TOPIC)
        self._poster = Poster(receiver)
        self._repeats = Repeats(receiver, self._poster, self._accepted, self._acknowledgements)
        self._outage = Outage(f"receiver {receiver.name}")
        self._silencer = Silencer(receiver) if receiver.silence else None
        self._open_there: dict[str, None] = {}
        self._waiting: deque[_Waiting] = deque()
        self._pause, self._next_try, self._next_silence = FIRST_WAIT, 0.0, 0.0
        from_zero(metrics.ALERT_DELIVERIES, *((receiver.name, outcome) for outcome in ("delivered", "refused", "too-old")))

    def agent(self) -> Agent:
        """The supervised thread that calls `run`."""
        return Agent(f"alerts to {self._receiver.name}", self.run)

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; alerts that are not delivered by then stay in the topic. Raises `KafkaError`."""
        self._waiting.clear()
        with Member(self._connection, self._group.of(f"alerts.{self._receiver.name}"), [self._topic]) as member:
            # The loop also polls while the receiver is down: a consumer that does not poll loses its partitions.
            for batch in member.batches(stop, self._poll_seconds, POLL_RECORDS):
                self._enqueue(member.consumer, batch)
                if time.monotonic() >= self._next_try:
                    self._repeat()
                    self._silence()
                    self._deliver(member, stop)

    def _poll_seconds(self) -> float:
        due = self._waiting and time.monotonic() >= self._next_try
        return 0.0 if due else POLL_SECONDS

    def _enqueue(self, consumer: Any, batch: Batch) -> None:
        """Add the messages of a batch to the waiting ones, and pause reading while too many wait."""
        if batch.reassigned:
            # Another worker delivers the alerts of the partitions that it has now; seek() reads those of this worker again.
            self._waiting.clear()
            for at in consumer.assignment():
                committed = consumer.committed(at)
                consumer.seek_to_beginning(at) if committed is None else consumer.seek(at, committed)
        else:
            for at, records in batch.records.items():
                self._waiting.extend(_Waiting(at, record.offset, self._wanted(record.value)) for record in records)
        if len(self._waiting) >= MAX_WAITING:
            consumer.pause(*consumer.assignment())
        elif consumer.paused():
            consumer.resume(*consumer.paused())

    def _wanted(self, value: bytes) -> QualityAlert | None:
        try:
            alert = QualityAlert.from_bytes(value)
        except EventError as error:
            log.warning("a message on %s is no alert: %s", self._topic, error)
            return None
        return alert if self._receiver.accepts(alert) else None

    def _deliver(self, member: Member, stop: threading.Event) -> None:
        """Post the first waiting alerts, up to a batch, and commit them."""
        while self._waiting and not stop.is_set():
            batch: list[_Waiting] = []
            alerts: list[QualityAlert] = []
            old: list[QualityAlert] = []
            for waiting in self._waiting:
                if len(alerts) == self._poster.batch_size or len(batch) == MAX_WAITING:
                    break
                batch.append(waiting)
                if waiting.alert is not None:
                    (old if self._too_old(waiting.alert) else alerts).append(waiting.alert)
            if not self._post(alerts):
                return
            for _ in batch:
                self._waiting.popleft()
            member.commit({waiting.at: waiting.offset + 1 for waiting in batch})
            self._give_up(old)
            if alerts:
                return  # poll again before the next request

    def _post(self, alerts: list[QualityAlert]) -> bool:
        """Whether the receiver has taken or refused all of these alerts; False where they must be posted again."""
        if not alerts:
            return True
        name = self._receiver.name
        try:
            self._poster.post(alerts)
        except UnavailableError as error:
            pause = max(self._pause, min(error.retry_after, LONGEST_WAIT))
            metrics.RETRIES.labels(f"alerts to {name}").inc()
            self._outage.failed(error)
            self._next_try = time.monotonic() + pause
            self._pause = min(LONGEST_WAIT, self._pause * 2)
            return False
        except RefusedError as error:
            self._outage.works()
            if len(alerts) > 1:
                # One of them is refused. Posted one by one, the others arrive.
                return all(self._post([alert]) for alert in alerts)
            metrics.ALERT_DELIVERIES.labels(name, "refused").inc()
            log.error("%s refused an alert: %s", name, error, extra=named(alerts[0]))
        else:
            self._outage.works()
            metrics.ALERT_DELIVERIES.labels(name, "delivered").inc(len(alerts))
            self._remember(alerts)
            self._end_silence(alerts)
        self._pause = FIRST_WAIT
        return True

    def _remember(self, alerts: list[QualityAlert]) -> None:
        """Remember which alerts are open at the receiver, the oldest ones not for ever."""
        for alert in alerts:
            self._open_there.pop(alert.alert_id, None)
            if alert.state == "firing":
                self._open_there[alert.alert_id] = None
        while len(self._open_there) > MOST_OPEN:
            del self._open_there[next(iter(self._open_there))]

    def _repeat(self) -> None:
        """Tell the receiver of firing alerts again; but for an Alertmanager none that it still has to be told of at all."""
        self._repeats.tell({message.alert.alert_id for message in self._waiting if message.alert is not None})

    def _accepted(self) -> list[QualityAlert]:
        """The firing alerts that the receiver is told of."""
        return [alert for alert in self._firing() if self._receiver.accepts(alert)]

    def _silence(self) -> None:
        """Bring Alertmanager's silences in line with the acknowledgements."""
        now = time.monotonic()
        if self._silencer is None or now < self._next_silence:
            return
        try:
            self._silencer.update(self._accepted(), self._acknowledgements, datetime.now(UTC))
            self._next_silence = now + DUE_SECONDS
        except (RefusedError, UnavailableError) as error:
            self._next_silence = now + REPEAT_SECONDS
            log.warning("%s did not take a silence: %s", self._receiver.name, error)

    def _end_silence(self, alerts: list[QualityAlert]) -> None:
        """End the silences of alerts that have resolved."""
        if self._silencer is None:
            return
        try:
            self._silencer.end_resolved(alert for alert in alerts if alert.state == "resolved")
        except (RefusedError, UnavailableError) as error:
            log.warning("%s did not end a silence: %s", self._receiver.name, error)

    def _too_old(self, alert: QualityAlert) -> bool:
        """Whether an alert is too old to be delivered. One that this worker judges and that still fires never is, nor the end of
        one that was delivered here: an incident would stay open for ever."""
        if _age(alert) <= self._receiver.give_up or (alert.state == "resolved" and alert.alert_id in self._open_there):
            return False
        return alert.state != "firing" or alert.alert_id not in {open_alert.alert_id for open_alert in self._firing()}

    def _give_up(self, alerts: list[QualityAlert]) -> None:
        """Count and name alerts that are too old. Only once they are committed: until then each attempt judges them again."""
        for alert in alerts:
            metrics.ALERT_DELIVERIES.labels(self._receiver.name, "too-old").inc()
            log.warning("an alert is %.0f s old and not delivered to %s", _age(alert), self._receiver.name, extra=named(alert))


def _age(alert: QualityAlert) -> float:
    """Seconds since an alert's end, or since its start while it fires."""
    return (datetime.now(UTC) - (alert.ended_at or alert.started_at)).total_seconds()
