"""Delivery of alerts: from their topic to Alertmanager and webhooks, each receiver in a thread of its own.

Each receiver is a consumer group, so that its place in the topic survives the worker, and one that is down holds back no
other, nor the scoring. An alert's offset is committed when the receiver has taken it: killed in between, it is delivered
again, with the same id. Addresses and tokens are in no log line: a receiver is called by its name.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from streams import metrics
from streams.alerts.policy import Receiver
from streams.events import ALERTS_TOPIC, EventError, QualityAlert
from streams.kafka.connection import Rebalance, client_options, polled
from streams.settings import Settings

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before an attempt is repeated, doubled each time up to the longest."""

MOST_WAITING = 500
"""Alerts of a receiver that are held in memory; the others wait in Kafka."""

MOST_AT_ONCE = 50
"""Alerts in one request to Alertmanager."""

REPEAT_SECONDS = 60.0
"""Alertmanager forgets what is not told again, and keeps nothing over its restart: what fires is repeated so often."""

EXPIRE_SECONDS = 5 * REPEAT_SECONDS
"""After so long without a repetition Alertmanager takes an alert for resolved."""

FAULTS_OF_THE_ALERT = {400, 413, 422}
"""Answers that no repetition changes. Other errors may be mended: a token, an address, a server that is away."""

KAFKA_ERRORS_WAIT = 5.0


class RefusedError(Exception):
    """The receiver will never take this."""


class UnavailableError(Exception):
    """The receiver did not take it now. retry_after: seconds that it asked for."""

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
        """Post alerts, of a webhook one."""
        if self._type == "alertmanager":
            self._request(json.dumps([as_alertmanager(alert, datetime.now(UTC)) for alert in alerts]).encode())
            return
        for alert in alerts:
            self._request(as_slack(alert) if self._type == "slack" else alert.to_bytes())

    def _request(self, body: bytes) -> None:
        try:
            # A redirection would take the token to another place.
            answer = self._pool.request("POST", self._url, body=body, headers=self._headers, redirect=False)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            # Only its kind: its text has the address.
            raise UnavailableError(type(error).__name__) from None
        if answer.status in FAULTS_OF_THE_ALERT:
            raise RefusedError(f"status {answer.status}")
        if not 200 <= answer.status < 300:
            raise UnavailableError(f"status {answer.status}", _seconds(answer.headers.get("Retry-After", "")))


