"""The harvest agent, with a topic in memory and a clip store in a folder."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import MediaError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, OperatorRating, QualityAlert, SegmentScore, StreamDeletion, TrainingExample
from streams.media.fetch import Fetcher, FetchLimits, LocalMedia
from streams.queue.agent import Harvest, fetch_all
from streams.queue.clips import ClipStore
from streams.queue.selection import HarvestLimits
from tests.support.alerts import Killed
from tests.support.queue import MemoryTopic, clip_of, scored, stored_example

UNLIMITED = 10**6
"""More messages than any test sends."""


def record(event: SegmentScore | QualityAlert, age: float = 0) -> Any:
    """A message as a consumer gets it. age: seconds since it was written."""
    topic = ALERTS_TOPIC if isinstance(event, QualityAlert) else SCORES_TOPIC
    return SimpleNamespace(topic=topic, value=event.to_bytes(), timestamp=(time.time() - age) * 1000)


def alert(score: SegmentScore, **changes: Any) -> QualityAlert:
    """An alert that names this segment."""
    fields = {"kind": "quality-drop", "state": "firing", "value": 1.0, "alert_id": "1", "rendition": score.rendition} | changes
    return QualityAlert(stream_id=score.stream_id, started_at=score.start, segment_id=score.segment_id, **fields)


def fetch(scores: list[SegmentScore]) -> list[bytes | MediaError]:
    """Stands for `fetch_all`: the segment at `file:///gone` is missing."""
    return [MediaError("gone", kind="not-found") if score.uri == "file:///gone" else clip_of(score) for score in scores]


def harvest(store: ClipStore, topic: MemoryTopic, **changes: Any) -> Harvest:
    return Harvest(HarvestLimits(**changes), store, topic, fetch, ALERTS_TOPIC)  # type: ignore[arg-type]


def reasons(topic: MemoryTopic) -> dict[str, str]:
    """The reason of each queued example, by segment id."""
    return {example.segment_id: example.reason for example in topic.refresh().examples()}


def test_only_the_bad_segment_of_a_stream_is_stored_and_queued(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    bad = scored(1, 20, labels={"tier": "premium"}, rendition="720p")
    agent.choose_from(
        [record(bad), record(scored(2, 90)), SimpleNamespace(topic=SCORES_TOPIC, value=b"{}", timestamp=time.time() * 1000)]
    )
    agent.store_chosen()
    (example,) = topic.refresh().examples()
    assert (example.segment_id, example.reason, example.score) == (bad.segment_id, "low-score", 20)
    assert (example.labels, example.rendition, example.start) == (bad.labels, "720p", bad.start)
    assert store.read(example.clip_uri) == clip_of(bad)
    assert example.size == len(clip_of(bad))


def test_the_segment_of_an_alert_is_stored_whether_its_score_or_its_alert_is_read_first(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    before, after = scored(1, 70), scored(2, 70)
    agent.choose_from([record(before)])
    agent.store_chosen()
    agent.choose_from([record(alert(before)), record(alert(after))])
    agent.choose_from([record(scored(3, 70)), record(after)])
    agent.store_chosen()
    assert reasons(topic) == {before.segment_id: "alert", after.segment_id: "alert"}


def test_renditions_whose_segments_have_the_same_ids_are_not_taken_for_each_other(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)

    def pair(sequence: int, high: float, low: float) -> list[SegmentScore]:
        scores = {"720p": high, "360p": low}
        return [
            scored(sequence, score, picture=sequence * 10 + place, rendition=rendition)
            for place, (rendition, score) in enumerate(scores.items())
        ]

    before, after = pair(1, 55, 75), pair(2, 55, 75)
    agent.choose_from([record(score) for score in before])
    agent.choose_from([record(alert(before[0])), record(alert(after[0]))])
    agent.choose_from([record(score) for score in reversed(after)])
    agent.choose_from([record(score) for score in pair(3, 20, 35)])
    agent.store_chosen()
    stored = {(example.sequence, example.rendition, example.reason) for example in topic.refresh().examples()}
    assert stored == {(1, "720p", "alert"), (2, "720p", "alert"), (3, "720p", "low-score"), (3, "360p", "low-score")}


def test_the_segment_of_an_alert_is_known_for_as_long_however_many_renditions_its_stream_has(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    first, *others = [
        scored(sequence, 70, picture=9 * sequence + place, rendition=f"{place}p") for sequence in range(60) for place in range(9)
    ]
    agent.choose_from([record(score) for score in (first, *others)])
    agent.choose_from([record(alert(first))])
    agent.store_chosen()
    assert reasons(topic) == {first.segment_id: "alert"}


def test_a_resolved_alert_and_a_silence_are_no_reason_to_store(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    score = scored(1, 70)
    agent.choose_from([record(score), record(alert(score, state="resolved")), record(alert(score, kind="no-segments"))])
    agent.store_chosen()
    assert reasons(topic) == {}


def test_a_segment_that_is_gone_leaves_its_place_to_another(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic, per_hour=1)
    agent.choose_from([record(scored(1).model_copy(update={"uri": "file:///gone"}))])
    agent.store_chosen()
    agent.choose_from([record(scored(2))])
    agent.store_chosen()
    assert list(reasons(topic)) == ["channel/2"]


def test_a_clip_of_a_clock_that_was_ahead_does_not_let_the_others_be_forgotten(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic, per_hour=1)
    agent.choose_from([record(scored(1))])
    agent.store_chosen()
    topic.add([stored_example(store, scored(9, stream="other"), queued_at=datetime.now(UTC) + timedelta(days=3))])
    agent.refresh_memory()
    agent.choose_from([record(scored(2))])
    agent.store_chosen()
    assert set(reasons(topic)) == {"channel/1", "other/9"}


async def test_an_unexpected_error_of_one_fetch_does_not_stop_the_others(tmp_path: Path) -> None:
    class FailingFetcher:
        """Stands for `streams.media.fetch.Fetcher`: fails for one URI with an error that nobody expects."""

        async def fetch_segment(self, segment: SegmentScore) -> LocalMedia:
            if segment.uri == "file:///odd":
                raise ValueError("unexpected")
            (tmp_path / "media").write_bytes(b"media")
            return LocalMedia(tmp_path / "media", temporary=True)

    odd, fine = scored(1).model_copy(update={"uri": "file:///odd"}), scored(2)
    fetched = await fetch_all(FailingFetcher(), [odd, fine], UNLIMITED)  # type: ignore[arg-type]
    assert isinstance(fetched[0], MediaError)
    assert fetched[1] == b"media"


async def test_a_file_that_is_larger_than_a_fetched_segment_may_be_is_not_read(tmp_path: Path) -> None:
    recording = tmp_path / "recording.ts"
    recording.write_bytes(bytes(3 << 20))
    score = scored(1).model_copy(update={"uri": recording.as_uri()})
    async with Fetcher(FetchLimits(roots=(tmp_path,)), tmp_path / "inbox") as fetcher:
        (refused,) = await fetch_all(fetcher, [score], 2 << 20)
        (data,) = await fetch_all(fetcher, [score], 3 << 20)
    assert isinstance(refused, MediaError)
    assert refused.kind == "too-large"
    assert "FVQ_FETCH_MAX_MB (2 MiB)" in refused.reason
    assert data == bytes(3 << 20)
    assert recording.exists()


def test_a_score_that_fits_no_example_is_skipped_and_the_others_are_stored(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.choose_from([record(scored(1, stream="x" * 300)), record(scored(2))])
    agent.store_chosen()
    assert list(reasons(topic)) == ["channel/2"]


def test_a_score_that_is_too_old_is_ignored(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.choose_from([record(scored(1), age=3600)])
    agent.store_chosen()
    assert reasons(topic) == {}


def test_a_worker_that_takes_over_a_stream_stores_no_scene_again(store: ClipStore) -> None:
    topic = MemoryTopic()
    other = harvest(store, topic)
    agent = harvest(store, topic)
    agent.choose_from([record(scored(1, 20, picture=7))])
    agent.store_chosen()
    other.refresh_memory()
    other.choose_from([record(scored(2, 20, picture=7))])
    other.store_chosen()
    assert list(reasons(topic)) == ["channel/1"]


def test_a_stream_that_is_deleted_while_its_clip_is_stored_leaves_nothing(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.choose_from([record(scored(1))])
    add = topic.add

    def delete_then_add(examples: list[Any]) -> None:
        add([StreamDeletion(stream_id="channel", deleted_at=datetime.now(UTC))])
        add(examples)

    topic.add = delete_then_add  # type: ignore[method-assign]
    agent.store_chosen()
    assert list(store.clips()) == []
    assert topic.refresh().of_stream("channel") == []


def rated(store: ClipStore, score: SegmentScore) -> TrainingExample:
    """The wall stores a segment's clip with a person's rating; returns its example, which is not queued yet."""
    rating = OperatorRating(level=1, by="Ada", at=datetime.now(UTC))
    return stored_example(store, score, reason="operator", operator=rating)


@pytest.mark.parametrize("queued", [True, False])
def test_a_clip_that_a_person_rated_before_keeps_the_rating(store: ClipStore, queued: bool) -> None:
    """queued: False where the wall was killed between the clip and its message."""
    topic = MemoryTopic()
    agent = harvest(store, topic)
    score = scored(1)
    example = rated(store, score)
    topic.add([example] if queued else [])
    agent.choose_from([record(score)])
    agent.store_chosen()
    assert topic.refresh().examples() == store.examples() == [example]


def test_a_rating_whose_clip_is_in_the_walls_own_store_stays_on_the_queue(tmp_path: Path, store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    score = scored(1)
    example = rated(ClipStore(str(tmp_path / "of the wall")), score)
    topic.add([example])
    agent.choose_from([record(score)])
    agent.store_chosen()
    assert topic.refresh().examples() == [example]
    assert not list(store.clips()), "the clip is stored already"


def test_a_rating_that_is_given_while_the_harvest_queues_the_clip_is_not_lost(store: ClipStore) -> None:
    score = scored(1)

    class Racing(MemoryTopic):
        """The wall stores and queues the rated clip just before the harvest's message."""

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            if not self.messages:
                MemoryTopic._send(self, rated(store, score).key, store.examples()[0].to_bytes())
            super().add(events)

    topic = Racing()
    agent = harvest(store, topic)
    agent.choose_from([record(score)])
    agent.store_chosen()
    (example,) = topic.refresh().examples()
    assert example.operator is not None
    assert store.examples() == [example]


