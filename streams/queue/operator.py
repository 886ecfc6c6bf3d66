"""A person's rating of any segment, given on the wall: its clip is kept and queued, with the rating in its example.

A clip of the segment that waits already is rated as it is in the store. Any other segment is fetched from where its score says it
is, as the harvest agent fetches it: soon, because live segments vanish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path

from streams.errors import MediaError
from streams.events import STORE_LABEL, OperatorRating, SegmentScore, TrainingExample, may_be_stored
from streams.media.fetch import Fetcher, FetchLimits
from streams.queue.agent import fetch_all, make_example
from streams.queue.clips import ClipStore
from streams.queue.retention import example_beside
from streams.queue.topic import QueueTopic
from streams.text import printable

START_STEP = timedelta(milliseconds=1)
"""What InfluxDB keeps of a segment's start; the queue has it whole."""


class OperatorRatings:
    """Keeps rated segments. open_topic: the queue's topic. inbox: folder for fetched segments."""

    def __init__(
        self, open_topic: Callable[[], AbstractContextManager[QueueTopic]], store: ClipStore, limits: FetchLimits, inbox: Path
    ) -> None:
        self._open_topic, self._store, self._limits, self._inbox = open_topic, store, limits, inbox

    async def keep(self, score: SegmentScore, rating: OperatorRating) -> TrainingExample:
        """The example of a rated segment, when its clip is stored and it is on the queue.

        Raises `MediaError`: kind `refused` where the clip must not or cannot be an example, other kinds where its media cannot
        be fetched; `BrokerError` or `OSError` where it cannot be kept now.
        """
        problem = problem_of(score)
        if problem:
            raise MediaError(problem, kind="refused")
        return await asyncio.to_thread(self._keep, score, rating)

    def _keep(self, score: SegmentScore, rating: OperatorRating) -> TrainingExample:
        """Keep a segment whose clip may be an example.

        The topic is opened, used and closed in this one thread, also where nobody waits for the answer any more.
        """
        with self._open_topic() as topic:
            data = self._waiting_clip(topic, score)
            if data is None:
                data = asyncio.run(self._fetch(score))
            return self._queue(topic, score, rating, data)

    def _waiting_clip(self, topic: QueueTopic, score: SegmentScore) -> bytes | None:
        """The bytes of the segment's clip that waits already; None where none waits, or it is in another store.

        The wall offers such clips for weeks. By then the segment's address leads nowhere, or to another segment.
        """
        queue = topic.refresh()
        for example in queue.of_stream(score.stream_id):
            if queue.holds(example) and _is_of(example, score):
                # A sweep, or `fvq queue rm`, may have deleted it since.
                with suppress(MediaError):
                    return self._store.read(example.clip_uri)
        return None

    async def _fetch(self, score: SegmentScore) -> bytes:
        """The bytes of a segment. Raises `MediaError`."""
        async with Fetcher(self._limits, self._inbox) as fetcher:
            (data,) = await fetch_all(fetcher, [score], self._limits.megabytes << 20)
        if isinstance(data, MediaError):
            raise data
        return data

    def _queue(self, topic: QueueTopic, score: SegmentScore, rating: OperatorRating, data: bytes) -> TrainingExample:
        example = make_example(score, "operator", self._store.uri(score.stream_id, data), data)
        known = topic.refresh().waiting(example.key)
        # A clip that was harvested before and waits keeps its reason and its time: retention counts from that. It may have been
        # harvested into another store, or into this one before it was moved.
        example = (known or example).model_copy(update={"operator": rating, "clip_uri": example.clip_uri})
        self._store.put(example, data)
        topic.add([example])
        beside = example_beside(self._store, example.clip_uri)
        if isinstance(beside, TrainingExample) and beside.operator is None:
            # The harvest agent stored the clip at the same moment. It reads the example once more after its own message.
            self._store.put(example, data)
            topic.add([example])
        if not topic.refresh().holds(example):
            # The stream was deleted meanwhile, perhaps before this clip was in the store.
            self._store.delete(example.clip_uri)
            topic.take_back([example])
            raise MediaError("the stream's clips were deleted", kind="refused")
        return example


def _is_of(example: TrainingExample, score: SegmentScore) -> bool:
    """Whether an example is of this very segment. A stream that was started again may have used the segment's id before."""
    named_alike = (example.segment_id, example.rendition) == (score.segment_id, score.rendition)
    return named_alike and abs(example.start - score.start) < START_STEP


def problem_of(score: SegmentScore) -> str:
    """Why a segment cannot become an example; '' where it can."""
    if not may_be_stored(score.labels):
        return f"the stream carries {STORE_LABEL}:{printable(score.labels[STORE_LABEL])}: its clips must not be stored"
    if score.tier == "glance":
        return "the model did not score this segment: rate one whose score is its own"
    if score.score is None or score.uncertainty is None or score.model is None or score.fingerprint is None:
        return "the segment has no score to rate against: it was skipped"
    return ""
