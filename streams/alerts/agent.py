"""The alert agent: reads scores and sends alerts, in a thread of the worker.

The state of each stream is the last message of its key on the compacted topic `alert-state`, in the same partition as its
scores. For every batch of scores the agent sends the alerts, then the states, then commits; each waits for the acknowledgements
of the one before. A worker that is killed in between reads the same scores again and decides the same alerts, with the same ids;
an alert that is on its topic already is not sent again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streams import metrics
from streams.alerts.cause import cause_of_silence
from streams.alerts.detector import close_all, open_alerts, step, tick
from streams.alerts.limits import Alerts
from streams.alerts.policy import AlertPolicy
from streams.alerts.reopen import reopened
from streams.alerts.state import StreamState, to_json
from streams.alerts.state_topic import AlertTopics
from streams.alerts.summary import complete
from streams.alerts.watermark import Watermark
from streams.errors import EventError
from streams.events import AlertCause, QualityAlert, SegmentScore
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group, TopicPartition
from streams.text import ranges

log = logging.getLogger(__name__)

POLL_SECONDS, POLL_RECORDS = 0.2, 500

SILENCE_SECONDS = 1.0
"""How often the streams' silence is judged."""

BLIND_SECONDS = 10.0
"""After a longer pause without judging, the brokers were away, and packagers perhaps too: all streams get the full time again."""

MAX_STATE_BYTES = 900_000
"""A state that is larger (by its labels) is dropped: a broker takes messages of up to 1 MiB."""


@dataclass
class _Stream:
    """A stream of this worker. last_read: when its last score was read, monotonic seconds."""

    state: StreamState
    limits: Alerts
    last_read: float


@dataclass
class _Partition:
    """A partition that is assigned to this worker. sent: id and state of the last alerts on the alerts' topic."""

    streams: dict[str, _Stream] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class _Changes:
    """What scores or silence change in a partition. states: by stream id; None for a stream that is forgotten."""

    partition: int
    states: dict[str, StreamState | None] = field(default_factory=dict)
    alerts: list[QualityAlert] = field(default_factory=list)


