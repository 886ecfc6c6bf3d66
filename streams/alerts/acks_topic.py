"""The topic `alert-acks`: commands write to it, and every worker follows all of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from streams.alerts.acknowledge import Acknowledgements
from streams.errors import EventError
from streams.events import ALERT_ACKS_TOPIC, ALERTS_TOPIC, AlertAcknowledgement, QualityAlert
from streams.kafka.agent import Agent
from streams.kafka.clients import reading, send_all
from streams.kafka.connection import Connection
from streams.kafka.consumer import read_whole
from streams.kafka.whole_topic import WholeTopic

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

KEPT_SECONDS = 24 * 3600.0
"""An acknowledgement is taken off the topic so long after its alert was over: until then people can see who had it."""


class AcksTopic(WholeTopic):
    """The topic. Use as a context manager. It and its methods raise `BrokerError`.

    acknowledgements: what `refresh` has read.
    """

    def __init__(self, connection: Connection, acknowledgements: Acknowledgements | None = None) -> None:
        super().__init__(connection, connection.named(ALERT_ACKS_TOPIC))
        self.acknowledgements = acknowledgements or Acknowledgements()

    def refresh(self) -> Acknowledgements:
        """All acknowledgements, with every message that was acknowledged by Kafka before the call."""
        for record in self._new_records():
            self._fold(record)
        self.acknowledgements.complete = True
        return self.acknowledgements

    def poll(self) -> None:
        """Read what is new, and wait for it for up to `POLL_SECONDS`."""
        for records in self._reader.poll(timeout_ms=int(POLL_SECONDS * 1000)).values():
            for record in records:
                self._fold(record)

    def send(self, acknowledgement: AlertAcknowledgement) -> None:
        """Acknowledge an alert, and wait until Kafka has it."""
        send_all(self._producer, self._topic, [(acknowledgement.alert_id.encode(), acknowledgement.to_bytes())])

    def take_back(self, alert_id: str) -> None:
        """Take an alert's acknowledgement back, and wait until Kafka has it."""
        send_all(self._producer, self._topic, [(alert_id.encode(), None)])

    def _fold(self, record: Any) -> None:
        try:
            self.acknowledgements.fold(record.key, record.value)
        except EventError as error:
            log.warning("a message on %s is no acknowledgement: %s", self._topic, error)


def find_alerts(connection: Connection, alert_ids: Collection[str]) -> dict[str, QualityAlert]:
    """The last messages of alerts on their topic, by their ids; one that is not there is left out. Raises `BrokerError`."""
    wanted = [alert_id.encode() for alert_id in alert_ids]
    found: dict[str, QualityAlert] = {}
    with reading(connection) as reader:
        for record in read_whole(reader, connection, connection.named(ALERTS_TOPIC)):
            if record.value and any(alert_id in record.value for alert_id in wanted):
                with suppress(EventError):
                    alert = QualityAlert.from_bytes(record.value)
                    if alert.alert_id in alert_ids:
                        found[alert.alert_id] = alert
    return found


def follow_agent(
    connection: Connection,
    acknowledgements: Acknowledgements,
    firing: Callable[[], list[QualityAlert]],
    knows: Callable[[str], bool],
) -> Agent:
    """The agent that keeps a worker's acknowledgements up to date, and removes those whose alerts have long been over.

    firing: the open alerts of this worker's streams. knows: whether a stream, by its id, is one of this worker's.
    """

    def run(stop: threading.Event) -> None:
        over_since: dict[str, float] = {}
        with AcksTopic(connection, acknowledgements) as topic:
            topic.refresh()
            while not stop.is_set():
                topic.poll()
                for alert_id in outdated(acknowledgements, firing(), knows, over_since, time.monotonic()):
                    topic.take_back(alert_id)

    return Agent("alert acknowledgements", run)


def outdated(
    acknowledgements: Acknowledgements,
    firing: list[QualityAlert],
    knows: Callable[[str], bool],
    over_since: dict[str, float],
    now: float,
) -> list[str]:
    """The alerts whose acknowledgements are to be removed: of this worker's streams, and over for `KEPT_SECONDS`.

    over_since: by alert id, when its end was first seen; it is brought up to date. now: seconds of the same clock.
    """
    open_ids = {alert.alert_id for alert in firing}
    known = {acknowledgement.alert_id: acknowledgement.stream_id for acknowledgement in acknowledgements.known()}
    over = {alert_id for alert_id, stream_id in known.items() if alert_id not in open_ids and knows(stream_id)}
    for alert_id in over_since.keys() - over:
        del over_since[alert_id]
    return [alert_id for alert_id in sorted(over) if now - over_since.setdefault(alert_id, now) >= KEPT_SECONDS]
