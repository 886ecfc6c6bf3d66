"""Letters on their topic while more of them arrive: a command is about those that were there when it began."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dead_letters import topic as topic_module
from streams.dead_letters.kept import Mark, Selection
from streams.dead_letters.topic import DeadLetters
from streams.events import DEAD_LETTER_TOPIC, LETTER_MARKS_TOPIC, SEGMENTS_TOPIC
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition
from streams.letter import Message, dead_letter

LATER = timedelta(hours=1)


class Topics:
    """The topics of a broker with one partition each, and the client that reads them and sends to them."""

    def __init__(self) -> None:
        self.records: dict[str, list[Any]] = {DEAD_LETTER_TOPIC: [], LETTER_MARKS_TOPIC: [], SEGMENTS_TOPIC: []}
        self.positions: dict[TopicPartition, int] = {}
        self.reads = 0
        self.arriving: list[tuple[int, timedelta]] = []

    def add_letter(self, offset: int, later: timedelta = timedelta(0)) -> None:
        """The letter of the segment at an offset, which became one so much later than now."""
        letter = dead_letter(Message(b"s", str(offset).encode(), SEGMENTS_TOPIC, 0, offset), kind="not-found", reason="because")
        headers = letter.headers | {"time": (datetime.now(UTC) + later).isoformat()}
        self.send(DEAD_LETTER_TOPIC, letter.key, letter.value, headers=[(name, text.encode()) for name, text in headers.items()])

    def send(self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0, headers: Any = ()) -> Any:
        records = self.records[topic]
        place = {"topic": topic, "partition": partition, "offset": len(records)}
        records.append(SimpleNamespace(**place, key=key, value=value, headers=headers, timestamp=0))
        return SimpleNamespace(get=lambda timeout: None)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0} if topic in self.records else set()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.positions = dict.fromkeys(partitions, 0)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self.positions |= dict.fromkeys(partitions, 0)

    def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Between a command's first read of the letters and its second one, what is `arriving` arrives."""
        self.reads += partitions[0].topic == DEAD_LETTER_TOPIC
        if self.reads == 2:
            while self.arriving:
                self.add_letter(*self.arriving.pop())
        return {partition: len(self.records[partition.topic]) for partition in partitions}

    def poll(self, timeout_ms: int = 0) -> dict[TopicPartition, list[Any]]:
        new = {partition: self.records[partition.topic][begin:] for partition, begin in self.positions.items()}
        self.positions = {partition: len(self.records[partition.topic]) for partition in self.positions}
        return new

    def close(self, **_: object) -> None:
        """Nothing is open."""


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Topics with letters of the segments 0 to 2."""
    topics = Topics()
    for offset in range(3):
        topics.add_letter(offset)
    monkeypatch.setattr(topic_module, "reading", lambda _: nullcontext(topics))
    monkeypatch.setattr(topic_module, "writing", lambda _: nullcontext(topics))
    return topics


def left(letters: DeadLetters) -> list[tuple[str, str]]:
    return [(letter.value.decode(), state) for letter, state in letters.letters(Selection())]


def test_a_letter_that_arrives_while_letters_are_removed_stays(topics: Topics) -> None:
    topics.arriving = [(3, LATER)]

    with DeadLetters(Connection("broker:9092")) as letters:
        assert letters.remove(Selection()) == 3
        assert left(letters) == [("3", "waiting")]


def test_a_letter_that_arrives_while_letters_are_sent_again_is_not_sent_and_all_others_are_marked(topics: Topics) -> None:
    topics.arriving = [(3, LATER)]

    with DeadLetters(Connection("broker:9092")) as letters:
        assert letters.replay(Selection()).sent == 3
        assert [record.value for record in topics.records[SEGMENTS_TOPIC]] == [b"0", b"1", b"2"]
        assert left(letters) == [("0", "replayed"), ("1", "replayed"), ("2", "replayed"), ("3", "waiting")]


def test_another_letter_of_a_segment_that_was_sent_again_waits_for_the_next_command(topics: Topics) -> None:
    mark = Mark("replayed", datetime.now(UTC))
    topics.send(LETTER_MARKS_TOPIC, b"video-segments/0/1", mark.to_bytes())
    topics.arriving = [(1, LATER)]

    with DeadLetters(Connection("broker:9092")) as letters:
        replayed = letters.replay(Selection())
        assert (replayed.sent, replayed.before) == (2, 1)
        assert ("1", "waiting") in left(letters)
        assert letters.replay(Selection()).sent == 1
        assert ("1", "waiting") not in left(letters)


@pytest.mark.parametrize("again", [False, True])
def test_a_named_letter_that_was_sent_again_before_is_one_letter(topics: Topics, again: bool) -> None:
    one = "video-segments/0/1"
    topics.send(LETTER_MARKS_TOPIC, one.encode(), Mark("replayed", datetime.now(UTC)).to_bytes())
    topics.add_letter(1, LATER)

    with DeadLetters(Connection("broker:9092")) as letters:
        selection = Selection(ids=frozenset([one]))
        replayed = letters.replay(selection, again)
        assert (replayed.sent, replayed.before) == (1, 0)
        assert [record.value for record in topics.records[SEGMENTS_TOPIC]] == [b"1"]
        assert letters.replay(selection).before == 1
        assert letters.remove(selection) == 1
