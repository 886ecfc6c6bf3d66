"""A rating on the wall keeps the segment's clip and queues it, once, with who said what."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.errors import MediaError
from streams.events import OperatorRating, SegmentScore, StreamDeletion, TrainingExample
from streams.media.fetch import FetchLimits
from streams.queue.clips import ClipStore
from streams.queue.operator import OperatorRatings
from tests.support.queue import MemoryTopic, clip_of, scored, stored_example

RATING = OperatorRating(level=2, by="Ada", at=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def topic() -> MemoryTopic:
    return MemoryTopic()


@pytest.fixture
def ratings(tmp_path: Path, topic: MemoryTopic, store: ClipStore) -> OperatorRatings:
    return OperatorRatings(lambda: topic, store, FetchLimits(roots=(tmp_path,)), tmp_path / "inbox")


def segment(folder: Path, **fields: object) -> SegmentScore:
    """A scored segment whose media is a file."""
    score = scored(1, 80, **fields)
    path = folder / "segment.ts"
    path.write_bytes(clip_of(score))
    return score.model_copy(update={"uri": path.as_uri()})


def gone_segment(folder: Path) -> SegmentScore:
    """A scored segment whose media is there no more."""
    return scored(1, 80).model_copy(update={"uri": (folder / "gone.ts").as_uri()})


async def test_the_clip_is_stored_and_queued(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = segment(tmp_path)
    example = await ratings.keep(score, RATING)
    assert (example.reason, example.operator) == ("operator", RATING)
    assert store.read(example.clip_uri) == clip_of(score)
    assert topic.refresh().examples() == store.examples() == [example]
    again = await ratings.keep(score, RATING.model_copy(update={"level": 3}))
    assert [example.operator.level for example in topic.refresh().examples() if example.operator] == [3]
    assert again.queued_at == example.queued_at


@pytest.mark.parametrize("waits", [False, True])
async def test_the_queue_is_read_once_for_a_rating(tmp_path: Path, store: ClipStore, waits: bool) -> None:
    opened: list[MemoryTopic] = []

    def open_topic() -> MemoryTopic:
        opened.append(topic)
        return topic

    topic, score = MemoryTopic(), segment(tmp_path)
    if waits:
        topic.add([stored_example(store, score)])
    ratings = OperatorRatings(open_topic, store, FetchLimits(roots=(tmp_path,)), tmp_path / "inbox")  # type: ignore[arg-type]
    example = await ratings.keep(score, RATING)
    assert topic.refresh().examples() == [example]
    assert len(opened) == 1


@pytest.mark.parametrize("waits_in", ["open", "add"])
async def test_the_topic_is_closed_once_nothing_uses_it_where_nobody_waits_for_the_answer(
    tmp_path: Path, store: ClipStore, waits_in: str
) -> None:
    reached, go, closed = threading.Event(), threading.Event(), threading.Event()

    def wait(place: str) -> None:
        if place == waits_in:
            reached.set()
            assert go.wait(20)

    class SlowTopic(MemoryTopic):
        """Waits for Kafka in one of its calls."""

        def __enter__(self) -> MemoryTopic:
            wait("open")
            return self

        def __exit__(self, *_: object) -> None:
            closed.set()

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            wait("add")
            assert not closed.is_set()
            super().add(events)

    topic = SlowTopic()
    ratings = OperatorRatings(lambda: topic, store, FetchLimits(roots=(tmp_path,)), tmp_path / "inbox")  # type: ignore[arg-type, return-value]
    keeping = asyncio.create_task(ratings.keep(segment(tmp_path), RATING))
    assert await asyncio.to_thread(reached.wait, 20)
    keeping.cancel()
    await asyncio.wait({keeping}, timeout=0.2)
    assert not closed.is_set()
    go.set()
    assert await asyncio.to_thread(closed.wait, 20)
    assert len(topic.refresh().examples()) == 1


async def test_a_clip_that_waits_already_keeps_its_reason(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = segment(tmp_path)
    waiting = stored_example(store, score)
    topic.add([waiting])
    assert await ratings.keep(score, RATING) == waiting.model_copy(update={"operator": RATING})
    assert len(topic.refresh().examples()) == 1


async def test_a_clip_that_waits_is_rated_when_its_segment_is_gone(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = gone_segment(tmp_path)
    waiting = stored_example(store, score)
    topic.add([waiting])
    # A store of scores that counts in milliseconds tells the start so.
    asked = score.model_copy(update={"start": score.start.replace(microsecond=score.start.microsecond // 1000 * 1000)})
    example = await ratings.keep(asked, RATING)
    assert example == waiting.model_copy(update={"operator": RATING})
    assert topic.refresh().examples() == store.examples() == [example]


async def test_a_clip_that_waits_is_rated_when_another_segment_has_its_address(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = segment(tmp_path)
    waiting = stored_example(store, score)
    topic.add([waiting])
    (tmp_path / "segment.ts").write_bytes(clip_of(scored(2, 80)))
    assert await ratings.keep(score, RATING) == waiting.model_copy(update={"operator": RATING})
    assert len(list(store.clips())) == 1


@pytest.mark.parametrize(
    "changes",
    [{"rendition": "360p"}, {"segment_id": "another"}, {"start": datetime(2026, 1, 1, tzinfo=UTC)}],
    ids=lambda changes: next(iter(changes)),
)
async def test_the_clip_of_another_segment_is_not_rated_for_it(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore, changes: dict[str, object]
) -> None:
    score = gone_segment(tmp_path)
    topic.add([stored_example(store, score, **changes)])
    with pytest.raises(MediaError, match="gone"):
        await ratings.keep(score, RATING)
    assert len(topic.messages) == 1


async def test_a_clip_that_has_just_left_the_store_is_no_example(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = gone_segment(tmp_path)
    waiting = stored_example(store, score)
    topic.add([waiting])
    store.delete(waiting.clip_uri)
    with pytest.raises(MediaError, match="gone"):
        await ratings.keep(score, RATING)


async def test_a_clip_that_was_harvested_into_another_store_is_kept_in_this_one(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = segment(tmp_path)
    waiting = stored_example(ClipStore(str(tmp_path / "elsewhere")), score)
    topic.add([waiting])
    example = await ratings.keep(score, RATING)
    here = store.uri(score.stream_id, clip_of(score))
    assert example == waiting.model_copy(update={"operator": RATING, "clip_uri": here})
    assert store.read(here) == clip_of(score)
    assert topic.refresh().examples() == store.examples() == [example]


async def test_a_clip_that_the_harvest_stores_at_the_same_moment_keeps_the_rating_beside_it(
    tmp_path: Path, store: ClipStore
) -> None:
    score = segment(tmp_path)

    class Racing(MemoryTopic):
        """The harvest writes its example over the rated one just before the wall's message."""

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            if not self.messages:
                stored_example(store, score)
            super().add(events)

    topic = Racing()
    ratings = OperatorRatings(lambda: topic, store, FetchLimits(roots=(tmp_path,)), tmp_path / "inbox")  # type: ignore[arg-type, return-value]
    example = await ratings.keep(score, RATING)
    assert topic.refresh().examples() == store.examples() == [example]


