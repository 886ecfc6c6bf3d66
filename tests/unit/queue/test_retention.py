"""Retention: what the sweep deletes, and what it must not delete."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.events import StreamDeletion
from streams.queue.clips import ClipStore
from streams.queue.retention import NOTE_AGE, STRAY_AGE, sweep
from streams.queue.topic import restore
from tests.support.queue import MemoryTopic, scored, stored_example

NOW = datetime.now(UTC)
LATER = NOW + 3 * STRAY_AGE  # late enough for clips that a test stores some time after NOW


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(str(tmp_path / "clips"))


def run(store: ClipStore, topic: MemoryTopic, now: datetime, clip_days: float = 30) -> None:
    sweep(topic, store, clip_days, now)  # type: ignore[arg-type]


def test_clips_that_are_too_old_or_without_an_example_are_deleted(store: ClipStore) -> None:
    topic = MemoryTopic()
    old = stored_example(store, scored(1), queued_at=NOW - timedelta(days=31))
    new = stored_example(store, scored(2), queued_at=NOW - timedelta(days=29))
    stored_example(store, scored(3))  # killed before it was queued
    topic.add([old, new])
    run(store, topic, NOW, clip_days=30)
    assert len(list(store.clips())) == 2, "a clip that was just stored may be queued soon"
    run(store, topic, LATER, clip_days=30)
    assert [uri for uri, _ in store.clips()] == [new.clip_uri]
    assert topic.refresh().examples() == [new]
    run(store, topic, NOW + timedelta(days=1000), clip_days=0)
    assert topic.refresh().examples() == [new]


def test_with_a_new_broker_the_clips_are_queued_again_and_none_is_deleted(store: ClipStore) -> None:
    kept = [stored_example(store, scored(number), queued_at=NOW - timedelta(days=number)) for number in range(3)]
    topic = MemoryTopic()
    assert restore(topic, store) == 3  # type: ignore[arg-type]
    run(store, topic, LATER)
    assert {example.key for example in topic.refresh().examples()} == {example.key for example in kept}
    topic.take_back(kept)
    assert restore(topic, store) == 0, "an example that was removed is not queued again"  # type: ignore[arg-type]
    run(store, topic, LATER)
    assert list(store.clips()) == []


def test_a_clip_in_another_workers_folder_is_left_to_that_worker(tmp_path: Path, store: ClipStore) -> None:
    other = ClipStore(str(tmp_path / "other"))
    topic = MemoryTopic()
    old = NOW - timedelta(days=31)
    topic.add([stored_example(place, scored(number), queued_at=old) for number, place in enumerate((other, store))])
    run(store, topic, LATER)
    assert topic.refresh().examples() == []
    assert list(store.clips()) == []
    run(other, topic, LATER)
    assert list(other.clips()) == []


def test_old_files_that_a_killed_worker_left_half_written_are_deleted(tmp_path: Path, store: ClipStore) -> None:
    topic = MemoryTopic()
    example = stored_example(store, scored(1))
    topic.add([example])
    folder = Path(example.clip_uri.removeprefix("file://")).parent
    old = (NOW - 2 * STRAY_AGE).timestamp()
    for name in (f".{'0' * 64}.ts.123", f"{'0' * 64}.json"):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (old, old))
    (folder / f".{'1' * 64}.ts.124").write_bytes(b"being written")
    run(store, topic, NOW)
    left = {path.name for path in folder.iterdir()}
    assert left == {f"{example.example_id}.ts", f"{example.example_id}.json", f".{'1' * 64}.ts.124"}


def test_a_note_that_a_stream_was_deleted_is_taken_back_after_its_time(store: ClipStore) -> None:
    topic = MemoryTopic()
    topic.add([StreamDeletion(stream_id="ada/home", deleted_at=NOW), StreamDeletion(stream_id="new", deleted_at=NOW + NOTE_AGE)])
    run(store, topic, NOW + NOTE_AGE - timedelta(days=1))
    assert set(topic.refresh().deletions()) == {"ada/home", "new"}
    run(store, topic, NOW + NOTE_AGE + timedelta(days=1))
    assert set(topic.refresh().deletions()) == {"new"}
    sent = len(topic.messages)
    run(store, topic, NOW + NOTE_AGE + timedelta(days=1))
    assert len(topic.messages) == sent, "once is enough"
