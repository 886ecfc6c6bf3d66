"""The wall's reader: an agent that reads the topics, and hands what it has parsed to the event loop in batches.

At the start it reads the alert agent's states, so that the whole fleet stands, then the scores of the last two minutes, the
alerts of the last week, the pictures of two minutes, and all acknowledgements; then it follows them all. It is in no group:
every wall reads everything, so several walls show the same. After a failure it goes on where it was.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scorer.exposition import from_zero
from streams.alerts.state import from_json
from streams.errors import BrokerError, EventError
from streams.events import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    MODELS_TOPIC,
    PICTURES_TOPIC,
    SCORES_TOPIC,
    AlertAcknowledgement,
    ModelUpdate,
    QualityAlert,
)
from streams.kafka.agent import Agent
from streams.kafka.clients import broker_errors, open_reader, send_all, writing
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, read_to_end
from streams.kafka.records import Unreadable
from streams.pictures import StreamPicture
from streams.text import printable
from streams.web import metrics
from streams.web.live import Live
from streams.web.pictures import Picture
from streams.web.reading import read_score

log = logging.getLogger(__name__)

RECENT_SECONDS: dict[str, float] = {
    SCORES_TOPIC: 120.0, ALERTS_TOPIC: 7 * 86400.0, MODELS_TOPIC: 0.0, ALERT_ACKS_TOPIC: 0.0, PICTURES_TOPIC: 120.0,
}  # fmt: skip
"""What is read of each topic at the start: the messages of so many seconds, 0 for all that it holds. A thousand streams have
0.3 MB of pictures a second, and a dozen pictures in two minutes each. Links to alerts are opened for days; by default the topic
has them for a week."""

FIRED_SECONDS = 86400.0
"""An alert that fired so long before the start, and fires still, is in its stream's state. One that is not there was left by
`fvq forget`, and nobody ends it."""

POLL_SECONDS, POLL_RECORDS = 0.1, 2000

LOOK_SECONDS = 10.0
"""How often new partitions and the number of dead letters are looked for."""

WAIT_SECONDS = 30.0
"""A batch that the event loop has not taken after this time is an error."""

Change = Callable[[Live], object]
"""One message, parsed: what it does to the state."""


@dataclass
class Progress:
    """How far the reader is.

    position: the next offset by partition. ends: where the topics ended at the start. missing: the topic without which there is
    nothing to show; None before that was looked for.
    """

    position: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    states_read: bool = False
    missing: str | None = None
    _was_ready: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether everything that was on the topics at the start has been read. What comes later, a new topic or a broker that
        does not know its topics yet, takes nothing from what is shown."""
        if not self._was_ready:
            self._was_ready = self.missing == "" and all(self.position.get(at, 0) >= end for at, end in self.ends.items())
        return self._was_ready


