"""Retention: what the sweep deletes, and what it must not delete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scorer.storage import Storage
from streams.events import OperatorRating, StreamDeletion, TrainingExample
from streams.queue.clips import ClipStore
from streams.queue.retention import NOTE_AGE, STRAY_AGE, sweep
from tests.support.queue import MemoryTopic, clip_of, scored, stored_example

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=12)  # late enough for clips that a test stores when a run of all tests comes to it


def run(store: ClipStore, topic: MemoryTopic, now: datetime, clip_days: float = 30) -> None:
    sweep(topic, store, clip_days, now)  # type: ignore[arg-type]


def age(store: ClipStore, hours: float = 5) -> None:
    """Let all files of a store in a folder be old."""
    old = (NOW - timedelta(hours=hours)).timestamp()
    for file in Path(store.address.removeprefix("file://")).rglob("*.*"):
        os.utime(file, (old, old))


def without_its_example(store: ClipStore, clip: TrainingExample) -> None:
    """Leave a clip as a worker does that is killed between the clip and its example."""
    example_file(clip).unlink()


def example_file(clip: TrainingExample) -> Path:
    return Path(clip.clip_uri.removeprefix("file://")).with_suffix(".json")


def waiting(topic: MemoryTopic) -> set[bytes]:
    return {example.key for example in topic.refresh().examples()}


def test_clips_that_are_too_old_or_half_stored_are_deleted(store: ClipStore) -> None:
    topic = MemoryTopic()
    old = stored_example(store, scored(1), queued_at=NOW - timedelta(days=31))
    new = stored_example(store, scored(2), queued_at=NOW - timedelta(days=29))
    without_its_example(store, stored_example(store, scored(3)))
    topic.add([old, new])
    run(store, topic, NOW, clip_days=30)
    assert len(list(store.clips())) == 2, "a clip that was just stored gets its example soon"
    run(store, topic, LATER, clip_days=30)
    assert [uri for uri, _ in store.clips()] == [new.clip_uri]
    assert topic.refresh().examples() == [new]
    run(store, topic, NOW + timedelta(days=1000), clip_days=0)
    assert topic.refresh().examples() == [new]


def test_a_clip_whose_worker_was_killed_before_it_was_queued_is_queued(store: ClipStore) -> None:
    topic = MemoryTopic()
    other, lost = (stored_example(store, scored(number)) for number in range(2))
    topic.add([other])
    run(store, topic, LATER)
    assert waiting(topic) == {other.key, lost.key}
    assert len(list(store.clips())) == 2


@pytest.mark.parametrize("first", ["a clip", "a deletion", "a removal", "something unreadable"])
def test_a_new_topic_that_somebody_wrote_to_first_costs_no_clip(store: ClipStore, first: str) -> None:
    """The topic was deleted and made anew, or the cluster restored, and a worker's sweep is not the first one to write to it."""
    kept = [stored_example(store, scored(number), queued_at=NOW - timedelta(days=1)) for number in range(3)]
    age(store)
    topic = MemoryTopic()
    if first == "a clip":
        topic.add([stored_example(store, scored(7))])
    elif first == "a deletion":
        topic.add([StreamDeletion(stream_id="another", deleted_at=NOW)])
    elif first == "a removal":
        topic.messages.append((b"another/" + b"0" * 64, None))
    else:
        topic.messages.append((b"\xff", b"{}"))
    run(store, topic, NOW)
    assert {example.key for example in kept} <= waiting(topic)
    assert {example.clip_uri for example in kept} <= {uri for uri, _ in store.clips()}


def test_with_a_new_broker_the_clips_are_queued_again_and_none_is_deleted(store: ClipStore) -> None:
    kept = [stored_example(store, scored(number), queued_at=NOW - timedelta(days=number)) for number in range(3)]
    topic = MemoryTopic()
    run(store, topic, NOW)
    assert waiting(topic) == {example.key for example in kept}, "also those that were stored in the last hour"
    run(store, topic, LATER)
    assert waiting(topic) == {example.key for example in kept}
    topic.take_back(kept)
    run(store, topic, LATER)
    assert list(store.clips()) == [], "an example that was taken back is not queued again"
    assert waiting(topic) == set()


def test_a_clip_over_its_time_is_not_queued_again(store: ClipStore) -> None:
    stored_example(store, scored(1), queued_at=NOW - timedelta(days=31))
    topic = MemoryTopic()
    run(store, topic, LATER)
    assert (list(store.clips()), topic.messages) == ([], [])


