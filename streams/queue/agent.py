"""The harvest agent: it stores the segments that are hard for the model, and queues them to be rated.

It is a thread of the worker, with a consumer group of its own on the scores and the alerts. It fetches the segment a second time,
soon, because a live segment is available only for minutes. It stores the clip, then sends the clip's example and waits for
the acknowledgement, then commits the scores. If it is killed in between, the next run stores the same clip under the same name,
and sends an example with the same key.
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
from streams.queue.retention import queue_stored
from streams.queue.selection import REMEMBERED, HarvestLimits, Memory, harvest_reason
from streams.queue.topic import QueueTopic
from streams.remembered import remember

log = logging.getLogger(__name__)

POLL_SECONDS, POLL_RECORDS = 0.5, 500

TOO_OLD_SECONDS = 600.0
"""An older score or alert is ignored: its live segment is probably gone."""

RECENT_SCORES = 64
"""Last scores of a rendition that are kept in case an alert names one. An alert comes seconds after its score."""

MAX_RENDITIONS = 20_000
"""Renditions whose last scores are kept."""

MAX_EARLY_ALERTS = 10_000
"""Alerts that are kept because their score was not read yet."""

ALERTS_TO_RATE = {"low-quality", "quality-drop", "frozen"}
"""Kinds of alerts whose segment shows something to rate."""

FETCHED_TOGETHER = 8
"""Segments that are fetched at the same time."""

PAUSES = Pauses(first=1.0, longest=60.0)

Key = tuple[str, str | None, str]
"""A segment's stream, rendition and id: the same id may be one of each rendition."""

Fetch = Callable[[Sequence[SegmentScore]], list[bytes | MediaError]]
"""From scores to the bytes of their segments, or the reason why a segment cannot be fetched."""


def harvest_agent(
    connection: Connection, group: Group, limits: HarvestLimits, store: ClipStore, fetch_limits: FetchLimits, inbox: Path
) -> Agent:
    """The harvest agent.

    group: the scorers' group. limits: what is worth a rating. fetch_limits: what may be fetched. inbox: folder for fetched
    segments. Raises `BrokerError` where the topic of the queue is missing.
    """
    most_bytes = fetch_limits.megabytes << 20
    scores, alerts = connection.named(SCORES_TOPIC), connection.named(ALERTS_TOPIC)
    with QueueTopic(connection):
        pass

    def run(stop: threading.Event) -> None:
        with ExitStack() as stack:
            topic = stack.enter_context(QueueTopic(connection))
            # Both topics have the same partitions by stream, and the range assignor gives both of a stream's to the same worker.
            member = stack.enter_context(Member(connection, group.of("harvest"), [scores, alerts], bulk=True))
            runner = stack.enter_context(asyncio.Runner())
            fetcher = runner.run(Fetcher(fetch_limits, inbox).__aenter__())
            stack.callback(lambda: runner.run(fetcher.__aexit__(None, None, None)))
            harvest = Harvest(limits, store, topic, lambda scores: runner.run(fetch_all(fetcher, scores, most_bytes)), alerts)
            for batch in member.batches(stop, lambda: POLL_SECONDS, POLL_RECORDS):
                if batch.reassigned:
                    # The topic says which clips another worker stored of the streams that this worker has now.
                    harvest.refresh_memory()
                # Scores before alerts, because an alert names a score.
                for at in sorted(batch.records, key=lambda at: at.topic == alerts):
                    harvest.choose_from(batch.records[at])
                if batch.records:
                    harvest.store_chosen()
                    member.consumer.commit()

    return Agent("harvest", run, PAUSES)


async def fetch_all(fetcher: Fetcher, scores: Sequence[SegmentScore], most_bytes: int) -> list[bytes | MediaError]:
    """The bytes of each segment, or the reason why it cannot be fetched; all are fetched at the same time.

    most_bytes: of a segment. What is fetched has no more; a recording at a `file:` URI may be as large as the memory.
    """

    async def fetch(score: SegmentScore) -> bytes | MediaError:
        try:
            media = await fetcher.fetch_segment(score)
        except MediaError as error:
            return error
        except Exception as error:
            # An unexpected answer of one origin must not stop the harvest of other streams.
            log.warning("a segment cannot be fetched again", exc_info=error, extra={"segment_id": score.segment_id})
            return MediaError(f"{score.segment_id}: {type(error).__name__}: {error}", kind="internal")
        try:
            if media.path.stat().st_size > most_bytes:
                reason = f"{score.segment_id}: it is larger than FVQ_FETCH_MAX_MB ({most_bytes >> 20} MiB)"
                return MediaError(reason, kind="too-large")
            return await asyncio.to_thread(media.path.read_bytes)
        except OSError as error:
            return MediaError(f"{score.segment_id}: {error.strerror}", kind="not-found")
        finally:
            media.discard()

    return list(await asyncio.gather(*(fetch(score) for score in scores)))