class Follower:
    """Reads the topics into a live state. apply: runs changes in the thread that the state belongs to, and waits for it."""

    def __init__(self, connection: Connection, live: Live, apply: Callable[[Sequence[Change]], None]) -> None:
        self._connection, self._live, self._apply = connection, live, apply
        self._recent = {connection.named(topic): seconds for topic, seconds in RECENT_SECONDS.items()}
        self._scores, self._states = connection.named(SCORES_TOPIC), connection.named(ALERT_STATE_TOPIC)
        self._changes = {connection.named(topic): change for topic, change in CHANGES.items()}
        self._changes[connection.named(ALERTS_TOPIC)] = partial(_alert_change, since=time.time() - FIRED_SECONDS)
        from_zero(metrics.MESSAGES, *self._changes)
        self._progress = Progress()
        self._bad = 0
        self._mended = 0
        self._agent = Agent("wall", self.run)

    def agent(self) -> Agent:
        """The supervised thread that calls `run`."""
        return self._agent

    def reading(self) -> tuple[bool, str]:
        """Whether the start has been read, and what keeps the reader from it, '' for nothing."""
        state = self._agent.state
        # A failure holds until Kafka has answered again: the next run may wait for it for long, and is none better.
        problem = state.error if state.restarts > self._mended else ""
        if self._progress.missing:
            problem = problem or f"topic {self._progress.missing} is missing: run `fvq topics create`"
        return self._progress.is_ready, problem

    def run(self, stop: threading.Event) -> None:
        """Follow the topics until `stop` is set. Raises `BrokerError`."""
        reader: Any = open_reader(self._connection)
        try:
            with broker_errors("the topics cannot be read"):
                if not self._progress.states_read:
                    self._read_states(reader)
                    self._progress.states_read = True
                self._follow(reader, stop)
        finally:
            with contextlib.suppress(Exception):
                reader.close(timeout_ms=1000)

    def _read_states(self, reader: Any) -> None:
        """The alert agent's last state of every stream: the fleet stands after it."""
        partitions = _partitions(reader, [self._states])
        if not partitions:
            return
        reader.assign(partitions)
        reader.seek_to_beginning(*partitions)
        last: dict[bytes, bytes | None] = {}
        for record in read_to_end(reader, partitions):
            last[record.key or b""] = record.value
            self._progress.position[TopicPartition(record.topic, record.partition)] = record.offset + 1
            metrics.MESSAGES.labels(record.topic).inc()
        changes: list[Change] = []
        for key, value in last.items():
            try:
                if value and (change := _state_change(key, value, first=True)):
                    changes.append(change)
            except ValueError as error:
                log.warning("the state of stream %r is left out: %s", key[:100], printable(str(error))[:300])
        for first in range(0, len(changes), POLL_RECORDS):
            self._apply(changes[first : first + POLL_RECORDS])

    def _follow(self, reader: Any, stop: threading.Event) -> None:
        looked_at = 0.0
        letters: list[TopicPartition] = []
        while not stop.is_set():
            now = time.monotonic()
            if now - looked_at > (LOOK_SECONDS if reader.assignment() else 1.0):
                looked_at = now
                self._assign(reader)
                self._mended = self._agent.state.restarts
                letters = _partitions(reader, [self._connection.named(DEAD_LETTER_TOPIC)])
                if letters:
                    self._apply([_note_letters(time.time(), sum(reader.end_offsets(letters).values()))])
            if not reader.assignment():
                stop.wait(LOOK_SECONDS / 10)  # no topic is there yet; a poll would return at once
                continue
            batches = reader.poll(timeout_ms=int(POLL_SECONDS * 1000), max_records=POLL_RECORDS)
            changes: list[Change] = []
            for at, records in batches.items():
                changes += [change for record in records if (change := self._parsed(record)) is not None]
                metrics.MESSAGES.labels(at.topic).inc(len(records))
            if changes:
                self._apply(changes)
            for at in reader.assignment():
                self._progress.position[at] = reader.position(at)

    def _assign(self, reader: Any) -> None:
        """Read every partition that there is now, each from where it was left or begins to matter."""
        wanted = _partitions(reader, [*self._recent, self._states])
        assigned = reader.assignment()
        new = [at for at in wanted if at not in assigned]
        if new:
            self._add(reader, wanted, new, assigned)
        self._progress.missing = "" if any(at.topic == self._scores for at in wanted) else self._scores

    def _add(
        self, reader: Any, wanted: list[TopicPartition], new: list[TopicPartition], assigned: Iterable[TopicPartition]
    ) -> None:
        positions = {at: reader.position(at) for at in assigned}
        reader.assign(wanted)
        for at in wanted:
            position = positions.get(at, self._progress.position.get(at))
            reader.seek(at, self._first_offset(reader, at) if position is None else position)
        ends = reader.end_offsets(new)
        for at in new:
            self._progress.ends.setdefault(at, ends[at])

    def _first_offset(self, reader: Any, at: TopicPartition) -> int:
        """The offset from which a partition matters."""
        begin, end = reader.beginning_offsets([at])[at], reader.end_offsets([at])[at]
        seconds = self._recent.get(at.topic, 0.0)
        if not seconds:
            return int(begin)
        first = reader.offsets_for_times({at: int((time.time() - seconds) * 1000)})[at]
        return int(end if first is None else max(begin, first.offset))

    def _parsed(self, record: Any) -> Change | None:
        """What a message does to the state; None for one that cannot be read, which is logged now and then."""
        try:
            if isinstance(record.value, Unreadable):
                raise EventError("", "the message cannot be read")
            return self._changes[record.topic](record)
        except (EventError, ValueError) as error:
            self._bad += 1
            if self._bad & (self._bad - 1) == 0:  # the 1st, 2nd, 4th, 8th and so on: a broken producer must not fill the disk
                reason = printable(str(error))[:300]
                log.warning("message %d that is left out: %s, offset %d: %s", self._bad, record.topic, record.offset, reason)
            return None