class Courier:
    """Brings a receiver its alerts, until it is closed.

    firing: what is firing in the streams of this worker; to be repeated to an Alertmanager.
    """

    def __init__(self, settings: Settings, receiver: Receiver, firing: Callable[[], list[QualityAlert]]) -> None:
        self._settings, self._receiver, self._firing = settings, receiver, firing
        self._poster = Poster(receiver)
        self._waiting: deque[tuple[TopicPartition, int, QualityAlert | None]] = deque()
        self._stop = threading.Event()
        self._wait, self._next_try, self._next_repeat = FIRST_WAIT, 0.0, 0.0
        self._thread = threading.Thread(target=self._run, name=f"alerts to {receiver.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop, after the request under way; what is not delivered stays in the topic."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._work()
            except Exception as error:
                log.warning("alerts to %s begin anew: %s: %s", self._receiver.name, type(error).__name__, error)
                self._stop.wait(KAFKA_ERRORS_WAIT)

    def _work(self) -> None:
        assert self._settings.broker
        self._waiting.clear()
        with ExitStack() as stack:
            consumer: Any = KafkaConsumer(
                bootstrap_servers=self._settings.broker.split(","),
                group_id=f"{self._settings.group}.alerts.{self._receiver.name}",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=int(self._settings.session_timeout * 1000),
                heartbeat_interval_ms=int(self._settings.session_timeout * 1000 / 6),
                **client_options(self._settings),
            )
            stack.callback(consumer.close, autocommit=False, timeout_ms=3000)
            rebalance = Rebalance()
            consumer.subscribe([ALERTS_TOPIC], listener=rebalance)
            while not self._stop.is_set():
                # Polled while a receiver is down as well: a consumer that does not poll loses its partitions.
                due = self._waiting and time.monotonic() >= self._next_try
                found = polled(consumer, rebalance, 0.0 if due else 0.2, 100)
                if rebalance.seen.is_set():
                    # What waits is another worker's turn now, or is read again.
                    rebalance.seen.clear()
                    self._waiting.clear()
                    found = {}
                    for at in consumer.assignment():
                        committed = consumer.committed(at)
                        consumer.seek_to_beginning(at) if committed is None else consumer.seek(at, committed)
                for at, records in found.items():
                    self._waiting.extend((at, record.offset, self._wanted(record.value)) for record in records)
                if len(self._waiting) >= MOST_WAITING:
                    consumer.pause(*consumer.assignment())
                elif consumer.paused():
                    consumer.resume(*consumer.paused())
                if time.monotonic() >= self._next_try:
                    self._repeat()
                    self._deliver(consumer)

    def _wanted(self, value: bytes) -> QualityAlert | None:
        try:
            alert = QualityAlert.from_bytes(value)
        except EventError as error:
            log.warning("a message on %s is no alert: %s", ALERTS_TOPIC, error)
            return None
        return alert if self._receiver.accepts(alert) else None

    def _deliver(self, consumer: Any) -> None:
        """One request for what waits first, and the commit."""
        while self._waiting and not self._stop.is_set():
            taken: list[tuple[TopicPartition, int, QualityAlert | None]] = []
            alerts: list[QualityAlert] = []
            for one in self._waiting:
                if len(alerts) == self._poster.at_once or len(taken) == MOST_WAITING:
                    break
                taken.append(one)
                if one[2] is not None and not self._too_old(one[2]):
                    alerts.append(one[2])
            if not self._post(alerts):
                return
            for _ in taken:
                self._waiting.popleft()
            consumer.commit({at: OffsetAndMetadata(offset + 1, "", -1) for at, offset, _ in taken})
            if alerts:
                return  # and poll

    def _post(self, alerts: list[QualityAlert]) -> bool:
        """Whether the receiver is through with them."""
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
                # One of them is at fault; the others are wanted.
                return all(self._post([alert]) for alert in alerts)
            metrics.ALERT_DELIVERIES.labels(name, "refused").inc()
            log.error("%s refused an alert: %s", name, error, extra={"alert_id": alerts[0].alert_id})
        else:
            metrics.ALERT_DELIVERIES.labels(name, "delivered").inc(len(alerts))
        self._wait = FIRST_WAIT
        return True

    def _repeat(self) -> None:
        """Tell an Alertmanager again what fires."""
        now = time.monotonic()
        if self._receiver.type != "alertmanager" or now < self._next_repeat:
            return
        self._next_repeat = now + REPEAT_SECONDS
        firing = [alert for alert in self._firing() if self._receiver.accepts(alert)]
        try:
            for begin in range(0, len(firing), MOST_AT_ONCE):
                self._poster.post(firing[begin : begin + MOST_AT_ONCE])
        except (UnavailableError, RefusedError) as error:
            log.warning("%s did not take what still fires: %s", self._receiver.name, error)

    def _too_old(self, alert: QualityAlert) -> bool:
        age = (datetime.now(UTC) - (alert.ended_at or alert.started_at)).total_seconds()
        if alert.state == "firing" and age > self._receiver.give_up:
            still = {one.alert_id for one in self._firing()}
            if alert.alert_id in still:
                return False
        if age <= self._receiver.give_up:
            return False
        metrics.ALERT_DELIVERIES.labels(self._receiver.name, "too-old").inc()
        log.warning(
            "an alert is %.0f s old and not delivered to %s", age, self._receiver.name, extra={"alert_id": alert.alert_id}
        )
        return True


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
    """An alert as Alertmanager's API v2 takes it. Its labels are its identity: of both states of an alert the same."""
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
    """The body for an incoming webhook of Slack; names that look like its markup stay names."""
    text = describe(alert).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    sign = ":rotating_light:" if alert.state == "firing" else ":white_check_mark:"
    return json.dumps({"text": f"{sign} {text}"}).encode()


def _label(name: str) -> str:
    """A label's name as Prometheus allows it."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return name if re.match(r"[a-zA-Z_]", name) else f"_{name}"


def _seconds(text: str) -> float:
    """Retry-After as seconds; a date or nonsense is none."""
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0