class AlertAgent:
    """Judges the scores of this worker's partitions. Every run starts from the states in Kafka.

    web_url: address of the wall, '' where there is none. explain_silence: gives the cause of a stream's silence.
    """

    def __init__(
        self,
        connection: Connection,
        group: Group,
        policy: AlertPolicy,
        web_url: str = "",
        explain_silence: Callable[[StreamState], AlertCause] = cause_of_silence,
    ) -> None:
        self._connection, self._group, self._policy = connection, group, policy
        self._web_url, self._explain_silence = web_url, explain_silence
        self._partitions: dict[int, _Partition] = {}
        self._open: dict[str, list[QualityAlert]] = {}

    def agent(self) -> Agent:
        """The supervised thread that calls `run`."""
        return Agent("alerts", self.run)

    def use(self, policy: AlertPolicy) -> bool:
        """Judge by another policy from the next scores on; returns whether its limits are others. Any thread may call it."""
        before, self._policy = self._policy, policy
        return not policy.has_limits_of(before)

    def open_alerts(self) -> list[QualityAlert]:
        """The firing alerts of this worker's streams; any thread may ask. An alert leaves the list before its end is sent."""
        return [alert for alerts in list(self._open.values()) for alert in alerts]

    def knows(self, stream_id: str) -> bool:
        """Whether a stream is one of this worker's; any thread may ask."""
        return any(stream_id in partition.streams for partition in list(self._partitions.values()))

    def run(self, stop: threading.Event) -> None:
        """Read scores until `stop` is set. Raises `KafkaError` or `BrokerError`."""
        try:
            with AlertTopics(self._connection, self._group) as topics:
                self._read(topics, stop)
        finally:
            self._forget_partitions()

    def _read(self, topics: AlertTopics, stop: threading.Event) -> None:
        watermark, judged_at, judged_by = Watermark(), 0.0, self._policy
        for batch in topics.member.batches(stop, lambda: POLL_SECONDS, POLL_RECORDS):
            if batch.reassigned:
                self._forget_partitions()
            if self._policy is not judged_by:
                judged_by = self._policy
                self._take_limits(judged_by)
            if not batch.settled:
                continue
            records = batch.records
            new = [partition for partition in topics.assignment() if partition.partition not in self._partitions]
            for partition in new:
                self._take_over(topics, partition)
                # `_take_over` went back to the committed offset, so these records are read again.
                records.pop(partition, None)
            if new:
                shown, known = ranges(self._partitions), sum(len(partition.streams) for partition in self._partitions.values())
                log.info("alerts: partitions %s, %d streams known", shown, known, extra={"partitions": shown, "streams": known})
            self._judge_scores(topics, {at: scores for at, scores in records.items() if at.partition in self._partitions})
            now = time.monotonic()
            if now - judged_at >= SILENCE_SECONDS and self._partitions:
                if now - judged_at > BLIND_SECONDS:
                    self._restart_silence(now)
                if judged_by.maintenance:
                    self._take_limits(judged_by)  # one may have begun, or ended
                self._judge_silence(topics, watermark, now)
                judged_at = now

    def _forget_partitions(self) -> None:
        self._partitions.clear()
        self._open.clear()
        self._count_open()

    def _take_limits(self, policy: AlertPolicy) -> None:
        """Give every stream the limits that a policy has for it now: those without scores are judged for silence."""
        now = datetime.now(UTC)
        for partition in self._partitions.values():
            for stream in partition.streams.values():
                stream.limits = policy.of(stream.state.labels, now)

    def _take_over(self, topics: AlertTopics, at: TopicPartition) -> None:
        """Start with a partition: read its streams' states, and seek to its committed offset."""
        alerts = topics.last_alerts(at.partition)
        partition = _Partition(sent={(alert.alert_id, alert.state) for alert in alerts})
        alerts_of = defaultdict(list)
        for alert in alerts:
            alerts_of[alert.stream_id].append(alert)
        now = time.monotonic()
        for stored in topics.states(at.partition):
            state = reopened(stored, alerts_of[stored.stream_id])
            partition.streams[state.stream_id] = _Stream(state, self._policy.of(state.labels, datetime.now(UTC)), now)
            self._list_open(state)
        self._partitions[at.partition] = partition
        self._count_open()
        topics.seek_to_committed(at)

    def _judge_scores(self, topics: AlertTopics, records: dict[TopicPartition, list[Any]]) -> None:
        """Judge scores by partition, and commit them when their alerts and states are acknowledged."""
        if records:
            self._send(topics, [self._judge_partition(at, scores) for at, scores in records.items()])
            topics.commit({at: scores[-1].offset + 1 for at, scores in records.items()})

    def _judge_partition(self, at: TopicPartition, records: list[Any]) -> _Changes:
        """Judge the scores of one partition; returns what they change."""
        partition, changes = self._partitions[at.partition], _Changes(at.partition)
        for record in records:
            try:
                score = SegmentScore.from_bytes(record.value)
                limits = self._policy.of(score.labels, score.start)
                known = partition.streams.get(score.stream_id)
                state, new_alerts = step(
                    known.state if known else StreamState(score.stream_id), score, limits, _written_at(record)
                )
            except EventError as error:
                log.warning("a message on %s is no score: %s", at.topic, error)
                continue
            except Exception:
                # One score that cannot be judged must not stop all other streams' alerts.
                log.exception("a score cannot be judged: partition %d, offset %d", at.partition, record.offset)
                continue
            partition.streams[score.stream_id] = _Stream(state, limits, time.monotonic())
            if known is None or state is not known.state:
                changes.states[score.stream_id] = state
            changes.alerts.extend(new_alerts)
        return changes

    def _restart_silence(self, now: float) -> None:
        """Count the silence of every stream from now on."""
        for partition in self._partitions.values():
            for stream in partition.streams.values():
                stream.last_read = now

    def _may_be_silent(self, now: float) -> bool:
        """Whether a stream was read so long ago that its state changes if it was silent since then."""
        wall = datetime.now(UTC)
        streams = (stream for partition in self._partitions.values() for stream in partition.streams.values())
        return any(tick(stream.state, wall, now - stream.last_read, stream.limits)[0] is not stream.state for stream in streams)

    def _judge_silence(self, topics: AlertTopics, watermark: Watermark, now: float) -> None:
        """Raise alerts for silent streams, as far as the watermark makes their silence certain."""
        if not self._may_be_silent(now):
            # The answers would change nothing, and they are three requests to the brokers and one for each partition.
            watermark.restart()
            return
        announced, answered = topics.scorers_progress()
        ends, read = topics.own_progress(self._partitions)
        until = watermark.advance(now, announced, answered, ends, read)
        if until is None:
            return
        changes = [_Changes(number) for number in self._partitions]
        for change, partition in zip(changes, self._partitions.values(), strict=True):
            for stream_id, stream in partition.streams.items():
                state, new_alerts = tick(
                    stream.state, datetime.now(UTC), until - stream.last_read, stream.limits, self._explain_silence
                )
                if state is not stream.state:
                    change.states[stream_id] = state
                change.alerts.extend(new_alerts)
            for stream_id, state in change.states.items():
                if state is None:
                    del partition.streams[stream_id]
                else:
                    partition.streams[stream_id].state = state
        self._send(topics, changes)

    def _send(self, topics: AlertTopics, changes: list[_Changes]) -> None:
        """Send alerts, then states: a worker that is killed in between raises the same alerts again and loses none.

        All partitions together: each wait for the brokers costs as much as dozens of messages.
        """
        states: list[tuple[int, str, bytes | None]] = []
        for change in changes:
            states += [(change.partition, stream_id, value) for stream_id, value in self._take_in(change)]
        unsent = [
            (change.partition, complete(alert, self._web_url))
            for change in changes
            for alert in change.alerts
            if (alert.alert_id, alert.state) not in self._partitions[change.partition].sent
        ]
        topics.send_alerts([(number, alert.stream_id, alert.to_bytes()) for number, alert in unsent])
        topics.send_states(states)
        for _, alert in unsent:
            metrics.ALERTS.labels(alert.kind, alert.state).inc()
            log.info("alert %s: %s", alert.state, alert.kind, extra={"stream_id": alert.stream_id, "alert_id": alert.alert_id})
        if any(change.alerts for change in changes):
            self._count_open()

    def _take_in(self, change: _Changes) -> Iterator[tuple[str, bytes | None]]:
        """List the open alerts of changed streams; gives each state as it is stored. One that is too large is dropped."""
        for stream_id, state in change.states.items():
            value = to_json(state) if state is not None else None
            if state is not None and len(value or b"") > MAX_STATE_BYTES:
                log.error("a stream's state is too large and is dropped", extra={"stream_id": stream_id[:100]})
                change.alerts.extend(close_all(state))
                value = state = None
                self._partitions[change.partition].streams.pop(stream_id, None)
            self._open.pop(stream_id, None)
            if state is not None:
                self._list_open(state)
            yield stream_id, value

    def _list_open(self, state: StreamState) -> None:
        if alerts := [complete(alert, self._web_url) for alert in open_alerts(state)]:
            self._open[state.stream_id] = alerts

    def _count_open(self) -> None:
        counts = Counter(str(alert.kind) for alert in self.open_alerts())
        for kind in metrics.ALERT_KINDS:
            metrics.ALERTS_OPEN.labels(kind).set(counts[kind])


def _written_at(record: Any) -> datetime:
    """When a score was written, by the record's time; now where it has none, as records of very old clients."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC) if record.timestamp > 0 else datetime.now(UTC)
