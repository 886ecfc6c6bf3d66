"""Removal: which clips an id stands for, and what is deleted where."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.events import StreamDeletion, TrainingExample
from streams.kafka.connection import Connection
from streams.queue import removal
from streams.queue.clips import ClipStore
from streams.queue.removal import find_example, find_examples, remove_clips, remove_stream
from streams.queue.retention import STRAY_AGE, sweep
from streams.queue.topic import QueuePlace
from tests.support.alerts import Killed
from tests.support.queue import MemoryTopic, scored, stored_example

BROKER = Connection("none:1", prefix="staging.")


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> MemoryTopic:
    """The topic in memory, which the commands open in place of Kafka's."""
    topic = MemoryTopic()
    monkeypatch.setattr(removal, "QueueTopic", lambda _: topic)
    monkeypatch.setattr(removal, "has_topic", lambda *_: False)
    return topic


def in_stream(store: ClipStore, example: TrainingExample, stream_id: str) -> TrainingExample:
    """Stores the clip of an example in another stream as well; returns its example there."""
    data = store.read(example.clip_uri)
    copy = example.model_copy(update={"stream_id": stream_id, "clip_uri": store.uri(stream_id, data)})
    store.put(copy, data)
    return copy


def with_id(example: TrainingExample, first: str) -> TrainingExample:
    """An example whose id begins with these characters."""
    return example.model_copy(update={"example_id": first.ljust(64, "0")})


def test_an_id_stands_for_the_clip_in_all_streams_that_have_it(store: ClipStore) -> None:
    first, other = (stored_example(store, scored(number, stream="a")) for number in range(2))
    copy = in_stream(store, first, "b")
    waiting = [first, other, copy]
    assert find_example(waiting, first.example_id) == first
    assert find_examples(waiting, [first.example_id[:12]]) == [first, copy]


def test_several_ids_of_one_clip_name_it_once(store: ClipStore) -> None:
    example = stored_example(store, scored(1))
    assert find_examples([example], [example.example_id, example.example_id[:8]]) == [example]


def test_first_characters_of_different_clips_are_refused(store: ClipStore) -> None:
    example = stored_example(store, scored(1))
    waiting = [with_id(example, "abc1"), with_id(example, "abc2")]
    with pytest.raises(ValueError, match="'abc' begins the ids of 2 clips: give more characters"):
        find_example(waiting, "abc")
    assert find_example(waiting, "abc2") == waiting[1]


@pytest.mark.parametrize("start", ["", "abd", "ABC"])
def test_an_id_that_no_clip_has_is_refused(store: ClipStore, start: str) -> None:
    waiting = [with_id(stored_example(store, scored(1)), "abc")]
    with pytest.raises(ValueError, match=f"no clip '{start}' waits"):
        find_examples(waiting, [start])


def test_nothing_named_finds_and_deletes_nothing(store: ClipStore) -> None:
    example = stored_example(store, scored(1))
    assert find_examples([example], []) == []
    forgotten: list[TrainingExample] = []
    assert remove_clips(QueuePlace(None, store), [], forgotten.extend).clips == 0
    assert forgotten == []
    assert store.examples() == [example]


def test_a_clip_is_deleted_from_topic_ratings_and_store_in_all_its_streams(store: ClipStore, topic: MemoryTopic) -> None:
    first, other = (stored_example(store, scored(number, stream="a")) for number in range(2))
    copy = in_stream(store, first, "b")
    topic.add([first, other, copy])
    forgotten: list[TrainingExample] = []
    removed = remove_clips(QueuePlace(BROKER, store), [first.example_id], forgotten.extend)
    assert (removed.clips, removed.elsewhere) == (2, [])
    assert {example.key for example in forgotten} == {first.key, copy.key}
    assert topic.refresh().examples() == [other]
    assert [uri for uri, _ in store.clips()] == [other.clip_uri]


def test_one_unknown_id_among_several_deletes_nothing(store: ClipStore, topic: MemoryTopic) -> None:
    example = stored_example(store, scored(1))
    topic.add([example])
    forgotten: list[TrainingExample] = []
    with pytest.raises(ValueError, match="no clip 'xyz' waits"):
        remove_clips(QueuePlace(BROKER, store), [example.example_id, "xyz"], forgotten.extend)
    assert forgotten == []
    assert topic.refresh().examples() == [example]
    assert store.examples() == [example]


