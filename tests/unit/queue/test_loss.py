"""Whatever is killed, in whatever order: no clip is lost, and none comes back that was deleted on purpose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.kafka.connection import Connection
from streams.queue import removal
from streams.queue.clips import ClipStore, place_of_key
from streams.queue.removal import remove_clips, remove_stream
from streams.queue.retention import STRAY_AGE, sweep
from streams.queue.topic import Queue, QueuePlace
from tests.support.alerts import Killed
from tests.support.queue import MemoryTopic, clip_of, scored, stored_example

STREAMS = ("a", "b/c")
Key = tuple[str, int]
KEYS = st.tuples(st.sampled_from(STREAMS), st.integers(0, 1))


class Model:
    """A store and a topic, and what must hold of them.

    wanted: clips that must be there and wait. gone: clips that were deleted on purpose. forgotten: clips of a stream that was
    forgotten by a command that was killed before it came to the store.
    """

    def __init__(self) -> None:
        fsspec.filesystem("memory").store.clear()
        self.store, self.topic = ClipStore("memory://clips"), MemoryTopic()
        self.wanted: set[Key] = set()
        self.gone: set[Key] = set()
        self.forgotten: set[Key] = set()
        self.uris: dict[Key, str] = {}

    def harvest(self, key: Key, steps: int) -> None:
        """A worker stores and queues a clip. steps: it is killed after so many of: the clip, its example, the message."""
        score = scored(key[1], stream=key[0])
        self.uris[key] = self.store.uri(key[0], clip_of(score))
        if steps == 1 and not self.store.example_ids(key[0]):
            fsspec.filesystem("memory").pipe_file(self.uris[key].removeprefix("memory://"), clip_of(score))
        if steps < 2:
            return
        queued = stored_example(self.store, score)
        if steps > 2:
            self.topic.add([queued])
        self.gone.discard(key)
        self.forgotten.discard(key)
        if steps > 2 or dict(self.topic.messages).get(queued.key, b"") is not None:
            self.wanted.add(key)

    def remove(self, key: Key, steps: int) -> None:
        """`fvq queue rm`, killed after so many of: the clip, the ratings, the message."""
        queued = next((example for example in self.topic.refresh().examples() if example.clip_uri == self.uris.get(key)), None)
        if queued is None:
            return
        self.wanted.discard(key)
        with self._killed(steps):
            remove_clips(QueuePlace(Connection("none:1"), self.store), [queued.example_id], lambda _: self._stop(steps == 1))
        if dict(self.topic.messages)[queued.key] is None:
            self.gone.add(key)

    def forget(self, stream: str, steps: int) -> None:
        """`fvq queue rm --stream`, killed after so many of: nothing, the messages, the store."""
        with self._killed(3 if steps else 2):
            remove_stream(QueuePlace(Connection("none:1"), self.store), stream, lambda: self._stop(steps == 1))
        if steps:
            keys = {key for key in self.wanted if key[0] == stream}
            self.wanted -= keys
            (self.gone if steps > 1 else self.forgotten).update(keys)

    @contextlib.contextmanager
    def _killed(self, steps: int) -> Iterator[None]:
        self.topic.messages_left = 0 if steps == 2 else 10**6
        topic = mock.patch.object(removal, "QueueTopic", return_value=self.topic)
        with contextlib.suppress(Killed), topic, mock.patch.object(removal, "has_topic", return_value=False):
            yield
        self.topic.messages_left = 10**6

    @staticmethod
    def _stop(is_killed: bool) -> None:
        if is_killed:
            raise Killed

    def lose_the_topic(self) -> None:
        """The notes of deletions are lost too: what a killed command left in the store has to be deleted again."""
        self.topic.messages.clear()
        self.forgotten.clear()

    def sweep(self) -> None:
        sweep(self.topic, self.store, 30, datetime.now(UTC) + 3 * STRAY_AGE)  # type: ignore[arg-type]
        self.gone |= self.forgotten
        self.forgotten = set()

    def check(self) -> None:
        waiting = {example.clip_uri for example in self.topic.refresh().examples()}
        stored = {uri for uri, _ in self.store.clips()}
        wanted, gone = ({self.uris[key] for key in keys} for keys in (self.wanted, self.gone))
        assert wanted <= waiting & stored, "a clip is lost"
        assert not gone & (waiting | stored), "a clip comes back"


OPERATIONS = st.one_of(
    st.tuples(st.just("harvest"), KEYS, st.integers(1, 3)),
    st.tuples(st.just("remove"), KEYS, st.integers(1, 3)),
    st.tuples(st.just("forget"), st.sampled_from(STREAMS), st.integers(0, 2)),
    st.tuples(st.sampled_from(["sweep", "compact", "lose"])),
)


@example(operations=[("harvest", ("a", 0), 3), ("remove", ("a", 0), 1), ("compact",), ("sweep",)])
@example(operations=[("harvest", ("a", 0), 3), ("forget", "a", 1), ("compact",), ("sweep",)])
@example(operations=[("harvest", ("a", 0), 3), ("lose",), ("harvest", ("a", 1), 3), ("sweep",)])
@given(operations=st.lists(OPERATIONS, max_size=25))
@settings(deadline=None, max_examples=150)
def test_no_clip_is_lost_and_none_comes_back(operations: list[tuple[Any, ...]]) -> None:
    model = Model()
    calls = {"sweep": model.sweep, "compact": model.topic.compact, "lose": model.lose_the_topic}
    for name, *arguments in operations:
        (calls | {"harvest": model.harvest, "remove": model.remove, "forget": model.forget})[name](*arguments)
    model.sweep()
    model.check()
    model.topic.compact()
    model.sweep()
    model.check()


def test_the_keys_that_are_kept_in_memory_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the latest messages are kept: Kafka drops the oldest ones first, too."""
    monkeypatch.setattr("streams.queue.topic.MOST_ENDED", 10)
    queue = Queue()
    for number in range(30):
        queue.fold(f"a/{number:064x}".encode(), None)
        queue.fold(b"not a clip's key" + str(number).encode(), None)
    assert set(queue.places()) == {place_of_key(f"a/{number:064x}".encode()) for number in range(20, 30)}
