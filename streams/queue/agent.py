"""The harvest agent: what is hard for the model goes to the training queue, its bytes to the clip store.

A thread of the worker, with a consumer group of its own on the scores and the alerts. It fetches a segment again, before a
live one vanishes. The clip is stored, then its example sent and acknowledged, then the scores committed: killed in between,
the same clip is stored again under the same name, and its example has the same key.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams import metrics
from streams.errors import EventError, MediaError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, HarvestReason, QualityAlert, SegmentScore, TrainingExample
from streams.kafka.agent import Agent, Pauses
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group, Member
from streams.media.fetch import Fetcher, FetchLimits
from streams.queue.clips import ClipStore
from streams.queue.selection import HarvestLimits, Memory, why
from streams.queue.topic import QueueTopic

log = logging.getLogger(__name__)
POLL_SECONDS, POLL_RECORDS = 0.5, 500
TOO_OLD_SECONDS = 600.0
"""A score that was made so long ago is passed over: its live segment has vanished."""

KNOWN_SCORES = 64
"""The last scores of a stream that an alert may name. An alert comes seconds after its score."""

KNOWN_STREAMS = 20_000
WAITING_ALERTS = 10_000
"""Alerts whose score was not read yet."""

ALERTS_WITH_PICTURE = {"low-quality", "quality-drop", "frozen"}
FETCHES = 8
"""Segments fetched at once."""

PAUSES = Pauses(first=1.0, longest=60.0)


Fetch = Callable[[Sequence[SegmentScore]], list[bytes | MediaError]]
"""From scores to the bytes of their segments, or why they cannot be had."""


def harvest_agent(
    connection: Connection, group: Group, limits: HarvestLimits, store: ClipStore, fetch: FetchLimits, inbox: Path
) -> Agent:
    """The harvest agent. inbox: folder for fetched segments. Raises `BrokerError` where the topic of the queue is missing."""
    with QueueTopic(connection):
        pass

    def run(stop: threading.Event) -> None:
        with ExitStack() as stack:
            topic = stack.enter_context(QueueTopic(connection))
            # Both topics have the same partitions by stream; the range assignor gives both of a stream to one worker.
            member = stack.enter_context(Member(connection, group.of("harvest"), [SCORES_TOPIC, ALERTS_TOPIC], bulk=True))
            runner = stack.enter_context(asyncio.Runner())
            fetcher = runner.run(Fetcher(fetch, inbox).__aenter__())
            stack.callback(lambda: runner.run(fetcher.__aexit__(None, None, None)))
            harvest = Harvest(limits, store, topic, lambda scores: runner.run(fetch_all(fetcher, scores)))
            for batch in member.batches(stop, lambda: POLL_SECONDS, POLL_RECORDS):
                if batch.reassigned:
                    # Streams that came from another worker: the topic says which of their clips that worker stored.
                    harvest.remember()
                # Scores before alerts: an alert names a score.
                for at in sorted(batch.records, key=lambda at: at.topic, reverse=True):
                    harvest.read(batch.records[at])
                if batch.records:
                    harvest.store()
                    member.consumer.commit()

    return Agent("harvest", run, PAUSES)


async def fetch_all(fetcher: Fetcher, scores: Sequence[SegmentScore]) -> list[bytes | MediaError]:
    """The bytes of each segment, or why they cannot be had; all at once."""

    async def fetch(score: SegmentScore) -> bytes | MediaError:
        try:
            media = await fetcher.fetch(score.uri, score.init_uri)
        except MediaError as error:
            return error
        except Exception as error:
            # Whatever an origin answers, it must not hold back the other streams.
            log.warning("a segment cannot be fetched again", exc_info=error, extra={"segment_id": score.segment_id})
            return MediaError(f"{score.segment_id}: {type(error).__name__}: {error}", kind="internal")
        try:
            return await asyncio.to_thread(media.path.read_bytes)
        except OSError as error:
            return MediaError(f"{score.segment_id}: {error.strerror}", kind="not-found")
        finally:
            media.discard()

    return list(await asyncio.gather(*(fetch(score) for score in scores)))


class Harvest:
    """Chooses, stores and queues."""

    def __init__(self, limits: HarvestLimits, store: ClipStore, topic: QueueTopic, fetch: Fetch) -> None:
        self._limits, self._store, self._topic, self._fetch = limits, store, topic, fetch
        self.remember()
        self._known: OrderedDict[str, OrderedDict[str, SegmentScore]] = OrderedDict()
        self._chosen: dict[tuple[str, str], tuple[SegmentScore, HarvestReason]] = {}
        self._waiting: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def remember(self) -> None:
        """Know what is stored, from the topic."""
        self._memory = Memory(self._limits.per_hour, self._topic.refresh().examples())

    def read(self, records: Sequence[Any]) -> None:
        """Choose among messages of one partition: scores, or alerts."""
        for record in records:
            if time.time() - record.timestamp / 1000 > TOO_OLD_SECONDS:
                continue
            try:
                if record.topic == ALERTS_TOPIC:
                    self._read_alert(QualityAlert.from_bytes(record.value))
                else:
                    self._read_score(SegmentScore.from_bytes(record.value))
            except EventError as error:
                log.warning("a message on %s cannot be read: %s", record.topic, error)

    def store(self) -> None:
        """Store what was chosen, and queue it. Raises `BrokerError` or OSError; then it is chosen again."""
        chosen, self._chosen = list(self._chosen.values()), {}
        for begin in range(0, len(chosen), FETCHES):
            self._store_some(chosen[begin : begin + FETCHES])

    def _store_some(self, chosen: Sequence[tuple[SegmentScore, HarvestReason]]) -> None:
        examples = []
        for (score, reason), data in zip(chosen, self._fetch([score for score, _ in chosen]), strict=True):
            if isinstance(data, MediaError):
                self._memory.forget(score)
                metrics.HARVESTED.labels("vanished").inc()
                log.info("not stored: %s", data.reason, extra={"segment_id": score.segment_id})
                continue
            try:
                example = make_example(score, reason, self._store.uri(score.stream_id, data), data)
            except ValueError as error:
                # A score of somebody else's making; tried again it would hold back all that come after it.
                log.warning("not stored: its score makes no example: %s", error, extra={"segment_id": score.segment_id[:100]})
                continue
            self._store.put(example, data)
            examples.append(example)
        if not examples:
            return
        self._topic.add(examples)
        queue = self._topic.refresh()
        for example in examples:
            if queue.holds(example):
                metrics.HARVESTED.labels(example.reason).inc()
                log.info("stored to be rated: %s", example.reason, extra={"segment_id": example.segment_id})
            else:
                # Its stream was deleted meanwhile; whoever did may not have seen this clip.
                self._store.delete(example.clip_uri)
                self._topic.take_back([example])

    def _read_score(self, score: SegmentScore) -> None:
        known = self._known.setdefault(score.stream_id, OrderedDict())
        known[score.segment_id] = score
        self._known.move_to_end(score.stream_id)
        if len(known) > KNOWN_SCORES:
            known.popitem(last=False)
        if len(self._known) > KNOWN_STREAMS:
            self._known.popitem(last=False)
        self._choose(score, alerted=self._waiting.pop((score.stream_id, score.segment_id), False))

    def _read_alert(self, alert: QualityAlert) -> None:
        if alert.state == "resolved" or alert.kind not in ALERTS_WITH_PICTURE:
            return
        known = self._known.get(alert.stream_id)
        if known is None or alert.segment_id not in known:
            self._waiting[alert.stream_id, alert.segment_id] = True
            if len(self._waiting) > WAITING_ALERTS:
                self._waiting.popitem(last=False)
        else:
            self._choose(known[alert.segment_id], alerted=True)

    def _choose(self, score: SegmentScore, alerted: bool) -> None:
        reason = why(score, self._limits, alerted)
        if reason is None:
            return
        key = score.stream_id, score.segment_id
        if key in self._chosen:
            self._chosen[key] = score, reason
        elif self._memory.wants(score, now := datetime.now(UTC)):
            self._memory.add(score, now)
            self._chosen[key] = score, reason


def make_example(score: SegmentScore, reason: HarvestReason, clip_uri: str, data: bytes) -> TrainingExample:
    """The example of a segment's bytes; its id is their hash, as in the clip's name."""
    assert score.score is not None
    assert score.uncertainty is not None
    assert score.model is not None
    assert score.fingerprint is not None
    return TrainingExample(
        example_id=clip_uri.rsplit("/", 1)[-1].split(".")[0],
        clip_uri=clip_uri,
        size=len(data),
        reason=reason,
        score=score.score,
        uncertainty=score.uncertainty,
        model=score.model,
        fingerprint=score.fingerprint,
        stream_id=score.stream_id,
        segment_id=score.segment_id,
        sequence=score.sequence,
        start=score.start,
        duration=score.duration,
        rendition=score.rendition,
        labels=score.labels,
        queued_at=datetime.now(UTC),
    )