def test_a_forgotten_streams_clip_does_not_come_back(store: ClipStore) -> None:
    """Neither one that `fvq forget` could not reach, because its machine was off, nor one that comes back from a back-up."""
    early = stored_example(store, scored(1, stream="gone"), queued_at=NOW - timedelta(hours=2))
    late = stored_example(store, scored(2, stream="gone"), queued_at=NOW)
    topic = MemoryTopic()
    topic.add([StreamDeletion(stream_id="gone", deleted_at=NOW - timedelta(hours=1))])
    run(store, topic, LATER)
    assert [uri for uri, _ in store.clips()] == [late.clip_uri], "what was harvested since stays"
    assert waiting(topic) == {late.key}
    assert early.key not in dict(topic.messages)


@pytest.mark.parametrize("clip_days", [0, 30, 400])
@pytest.mark.parametrize("days", [1, 29, 31, 89, 91, 399, 401, 2000])
def test_the_note_of_a_deletion_outlives_every_clip_of_its_stream(
    tmp_path: Path, store: ClipStore, clip_days: float, days: int
) -> None:
    """A machine whose workers were off for so long still has the clip. When the note is gone, the clip is over its time."""
    stored_example(store, scored(1, stream="gone"), queued_at=NOW - timedelta(hours=2))
    topic = MemoryTopic()
    topic.add([StreamDeletion(stream_id="gone", deleted_at=NOW - timedelta(hours=1))])
    now = NOW + timedelta(days=days)
    run(ClipStore(str(tmp_path / "elsewhere")), topic, now, clip_days)  # takes the note back where it is not needed any more
    topic.compact()
    run(store, topic, now, clip_days)
    assert waiting(topic) == set()
    assert list(store.clips()) == []


def test_an_example_of_a_deleted_stream_that_was_left_on_the_topic_is_taken_back(store: ClipStore) -> None:
    """A worker was killed after it queued a clip whose stream had just been deleted."""
    left = stored_example(store, scored(1, stream="gone"), queued_at=NOW - timedelta(hours=2))
    topic = MemoryTopic()
    topic.add([StreamDeletion(stream_id="gone", deleted_at=NOW), left])
    run(store, topic, NOW)
    assert list(store.clips()) == []
    assert dict(topic.messages)[left.key] is None


def test_a_clip_that_a_later_version_queued_is_neither_deleted_nor_queued_over(store: ClipStore) -> None:
    topic = MemoryTopic()
    example = stored_example(store, scored(1))
    later = example.to_bytes().replace(b'"low-score"', b'"a reason of later"')
    topic.messages.append((example.key, later))
    example_file(example).write_bytes(later)
    run(store, topic, LATER)
    assert [uri for uri, _ in store.clips()] == [example.clip_uri]
    assert topic.messages == [(example.key, later)]
    run(store, topic, NOW + timedelta(days=31))
    assert list(store.clips()) == [], "faces have their time in any case"


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\x00", b"other"])
def test_a_clip_whose_example_cannot_be_read_stays_for_its_time(store: ClipStore, data: bytes) -> None:
    example = stored_example(store, scored(1))
    foreign = stored_example(store, scored(2)).to_bytes()
    example_file(example).write_bytes(foreign if data == b"other" else data)
    topic = MemoryTopic()
    run(store, topic, LATER)
    assert example.clip_uri in {uri for uri, _ in store.clips()}
    assert example.key not in waiting(topic)
    run(store, topic, NOW + timedelta(days=31))
    assert list(store.clips()) == []


def test_a_store_that_was_moved_loses_nothing_and_is_queued_at_its_new_address(tmp_path: Path, store: ClipStore) -> None:
    known, lost = (stored_example(store, scored(number)) for number in range(2))
    topic = MemoryTopic()
    topic.add([known])
    Path(store.address.removeprefix("file://")).rename(tmp_path / "moved")
    moved = ClipStore(str(tmp_path / "moved"))
    run(moved, topic, LATER)
    assert len(list(moved.clips())) == 2
    clip_uri = next(example.clip_uri for example in topic.refresh().examples() if example.key == lost.key)
    assert moved.read(clip_uri) == store_bytes(lost)


def store_bytes(example: TrainingExample) -> bytes:
    return clip_of(scored(example.sequence, stream=example.stream_id))