def test_a_clip_that_waits_though_its_stream_was_deleted_is_replaced(store: ClipStore) -> None:
    """A worker was killed before it took the example back. The clip was chosen anew since."""
    topic = MemoryTopic()
    agent = harvest(store, topic)
    score = scored(1)
    left = stored_example(store, score)
    topic.add([left, StreamDeletion(stream_id=score.stream_id, deleted_at=datetime.now(UTC))])
    agent.choose_from([record(score)])
    agent.store_chosen()
    (example,) = topic.refresh().examples()
    assert example.queued_at > left.queued_at


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), max_size=30), st.lists(st.integers(0, 6), max_size=6))
def test_workers_killed_at_any_message_queue_each_clip_once(segments: list[tuple[int, float]], killed_workers: list[int]) -> None:
    """segments: of each, its scene and score. killed_workers: of each, the messages that it sends before it is killed."""
    store, topic = ClipStore(f"memory://{time.monotonic_ns()}"), MemoryTopic()
    begin = datetime.now(UTC)
    scores = [scored(i, score, picture=picture, begin=begin) for i, (picture, score) in enumerate(segments)]

    def run_worker(messages: int) -> bool:
        topic.messages_left = messages
        agent = harvest(store, topic, per_hour=100)
        try:
            agent.choose_from([record(score) for score in scores])
            agent.store_chosen()
        except Killed:
            return False
        return True

    for messages in killed_workers:
        run_worker(messages)
    assert run_worker(UNLIMITED)
    waiting = topic.refresh().examples()
    keys = [example.key for example in waiting]
    assert len(keys) == len(set(keys))
    # Every bad segment has a clip of its scene at its quality.
    for score in scores:
        if score.score < 40:
            assert any(example.fingerprint == score.fingerprint and abs(example.score - score.score) <= 10 for example in waiting)
    assert {uri for uri, _ in store.clips()} >= {example.clip_uri for example in waiting}
