"""The alert agent: scores in, alerts out, in a thread of the worker.

The state of each stream is the last message of its key on the compacted topic `alert-state`, in the partition of its scores.
For every batch of scores the agent sends the alerts, then the states, then commits, each acknowledged before the next. Killed
in between, it folds the same scores again and comes to the same alerts with the same ids; an alert that is on its topic
already is not sent again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kafka import TopicPartition

from streams import metrics
from streams.alerts.detector import close_all, open_alerts, step, tick
from streams.alerts.policy import AlertPolicy, Alerts
from streams.alerts.state import StreamState, to_json
from streams.alerts.state_topic import AlertTopics
from streams.alerts.watermark import Watermark
from streams.errors import EventError
from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, SCORES_TOPIC, QualityAlert, SegmentScore
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group

log = logging.getLogger(__name__)

POLL_SECONDS, POLL_RECORDS = 0.2, 500
SILENCE_SECONDS = 1.0
"""How often silence is judged."""

BLIND_SECONDS = 10.0
"""After a longer time without judging, the brokers were away, and so perhaps the packagers: streams get time to come back."""

MOST_STATE_BYTES = 900_000
"""A state that is larger (by its labels) is dropped: a broker takes messages of 1 MiB."""


@dataclass
class _Stream:
    """A stream of this worker. heard: when its last score was read, monotonic seconds."""

    state: StreamState
    limits: Alerts
    heard: float


@dataclass
class _Partition:
    """A partition that this worker has. sent: id and state of the last alerts on their topic."""

    streams: dict[str, _Stream] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)


class AlertAgent:
    """Folds scores into states, and sends the alerts that follow. Every run starts from what Kafka has."""

    def __init__(self, connection: Connection, group: Group, policy: AlertPolicy) -> None:
        self._connection, self._group, self._policy = connection, group, policy
        self._partitions: dict[int, _Partition] = {}
        self._open: dict[str, list[QualityAlert]] = {}

    def agent(self) -> Agent:
        """The agent that runs it."""
        return Agent("alerts", self.run)

    def open_alerts(self) -> list[QualityAlert]:
        """The alerts that fire now in the streams of this worker. A resolved one is gone from here before it is sent."""
        return [alert for alerts in list(self._open.values()) for alert in alerts]

    def run(self, stop: threading.Event) -> None:
        """Read scores until `stop` is set."""
        try:
            with AlertTopics(self._connection, self._group) as topics:
                self._read(topics, stop)
        finally:
            self._forget_partitions()

    def _read(self, topics: AlertTopics, stop: threading.Event) -> None:
        watermark, judged = Watermark(), 0.0
        for batch in topics.member.batches(stop, lambda: POLL_SECONDS, POLL_RECORDS):
            if batch.reassigned:
                self._forget_partitions()
            if not batch.settled:
                continue
            records = batch.records
            for at in topics.assignment():
                if at.partition not in self._partitions:
                    self._take_over(topics, at)
                    records.pop(at, None)  # read again from the committed offset, to which `_take_over` went back
            self._fold_all(topics, {at: some for at, some in records.items() if at.partition in self._partitions})
            now = time.monotonic()
            if now - judged >= SILENCE_SECONDS and self._partitions:
                if now - judged > BLIND_SECONDS:
                    self._hear_all(now)
                self._judge_silence(topics, watermark, now)
                judged = now

    def _forget_partitions(self) -> None:
        self._partitions.clear()
        self._open.clear()
        self._count_open()

    def _take_over(self, topics: AlertTopics, at: TopicPartition) -> None:
        """Take a partition: read its streams' states, and go to the offset at which reading goes on."""
        partition = _Partition(sent=topics.last_alerts(at.partition))
        now = time.monotonic()
        for state in topics.states(at.partition):
            partition.streams[state.stream_id] = _Stream(state, self._policy.of(state.labels), now)
            self._show(state)
        self._partitions[at.partition] = partition
        self._count_open()
        topics.go_on(at)
        log.info("alerts: partition %d, %d streams known", at.partition, len(partition.streams))

    def _fold_all(self, topics: AlertTopics, records: dict[TopicPartition, list[Any]]) -> None:
        """Fold scores by partition; commit when their alerts and states are acknowledged."""
        for at, scores in records.items():
            self._fold(topics, at, scores)
        if records:
            topics.commit({at: scores[-1].offset + 1 for at, scores in records.items()})

    def _fold(self, topics: AlertTopics, at: TopicPartition, records: list[Any]) -> None:
        """Fold scores of a partition; their alerts and states are acknowledged when it returns."""
        partition = self._partitions[at.partition]
        changed: dict[str, StreamState | None] = {}
        alerts: list[QualityAlert] = []
        for record in records:
            try:
                score = SegmentScore.from_bytes(record.value)
                limits = self._policy.of(score.labels)
                known = partition.streams.get(score.stream_id)
                state, raised = step(known.state if known else StreamState(score.stream_id), score, limits)
            except EventError as error:
                log.warning("a message on %s is no score: %s", SCORES_TOPIC, error)
                continue
            except Exception:
                # One score that cannot be judged must not hold all others back.
                log.exception("a score cannot be judged: partition %d, offset %d", at.partition, record.offset)
                continue
            partition.streams[score.stream_id] = _Stream(state, limits, time.monotonic())
            if known is None or state is not known.state:
                changed[score.stream_id] = state
            alerts += raised
        self._send(topics, at.partition, changed, alerts)

    def _hear_all(self, now: float) -> None:
        for partition in self._partitions.values():
            for stream in partition.streams.values():
                stream.heard = now

    def _judge_silence(self, topics: AlertTopics, watermark: Watermark, now: float) -> None:
        """Raise alerts for silent streams, as far as the watermark makes their silence certain."""
        announced, answered = topics.scorers_progress()
        ends, read = topics.own_progress(self._partitions)
        until = watermark.advance(now, announced, answered, ends, read)
        if until is None:
            return
        for number, partition in self._partitions.items():
            changed: dict[str, StreamState | None] = {}
            alerts: list[QualityAlert] = []
            for stream_id, stream in partition.streams.items():
                state, raised = tick(stream.state, datetime.now(UTC), until - stream.heard, stream.limits)
                if state is not stream.state:
                    changed[stream_id] = state
                alerts += raised
            for stream_id, state in changed.items():
                if state is None:
                    del partition.streams[stream_id]
                else:
                    partition.streams[stream_id].state = state
            self._send(topics, number, changed, alerts)

    def _send(self, topics: AlertTopics, number: int, changed: dict[str, StreamState | None], alerts: list[QualityAlert]) -> None:
        """Send alerts, then states: a kill in between raises the same alerts again, never none."""
        partition = self._partitions[number]
        values: dict[str, bytes | None] = {}
        for stream_id, state in changed.items():
            values[stream_id] = to_json(state) if state is not None else None
            if state is not None and len(values[stream_id] or b"") > MOST_STATE_BYTES:
                log.error("a stream's state is too large and is dropped", extra={"stream_id": stream_id[:100]})
                alerts += close_all(state)
                values[stream_id] = state = None
                partition.streams.pop(stream_id, None)
            self._open.pop(stream_id, None)
            if state is not None:
                self._show(state)
        new = [alert for alert in alerts if (alert.alert_id, alert.state) not in partition.sent]
        topics.send(ALERTS_TOPIC, number, [(alert.stream_id, alert.to_bytes()) for alert in new])
        topics.send(ALERT_STATE_TOPIC, number, list(values.items()))
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