def write_acks(connection: Connection, acks: Iterable[tuple[str, AlertAcknowledgement | None]]) -> None:
    """Send acknowledgements, None for one that is taken back, and wait until they are kept. Raises `BrokerError`."""
    topic = connection.named(ALERT_ACKS_TOPIC)
    with writing(connection) as producer:
        send_all(producer, topic, [(id.encode(), ack.to_bytes() if ack is not None else None) for id, ack in acks])


def _partitions(reader: Any, topics: Iterable[str]) -> list[TopicPartition]:
    """The partitions of those topics that there are."""
    present = reader.topics()
    return [
        TopicPartition(topic, number)
        for topic in topics
        if topic in present
        for number in sorted(reader.partitions_for_topic(topic) or ())
    ]


def _score_change(record: Any) -> Change:
    # A worker's clock that is ahead must not stop the rates, nor keep an old score from growing old, until that time.
    score, received, value = read_score(record.value), min(record.timestamp / 1000, time.time()), record.value
    return lambda live: live.add_score(score, value, received)


def _alert_change(record: Any, since: float = 0.0) -> Change | None:
    """since: what fired before this time, seconds since 1970, is left out until it is over."""
    alert = QualityAlert.from_bytes(record.value)
    if alert.state == "firing" and record.timestamp / 1000 < since:
        return None
    return lambda live: live.add_alert(alert)


def _ack_change(record: Any) -> Change:
    alert_id = (record.key or b"").decode()
    ack = AlertAcknowledgement.from_bytes(record.value) if record.value else None
    return lambda live: live.set_ack(alert_id, ack)


def _model_change(record: Any) -> Change | None:
    if not record.value:
        return None
    update = ModelUpdate.from_bytes(record.value)
    return lambda live: live.add_update(update)


def _note_letters(at: float, written: int) -> Change:
    return lambda live: live.pulse.note_letters(at, written)


def _picture_change(record: Any) -> Change:
    if record.value is None:
        stream_id = (record.key or b"").decode()
        return lambda live: live.add_picture(stream_id, None)
    told = StreamPicture.from_message(record.key, record.value, record.headers)
    start, written = told.start.timestamp(), record.timestamp / 1000 if record.timestamp > 0 else math.inf
    picture = Picture(told.jpeg, told.segment_id, start, told.score, told.width, told.height, told.rendition, written)
    return lambda live: live.add_picture(told.stream_id, picture)


def _state_change(key: bytes, value: bytes | None, first: bool = False) -> Change | None:
    """What a state of the alert agent does. first: its open alerts are taken as well."""
    stream_id = key.decode()
    if not stream_id:
        return None
    state = from_json(value) if value else None
    return lambda live: live.add_state(stream_id, state, first)


CHANGES: dict[str, Callable[[Any], Change | None]] = {
    SCORES_TOPIC: _score_change,
    ALERTS_TOPIC: _alert_change,
    ALERT_ACKS_TOPIC: _ack_change,
    PICTURES_TOPIC: _picture_change,
    MODELS_TOPIC: _model_change,
    ALERT_STATE_TOPIC: lambda record: _state_change(record.key or b"", record.value),
}
"""What a message of each topic does to the state."""


class LoopApply:
    """Runs changes in an event loop, for a thread. loop: the one that the state belongs to."""

    def __init__(self, live: Live, loop: Any) -> None:
        self._live, self._loop = live, loop

    def __call__(self, changes: Sequence[Change]) -> None:
        """Run the changes, and return when they have run. Raises `BrokerError` where the loop does not get to it."""
        done = threading.Event()

        def run() -> None:
            for change in changes:
                try:
                    change(self._live)
                except Exception:
                    # A bug of ours with one message must not keep the others from the state, nor the reader from going on.
                    log.exception("a message could not be taken into the state")
            done.set()

        self._loop.call_soon_threadsafe(run)
        if not done.wait(WAIT_SECONDS):
            raise BrokerError("the wall is too busy to take what its reader has read")
