"""The alert agent: scores in, alerts out, in a thread of the worker.

Kept in Kafka, as a table's changelog is: the state of each stream is the last message of its key on the compacted topic
`alert-state`, in the partition that its scores have. For every few scores it sends the alerts, then the states, then
commits, each acknowledged before the next. Killed in between, it folds the same scores again, and comes to the same alerts
with the same ids; those that are on the topic already it does not send again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from streams import metrics
from streams.alerts.delivery import Courier
from streams.alerts.detector import StreamState, close_all, from_json, open_alerts, step, tick, to_json
from streams.alerts.policy import AlertPolicy, Alerts, load_policy
from streams.alerts.watermark import Progress, Watermark
from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, SCORES_TOPIC, EventError, QualityAlert, SegmentScore
from streams.kafka.connection import MANY_AT_ONCE, BrokerError, Rebalance, client_options, open_admin, polled
from streams.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS, POLL_RECORDS = 0.2, 500
LOOK_SECONDS = 1.0
"""How often silence is judged."""

BLIND_SECONDS = 10.0
"""After so long without a look, streams are given time to come back: the brokers were away, and the streams' packagers too."""

FIRST_LOOK_SECONDS = 600.0
"""The very first time scores of so long ago are folded, for a baseline; not those of a week, for alerts that nobody needs."""

REPEATS_KNOWN = 1000
"""Alerts of a partition that are looked at for repeats: many more than a few scores can have raised."""

MOST_STATE_BYTES = 900_000
"""A stream that fills more (with labels) is begun anew: a broker takes messages of 1 MiB."""

ACK_SECONDS = 30.0
STOP_SECONDS = 5.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0


@dataclass
class _Stream:
    """A stream that this worker has. heard: when its last score was read, monotonic seconds."""

    state: StreamState
    limits: Alerts
    heard: float


@dataclass
class _Held:
    """A partition that this worker has. sent: id and state of the last alerts on their topic."""

    streams: dict[str, _Stream] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)


@contextmanager
def running_alerts(settings: Settings) -> Iterator[None]:
    """The alert agent and a courier for each receiver, as long as the context lasts, where the settings want them.

    Raises `SettingsError` where the policy is wrong, `BrokerError` where the topics are.
    """
    if not settings.alerts:
        yield
        return
    policy = load_policy(settings.alert_policy)
    check_alert_topics(settings)
    agent = AlertAgent(settings, policy)
    couriers = [Courier(settings, receiver, agent.open_alerts) for receiver in policy.receivers]
    threads: list[AlertAgent | Courier] = [agent, *couriers]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        for one in threads:
            one.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for one in threads:
            one.join(max(0.0, deadline - time.monotonic()))