def test_a_store_that_does_not_answer_costs_nothing(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example that cannot be read now is not one that is missing."""
    example = stored_example(store, scored(1))
    topic = MemoryTopic()

    def away(self: Storage, path: str) -> bytes:
        raise OSError("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr(Storage, "read", away)
        with pytest.raises(OSError, match="away"):
            run(store, topic, LATER)
    assert [uri for uri, _ in store.clips()] == [example.clip_uri]
    assert topic.messages == []


def test_a_clip_that_is_deleted_while_the_sweep_queues_it_again_stays_deleted(store: ClipStore) -> None:
    example = stored_example(store, scored(1))

    class Racing(MemoryTopic):
        """Another worker has queued the clip as well, and `fvq queue rm` deletes it, just before this sweep's message."""

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            store.delete(example.clip_uri)
            self.take_back([example])
            super().add(events)

    topic = Racing()
    run(store, topic, LATER)
    assert waiting(topic) == set()
    assert list(store.clips()) == []


def test_a_stream_that_is_forgotten_while_the_sweep_queues_its_clip_stays_forgotten(store: ClipStore) -> None:
    example = stored_example(store, scored(1))

    class Racing(MemoryTopic):
        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            MemoryTopic.add(self, [StreamDeletion(stream_id=example.stream_id, deleted_at=LATER)])
            super().add(events)

    topic = Racing()
    run(store, topic, LATER)
    assert waiting(topic) == set()
    assert list(store.clips()) == []
    assert dict(topic.messages)[example.key] is None


def test_a_rating_that_is_given_while_the_sweep_queues_the_clip_is_not_lost(store: ClipStore) -> None:
    example = stored_example(store, scored(1))
    rated = example.model_copy(update={"operator": OperatorRating(level=2, by="Ada", at=NOW)})

    class Racing(MemoryTopic):
        """The wall stores and queues the rated example just before this sweep's message."""

        raced = False

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            if not self.raced:
                self.raced = True
                store.put(rated, clip_of(scored(1)))
                MemoryTopic.add(self, [rated])
            super().add(events)

    topic = Racing()
    run(store, topic, LATER)
    assert topic.refresh().examples() == [rated]


@pytest.mark.parametrize("before", ["half stored", "taken back"])
@pytest.mark.parametrize(("stored", "queued"), [(True, True), (True, False), (False, True)])
def test_a_clip_that_is_rated_during_the_sweep_stays(tmp_path: Path, before: str, stored: bool, queued: bool) -> None:
    """stored, queued: what the wall has done when the sweep deletes. Only queued: its store is another one."""
    topic = MemoryTopic()
    score = scored(1)
    rating = OperatorRating(level=2, by="Ada", at=NOW)

    class Racing(ClipStore):
        """The wall rates a clip when the sweep has listed it, and is still on its way through the store."""

        def clips(self) -> Iterator[tuple[str, datetime]]:
            yield from super().clips()
            rated = stored_example(self if stored else elsewhere, score, operator=rating)
            topic.add([rated] if queued else [])

    store, elsewhere = Racing(str(tmp_path / "clips")), ClipStore(str(tmp_path / "elsewhere"))
    example = stored_example(store, score)
    stray = stored_example(store, scored(2))
    if before == "half stored":
        without_its_example(store, example)
    else:
        topic.add([example])
        topic.take_back([example])
    without_its_example(store, stray)
    age(store)
    run(store, topic, NOW)
    assert store.read(example.clip_uri) == clip_of(score)
    assert [kept.operator for kept in topic.refresh().examples()] == [rating] * queued
    assert not Path(stray.clip_uri.removeprefix("file://")).exists(), "the others are deleted"


def test_two_workers_that_sweep_at_the_same_time_queue_each_clip_once(store: ClipStore) -> None:
    examples = [stored_example(store, scored(number)) for number in range(3)]

    class Racing(MemoryTopic):
        raced = False

        def add(self, events: Iterable[TrainingExample | StreamDeletion]) -> None:
            events = list(events)
            if not self.raced:
                self.raced = True
                run(store, self, LATER)
            super().add(events)

    topic = Racing()
    run(store, topic, LATER)
    assert len(topic.messages) == 6, "both write, the same keys and values"
    assert len(set(topic.messages)) == 3
    assert waiting(topic) == {example.key for example in examples}
    assert len(list(store.clips())) == 3


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