class Harvest:
    """Chooses segments, stores their clips and queues their examples. alerts: the name of the alerts' topic."""

    def __init__(self, limits: HarvestLimits, store: ClipStore, topic: QueueTopic, fetch: Fetch, alerts: str) -> None:
        self._limits, self._store, self._topic, self._fetch, self._alerts = limits, store, topic, fetch, alerts
        self.refresh_memory()
        self._recent: OrderedDict[tuple[str, str | None], OrderedDict[str, SegmentScore]] = OrderedDict()
        self._chosen: dict[Key, tuple[SegmentScore, HarvestReason]] = {}
        self._early_alerts: OrderedDict[Key, bool] = OrderedDict()

    def refresh_memory(self) -> None:
        """Read from the topic which clips are stored."""
        now = datetime.now(UTC)
        recent = (example for example in self._topic.refresh().examples() if abs(now - example.queued_at) < REMEMBERED)
        self._memory = Memory(self._limits.per_hour, recent)

    def choose_from(self, records: Sequence[Any]) -> None:
        """Choose segments to store. records: messages of one partition, of the scores' topic or of the alerts'."""
        for record in records:
            if time.time() - record.timestamp / 1000 > TOO_OLD_SECONDS:
                continue
            try:
                if record.topic == self._alerts:
                    self._read_alert(QualityAlert.from_bytes(record.value))
                else:
                    self._read_score(SegmentScore.from_bytes(record.value))
            except EventError as error:
                log.warning("a message on %s cannot be read: %s", record.topic, error)

    def store_chosen(self) -> None:
        """Store the chosen segments' clips, and queue their examples.

        Raises `BrokerError` or `OSError`; the agent then restarts, reads the same scores, and chooses again.
        """
        chosen, self._chosen = list(self._chosen.values()), {}
        for first in range(0, len(chosen), FETCHED_TOGETHER):
            self._queue(self._store_clips(chosen[first : first + FETCHED_TOGETHER]))

    def _store_clips(self, chosen: Sequence[tuple[SegmentScore, HarvestReason]]) -> list[TrainingExample]:
        """Fetch segments again and store their bytes; returns the examples of those that are to be queued.

        A clip that waits already is left as it is: a person may have rated it on the wall, and the rating is nowhere else.
        """
        examples = []
        fetched = self._fetch([score for score, _ in chosen])
        queue = self._topic.refresh()
        for (score, reason), data in zip(chosen, fetched, strict=True):
            if isinstance(data, MediaError):
                self._memory.forget(score)
                metrics.HARVESTED.labels("vanished").inc()
                log.info("not stored: %s", data.reason, extra={"segment_id": score.segment_id})
                continue
            try:
                example = make_example(score, reason, self._store.uri(score.stream_id, data), data)
            except ValueError as error:
                # The score was not written by this program. Raising would make the agent fail on it again and again.
                log.warning("not stored: its score makes no example: %s", error, extra={"segment_id": score.segment_id[:100]})
                continue
            if queue.waiting(example.key) is None:
                examples.append(self._store.put_unless_rated(example, data))
        return examples

    def _queue(self, examples: Sequence[TrainingExample]) -> None:
        """Send examples of stored clips to the topic; deletes the clips of streams that were deleted meanwhile."""
        if not examples:
            return
        for example in queue_stored(self._topic, self._store, examples):
            metrics.HARVESTED.labels(example.reason).inc()
            log.info("stored to be rated: %s", example.reason, extra={"segment_id": example.segment_id})

    def _read_score(self, score: SegmentScore) -> None:
        rendition = score.stream_id, score.rendition
        recent = self._recent.get(rendition) or OrderedDict()
        remember(recent, score.segment_id, score, RECENT_SCORES)
        remember(self._recent, rendition, recent, MAX_RENDITIONS)
        self._choose(score, alerted=self._early_alerts.pop(_key(score), False))

    def _read_alert(self, alert: QualityAlert) -> None:
        if alert.state == "resolved" or alert.kind not in ALERTS_TO_RATE:
            return
        score = self._recent.get((alert.stream_id, alert.rendition), OrderedDict()).get(alert.segment_id)
        if score is not None:
            self._choose(score, alerted=True)
            return
        remember(self._early_alerts, _key(alert), True, MAX_EARLY_ALERTS)

    def _choose(self, score: SegmentScore, alerted: bool) -> None:
        reason = harvest_reason(score, self._limits, alerted)
        if reason is None:
            return
        key = _key(score)
        if key in self._chosen:
            self._chosen[key] = score, reason
        elif self._memory.wants(score, now := datetime.now(UTC)):
            self._memory.add(score, now)
            self._chosen[key] = score, reason


def _key(segment: SegmentScore | QualityAlert) -> Key:
    return segment.stream_id, segment.rendition, segment.segment_id


def make_example(score: SegmentScore, reason: HarvestReason, clip_uri: str, data: bytes) -> TrainingExample:
    """The example of a stored clip. clip_uri: its address in the store, whose name is the clip's id. data: its bytes.

    Raises `ValueError` where the score does not fit into an example.
    """
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