class AlertAgent:
    """Runs until it is closed; whatever goes wrong, it begins anew from what Kafka has."""

    def __init__(self, settings: Settings, policy: AlertPolicy) -> None:
        self._settings, self._policy = settings, policy
        self._held: dict[int, _Held] = {}
        self._open: dict[str, list[QualityAlert]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop, after what is under way, and leave the group: no other worker needs to wait for a time-out."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def open_alerts(self) -> list[QualityAlert]:
        """What is firing now in the streams of this worker. A resolved one is gone from here before it is announced."""
        return [alert for alerts in list(self._open.values()) for alert in alerts]

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._work()
            except Exception as error:
                if time.monotonic() - began > 60:
                    wait = FIRST_WAIT
                metrics.RETRIES.labels("alerts").inc()
                log.warning("alerts begin anew in %.0f s: %s: %s", wait, type(error).__name__, error)
                self._stop.wait(wait)
                wait = min(LONGEST_WAIT, wait * 2)
            finally:
                self._drop()

    def _work(self) -> None:
        with ExitStack() as stack:
            work = _Work(self._settings, stack)
            rebalance = Rebalance()
            work.scores.subscribe([SCORES_TOPIC], listener=rebalance)
            watermark, looked = Watermark(), 0.0
            while not self._stop.is_set():
                found = polled(work.scores, rebalance, POLL_SECONDS, POLL_RECORDS)
                if rebalance.seen.is_set():
                    rebalance.seen.clear()
                    self._drop()
                if rebalance.under_way.is_set():
                    continue
                for one in work.scores.assignment():
                    if one.partition not in self._held:
                        self._take_over(work, one)
                        found.pop(one, None)
                self._fold_all(work, {one: records for one, records in found.items() if one.partition in self._held})
                now = time.monotonic()
                if now - looked >= LOOK_SECONDS and self._held:
                    if now - looked > BLIND_SECONDS:
                        self._hear_all(now)
                    self._look(work, watermark, now)
                    looked = now

    def _drop(self) -> None:
        self._held.clear()
        self._open.clear()
        self._count_open()

    def _take_over(self, work: _Work, at: TopicPartition) -> None:
        """Have a partition: its streams' states, and the place where reading goes on."""
        held = _Held(sent=work.last_alerts(at.partition))
        now = time.monotonic()
        for state in work.states(at.partition):
            held.streams[state.stream_id] = _Stream(state, self._policy.of(state.labels), now)
            self._show(state)
        self._held[at.partition] = held
        self._count_open()
        work.scores.seek(at, work.start(at))
        log.info("alerts: partition %d, %d streams known", at.partition, len(held.streams))

    def _fold_all(self, work: _Work, found: dict[TopicPartition, list[Any]]) -> None:
        """Fold scores; commit when their alerts and states are safe."""
        for at, records in found.items():
            self._fold(work, at, records)
        if found:
            work.scores.commit({at: OffsetAndMetadata(records[-1].offset + 1, "", -1) for at, records in found.items()})

    def _fold(self, work: _Work, at: TopicPartition, records: list[Any]) -> None:
        """Fold scores of a partition; their alerts and states are safe when it returns."""
        held = self._held[at.partition]
        changed: dict[str, StreamState | None] = {}
        alerts: list[QualityAlert] = []
        for record in records:
            try:
                score = SegmentScore.from_bytes(record.value)
                limits = self._policy.of(score.labels)
                known = held.streams.get(score.stream_id)
                state, found = step(known.state if known else StreamState(score.stream_id), score, limits)
            except EventError as error:
                log.warning("a message on %s is no score: %s", SCORES_TOPIC, error)
                continue
            except Exception:
                # One score that cannot be judged must not hold all others back.
                log.exception("a score cannot be judged: partition %d, offset %d", at.partition, record.offset)
                continue
            held.streams[score.stream_id] = _Stream(state, limits, time.monotonic())
            if known is None or state is not known.state:
                changed[score.stream_id] = state
            alerts += found
        self._keep(work, at.partition, changed, alerts)

    def _hear_all(self, now: float) -> None:
        for held in self._held.values():
            for stream in held.streams.values():
                stream.heard = now

    def _look(self, work: _Work, watermark: Watermark, now: float) -> None:
        """Judge silence, as far as it is certain."""
        mine = [TopicPartition(SCORES_TOPIC, number) for number in self._held]
        announced, answered = work.progress.read()
        ends = {one.partition: end for one, end in work.scores.end_offsets(mine).items()}
        read = {one.partition: work.scores.position(one) for one in mine}
        until = watermark.advance(now, announced, answered, ends, read)
        if until is None:
            return
        for partition, held in self._held.items():
            changed: dict[str, StreamState | None] = {}
            alerts: list[QualityAlert] = []
            for stream_id, stream in held.streams.items():
                state, found = tick(stream.state, datetime.now(UTC), until - stream.heard, stream.limits)
                if state is not stream.state:
                    changed[stream_id] = state
                alerts += found
            for stream_id, state in changed.items():
                if state is None:
                    del held.streams[stream_id]
                else:
                    held.streams[stream_id].state = state
            self._keep(work, partition, changed, alerts)

    def _keep(self, work: _Work, partition: int, changed: dict[str, StreamState | None], alerts: list[QualityAlert]) -> None:
        """Alerts, then states: a kill in between raises the same alerts again, never none."""
        held = self._held[partition]
        values: dict[str, bytes | None] = {}
        for stream_id, state in changed.items():
            values[stream_id] = to_json(state) if state is not None else None
            if state is not None and len(values[stream_id] or b"") > MOST_STATE_BYTES:
                log.error("a stream's state is too large and begun anew", extra={"stream_id": stream_id[:100]})
                alerts += close_all(state)
                values[stream_id] = state = None
                held.streams.pop(stream_id, None)
            self._open.pop(stream_id, None)
            if state is not None:
                self._show(state)
        new = [alert for alert in alerts if (alert.alert_id, alert.state) not in held.sent]
        work.send(ALERTS_TOPIC, partition, [(alert.stream_id, alert.to_bytes()) for alert in new])
        work.send(ALERT_STATE_TOPIC, partition, list(values.items()))
        for alert in new:
            metrics.ALERTS.labels(alert.kind, alert.state).inc()
            log.info("alert %s: %s", alert.state, alert.kind, extra={"stream_id": alert.stream_id, "alert_id": alert.alert_id})
        if new:
            self._count_open()

    def _show(self, state: StreamState) -> None:
        if alerts := list(open_alerts(state)):
            self._open[state.stream_id] = alerts

    def _count_open(self) -> None:
        metrics.ALERTS_OPEN.clear()
        for kind, count in Counter(alert.kind for alert in self.open_alerts()).items():
            metrics.ALERTS_OPEN.labels(kind).set(count)


class _Work:
    """The connections, closed with the stack."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        assert settings.broker
        servers, security = settings.broker.split(","), client_options(settings)
        self.scores: Any = KafkaConsumer(
            bootstrap_servers=servers,
            group_id=alert_group(settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(settings.session_timeout * 1000 / 6),
            **MANY_AT_ONCE,
            **security,
        )
        stack.callback(self.scores.close, autocommit=False, timeout_ms=3000)
        self._reader: Any = KafkaConsumer(
            bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest", enable_auto_commit=False, **security
        )
        stack.callback(self._reader.close, timeout_ms=1000)
        self._producer: Any = KafkaProducer(bootstrap_servers=servers, max_block_ms=int(ACK_SECONDS * 1000), **security)
        stack.callback(self._producer.close, timeout=1)
        self.progress = Progress(settings)
        stack.callback(self.progress.close)

    def start(self, at: TopicPartition) -> int:
        """Where reading goes on; the first time, some minutes ago."""
        committed: int | None = self.scores.committed(at)
        if committed is not None:
            return committed
        found = self.scores.offsets_for_times({at: int((time.time() - FIRST_LOOK_SECONDS) * 1000)})[at]
        return int(found.offset if found is not None else self.scores.end_offsets([at])[at])

    def states(self, partition: int) -> Iterator[StreamState]:
        """The last state of each stream of a partition."""
        values: dict[bytes, bytes] = {}
        for record in self._read(ALERT_STATE_TOPIC, partition):
            if record.value:
                values[record.key] = record.value
            else:
                values.pop(record.key, None)
        for key, value in values.items():
            try:
                yield from_json(value)
            except ValueError as error:
                log.error("the state of stream %r cannot be read and is begun anew: %s", key[:100], str(error)[:500])

    def last_alerts(self, partition: int) -> set[tuple[str, str]]:
        """Id and state of the last alerts of a partition."""
        found: set[tuple[str, str]] = set()
        for record in self._read(ALERTS_TOPIC, partition, REPEATS_KNOWN):
            try:
                alert = QualityAlert.from_bytes(record.value)
            except EventError:
                continue  # not ours; its readers will say so
            found.add((alert.alert_id, alert.state))
        return found

    def send(self, topic: str, partition: int, messages: list[tuple[str, bytes | None]]) -> None:
        """Send and wait for all acknowledgements. Raises `KafkaError`."""
        sent = [self._producer.send(topic, key=key.encode(), value=value, partition=partition) for key, value in messages]
        for future in sent:
            future.get(timeout=ACK_SECONDS)

    def _read(self, topic: str, partition: int, last: int | None = None) -> Iterator[Any]:
        """What is on a partition now; the last so many messages of it."""
        at = TopicPartition(topic, partition)
        self._reader.assign([at])
        begin, end = self._reader.beginning_offsets([at])[at], self._reader.end_offsets([at])[at]
        self._reader.seek(at, begin if last is None else max(begin, end - last))
        patience = time.monotonic() + ACK_SECONDS
        while self._reader.position(at) < end:
            for records in self._reader.poll(timeout_ms=500).values():
                yield from records
                patience = time.monotonic() + ACK_SECONDS
            if time.monotonic() > patience:
                raise BrokerError(f"{topic}, partition {partition}: nothing comes before its end")


def alert_group(settings: Settings) -> str:
    """The alert agents' consumer group: not the scorers', so that neither waits for the other's rebalance."""
    return f"{settings.group}.alerts"


def check_alert_topics(settings: Settings) -> None:
    """Raise `BrokerError` where a topic is missing, or has not as many partitions as that of the scores."""
    assert settings.broker
    wanted = [SCORES_TOPIC, ALERTS_TOPIC, ALERT_STATE_TOPIC]
    admin = open_admin(settings.broker, client_options(settings))
    try:
        present = set(admin.list_topics())
        missing = [name for name in wanted if name not in present]
        if missing:
            raise BrokerError(f"topic {missing[0]} is missing: run `fvq topics create`, or set FVQ_ALERTS=false")
        counts = {one["name"]: len(one["partitions"]) for one in admin.describe_topics(wanted)}
    finally:
        admin.close()
    for name in wanted[1:]:
        if counts[name] != counts[SCORES_TOPIC]:
            raise BrokerError(
                f"topic {name} has {counts[name]} partitions, {SCORES_TOPIC} has {counts[SCORES_TOPIC]}: they must have as many"
            )
