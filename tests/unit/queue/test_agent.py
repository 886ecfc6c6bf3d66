"""The harvest agent, against a topic in memory and a store in a folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import MediaError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, QualityAlert, SegmentScore, StreamDeletion
from streams.media.fetch import LocalMedia
from streams.queue.agent import Harvest, fetch_all
from streams.queue.clips import ClipStore
from streams.queue.selection import HarvestLimits
from tests.support.queue import Killed, MemoryTopic, clip_of, scored


def record(event: SegmentScore | QualityAlert, age: float = 0) -> Any:
    topic = ALERTS_TOPIC if isinstance(event, QualityAlert) else SCORES_TOPIC
    return SimpleNamespace(topic=topic, value=event.to_bytes(), timestamp=(time.time() - age) * 1000)


def alert(score: SegmentScore, **fields: Any) -> QualityAlert:
    known = {"kind": "quality-drop", "state": "firing", "value": 1.0, "alert_id": "1"} | fields
    return QualityAlert(stream_id=score.stream_id, started_at=score.start, segment_id=score.segment_id, **known)


def fetch(scores: list[SegmentScore]) -> list[bytes | MediaError]:
    return [MediaError("gone", kind="not-found") if one.uri == "file:///gone" else clip_of(one) for one in scores]


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(str(tmp_path / "clips"))


def harvest(store: ClipStore, topic: MemoryTopic, **changes: Any) -> Harvest:
    return Harvest(HarvestLimits(**changes), store, topic, fetch)  # type: ignore[arg-type]


def reasons(topic: MemoryTopic) -> dict[str, str]:
    return {one.segment_id: one.reason for one in topic.refresh().examples()}


def test_a_bad_segment_is_stored_and_queued(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    bad = scored(1, 20, labels={"tier": "premium"}, rendition="720p")
    agent.read(
        [record(bad), record(scored(2, 90)), SimpleNamespace(topic=SCORES_TOPIC, value=b"{}", timestamp=time.time() * 1000)]
    )
    agent.store()
    (example,) = topic.refresh().examples()
    assert (example.segment_id, example.reason, example.score) == (bad.segment_id, "low-score", 20)
    assert (example.labels, example.rendition, example.start) == (bad.labels, "720p", bad.start)
    assert store.read(example.clip_uri) == clip_of(bad)
    assert example.size == len(clip_of(bad))


def test_an_alerts_segment_is_stored_whichever_comes_first(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    before, after = scored(1, 70), scored(2, 70)
    agent.read([record(before)])
    agent.store()
    agent.read([record(alert(before)), record(alert(after))])
    agent.read([record(scored(3, 70)), record(after)])
    agent.store()
    assert reasons(topic) == {before.segment_id: "alert", after.segment_id: "alert"}


def test_an_end_or_silence_is_no_reason(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    score = scored(1, 70)
    agent.read([record(score), record(alert(score, state="resolved")), record(alert(score, kind="no-segments"))])
    agent.store()
    assert reasons(topic) == {}


def test_what_vanished_is_passed_over_and_another_taken(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic, per_hour=1)
    agent.read([record(scored(1).model_copy(update={"uri": "file:///gone"}))])
    agent.store()
    agent.read([record(scored(2))])
    agent.store()
    assert list(reasons(topic)) == ["channel/2"]


async def test_whatever_an_origin_answers_the_others_are_fetched(tmp_path: Path) -> None:
    class Fetcher:
        async def fetch(self, uri: str, init_uri: str | None) -> LocalMedia:
            if uri == "file:///odd":
                raise ValueError("what no one thought of")
            (tmp_path / "media").write_bytes(b"media")
            return LocalMedia(tmp_path / "media", temporary=True)

    odd, fine = scored(1).model_copy(update={"uri": "file:///odd"}), scored(2)
    found = await fetch_all(Fetcher(), [odd, fine])  # type: ignore[arg-type]
    assert isinstance(found[0], MediaError)
    assert found[1] == b"media"


def test_a_score_that_makes_no_example_holds_nobody_back(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.read([record(scored(1, stream="x" * 300)), record(scored(2))])
    agent.store()
    assert list(reasons(topic)) == ["channel/2"]


def test_old_scores_are_passed_over(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.read([record(scored(1), age=3600)])
    agent.store()
    assert reasons(topic) == {}


def test_a_worker_that_takes_over_knows_what_is_stored(store: ClipStore) -> None:
    topic = MemoryTopic()
    other = harvest(store, topic)
    agent = harvest(store, topic)
    agent.read([record(scored(1, 20, picture=7))])
    agent.store()
    other.remember()
    other.read([record(scored(2, 20, picture=7))])
    other.store()
    assert list(reasons(topic)) == ["channel/1"]


def test_a_stream_that_is_deleted_while_its_clip_is_fetched_leaves_nothing(store: ClipStore) -> None:
    topic = MemoryTopic()
    agent = harvest(store, topic)
    agent.read([record(scored(1))])
    add = topic.add

    def delete_then_add(examples: list[Any]) -> None:
        add([StreamDeletion(stream_id="channel", deleted_at=datetime.now(UTC))])
        add(examples)

    topic.add = delete_then_add  # type: ignore[method-assign]
    agent.store()
    assert list(store.clips()) == []
    assert topic.refresh().of_stream("channel") == []


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), max_size=30), st.lists(st.integers(0, 6), max_size=6))
@settings(deadline=None)
def test_killed_at_any_message_each_clip_is_queued_once(parts: list[tuple[int, float]], lives: list[int]) -> None:
    store, topic = ClipStore(f"memory://{time.monotonic_ns()}"), MemoryTopic()
    begin = datetime.now(UTC)
    scores = [scored(i, score, picture=picture, begin=begin) for i, (picture, score) in enumerate(parts)]

    def live(life: int) -> bool:
        topic.life = life
        agent = harvest(store, topic, per_hour=100)
        try:
            agent.read([record(score) for score in scores])
            agent.store()
        except Killed:
            return False
        return True

    for life in lives:
        live(life)
    assert live(10**6)
    waiting = topic.refresh().examples()
    keys = [one.key for one in waiting]
    assert len(keys) == len(set(keys))
    # Every bad scene has its clip, at its quality.
    for score in scores:
        if score.score < 40:
            assert any(one.fingerprint == score.fingerprint and abs(one.score - score.score) <= 10 for one in waiting)
    assert {uri for uri, _ in store.clips()} >= {one.clip_uri for one in waiting}