def test_a_clip_in_another_store_waits_until_it_is_removed_there(tmp_path: Path, store: ClipStore, topic: MemoryTopic) -> None:
    other = ClipStore(str(tmp_path / "other"))
    example = stored_example(other, scored(1))
    topic.add([example])
    forgotten: list[TrainingExample] = []
    removed = remove_clips(QueuePlace(BROKER, store), [example.example_id], forgotten.extend)
    (reason,) = removed.elsewhere
    assert "not a clip of the store" in reason
    assert removed.clips == 0
    assert topic.refresh().examples() == other.examples() == [example]
    assert forgotten == []
    removed = remove_clips(QueuePlace(BROKER, other), [example.example_id], forgotten.extend)
    assert (removed.clips, removed.elsewhere) == (1, [])
    assert topic.refresh().examples() == other.examples() == []
    assert forgotten == [example]


def test_a_removal_that_stops_at_the_ratings_can_be_given_again(store: ClipStore, topic: MemoryTopic) -> None:
    example = stored_example(store, scored(1))
    topic.add([example])

    def fail(_: object) -> None:
        raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        remove_clips(QueuePlace(BROKER, store), [example.example_id], fail)
    assert list(store.clips()) == []
    assert topic.refresh().examples() == [example]
    assert remove_clips(QueuePlace(BROKER, store), [example.example_id], lambda _: None).clips == 1
    assert topic.refresh().examples() == []


@pytest.mark.parametrize("stopped_at", ["ratings", "topic"])
def test_a_removed_clip_does_not_come_back_when_kafka_has_dropped_the_message(
    store: ClipStore, topic: MemoryTopic, stopped_at: str
) -> None:
    """Kafka drops messages without a value in time, and the sweep queues clips again that the topic does not have."""
    example, kept = (stored_example(store, scored(number)) for number in range(2))
    topic.add([example, kept])

    def fail(_: object) -> None:
        if stopped_at == "ratings":
            raise Killed

    topic.messages_left = 0 if stopped_at == "topic" else 10
    with pytest.raises(Killed):
        remove_clips(QueuePlace(BROKER, store), [example.example_id], fail)
    topic.messages_left = 10
    topic.compact()
    later = datetime.now(UTC) + 3 * STRAY_AGE
    sweep(topic, store, 0, later)  # type: ignore[arg-type]
    assert [uri for uri, _ in store.clips()] == [kept.clip_uri]
    remove_clips(QueuePlace(BROKER, store), [example.example_id], lambda _: None)
    topic.compact()
    sweep(topic, store, 0, later)  # type: ignore[arg-type]
    assert topic.refresh().examples() == [kept]


def test_a_deleted_stream_is_announced_before_its_clips_go(store: ClipStore, topic: MemoryTopic) -> None:
    gone = [stored_example(store, scored(number, stream="gone")) for number in range(2)]
    kept = stored_example(store, scored(0, stream="kept"))
    topic.add([*gone, kept])
    before = len(topic.messages)
    forgotten: list[str] = []
    assert remove_stream(QueuePlace(BROKER, store), "gone", lambda: forgotten.append("gone")) == 2
    deletion, *removals = topic.messages[before:]
    assert deletion[1] is not None
    assert StreamDeletion.from_bytes(deletion[1]).stream_id == "gone"
    assert {key for key, _ in removals} == {example.key for example in gone}
    assert forgotten == ["gone"]
    assert topic.refresh().examples() == [kept]
    assert [uri for uri, _ in store.clips()] == [kept.clip_uri]


def test_the_picture_of_a_deleted_stream_is_taken_back(
    store: ClipStore, topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(removal, "has_topic", lambda *_: True)
    monkeypatch.setattr(removal, "writing", lambda _: nullcontext())
    monkeypatch.setattr(removal, "send_all", lambda _, *message: sent.append(message))
    remove_stream(QueuePlace(BROKER, store), "gone/7", lambda: None)
    assert sent == [("staging.stream-pictures", [(b"gone/7", None)])]


def test_an_example_of_a_deleted_stream_waits_only_if_it_was_queued_later(store: ClipStore, topic: MemoryTopic) -> None:
    before = datetime.now(UTC)
    remove_stream(QueuePlace(BROKER, store), "channel", lambda: None)
    early, late = (stored_example(store, scored(number)) for number in range(2))
    topic.add([early.model_copy(update={"queued_at": before}), late])
    assert topic.refresh().examples() == [late]