@pytest.mark.parametrize("fields", [{"labels": {"store": "no"}}, {"uncertainty": None}, {"fingerprint": None}])
async def test_what_must_not_or_cannot_be_kept_is_not_fetched(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, fields: dict[str, object]
) -> None:
    with pytest.raises(MediaError) as refusal:
        await ratings.keep(segment(tmp_path, **fields), RATING)
    assert refusal.value.kind == "refused"
    assert not topic.messages
    assert not (tmp_path / "inbox").exists()


async def test_media_that_is_gone_or_elsewhere_is_no_example(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic
) -> None:
    gone = gone_segment(tmp_path)
    with pytest.raises(MediaError):
        await ratings.keep(gone, RATING)
    with pytest.raises(MediaError):
        await ratings.keep(gone.model_copy(update={"uri": "file:///etc/passwd"}), RATING)
    assert not topic.messages


async def test_a_clip_that_a_deletion_left_behind_is_rated_anew(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    """As a worker leaves it that queued it when its stream was deleted, until the next sweep."""
    score = segment(tmp_path)
    left = stored_example(store, score, queued_at=datetime(2026, 3, 1, tzinfo=UTC))
    topic.add([left, StreamDeletion(stream_id=score.stream_id, deleted_at=left.queued_at + timedelta(seconds=1))])
    example = await ratings.keep(score, RATING)
    assert example.queued_at > left.queued_at
    assert topic.refresh().examples() == store.examples() == [example]


async def test_a_stream_that_is_deleted_meanwhile_leaves_no_clip(
    tmp_path: Path, ratings: OperatorRatings, topic: MemoryTopic, store: ClipStore
) -> None:
    score = segment(tmp_path)
    topic.add([StreamDeletion(stream_id=score.stream_id, deleted_at=datetime(2999, 1, 1, tzinfo=UTC))])
    with pytest.raises(MediaError, match="deleted"):
        await ratings.keep(score, RATING)
    assert not topic.refresh().examples()
    assert not list(store.clips())
