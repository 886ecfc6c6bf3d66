"""A person's rating of any segment, given on the wall: its clip is kept and queued, with the rating in its example.

The segment is fetched from where its score says it is, as the harvest agent fetches it: soon, because live segments vanish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from streams.errors import MediaError
from streams.events import STORE_LABEL, OperatorRating, SegmentScore, TrainingExample, may_be_stored
from streams.media.fetch import Fetcher, FetchLimits
from streams.queue.agent import fetch_all, make_example
from streams.queue.clips import ClipStore
from streams.queue.retention import example_beside
from streams.queue.topic import QueueTopic
from streams.text import printable


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
        async with Fetcher(self._limits, self._inbox) as fetcher:
            (data,) = await fetch_all(fetcher, [score])
        if isinstance(data, MediaError):
            raise data
        return await asyncio.to_thread(self._keep, score, rating, data)

    def _keep(self, score: SegmentScore, rating: OperatorRating, data: bytes) -> TrainingExample:
        example = make_example(score, "operator", self._store.uri(score.stream_id, data), data)
        with self._open_topic() as topic:
            known = next((one for one in topic.refresh().of_stream(score.stream_id) if one.key == example.key), None)
            # A clip that was harvested before keeps its reason and its time: retention counts from that. It may have been
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


def problem_of(score: SegmentScore) -> str:
    """Why a segment cannot become an example; '' where it can."""
    if not may_be_stored(score.labels):
        return f"the stream carries {STORE_LABEL}:{printable(score.labels[STORE_LABEL])}: its clips must not be stored"
    if score.tier == "glance":
        return "the model did not score this segment: rate one whose score is its own"
    if score.score is None or score.uncertainty is None or score.model is None or score.fingerprint is None:
        return "the segment has no score to rate against: it was skipped"
    return ""
