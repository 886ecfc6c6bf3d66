"""The dead letters' topic and the marks of what was done with them.

A letter that was sent again or removed stays on its topic until Kafka's retention takes it: Kafka deletes no single message. So
a mark with the letter's id goes to the compacted topic `dead-letter-marks`, in which the last mark of an id remains. A consumer
group's offset would be simpler, but it knows only 'everything before', and letters are sent again by kind, stream or time.

`replay` sends the letters, waits for the acknowledgements, then sends their marks. If it is killed in between, the next one
sends up to `TOGETHER` letters a second time; the segments have the same ids, so their answers overwrite each other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from streams.dead_letters.kept import KeptLetter, Mark, Selection, State
from streams.events import DEAD_LETTER_TOPIC, LETTER_MARKS_TOPIC, SEGMENTS_TOPIC
from streams.kafka.clients import await_sends, no_broker_errors, reading, send_all, writing
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, partitions_of, read_to_end, read_whole

log = logging.getLogger(__name__)
BYTES_TOGETHER = 16 * 2**20
TOGETHER = 500
"""Letters that are sent before their acknowledgements are waited for."""


@dataclass
class Replayed:
    """What `replay` did. sent: letters, one of each id. before: ids that were left out because an earlier replay had sent them.
    cannot: the reason for each id that cannot be sent again."""

    sent: int
    before: int
    cannot: dict[str, str]


class DeadLetters:
    """The letters on their topic. Use as a context manager. Methods raise `BrokerError`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._segments, self._marks_topic = connection.named(SEGMENTS_TOPIC), connection.named(LETTER_MARKS_TOPIC)
        with ExitStack() as stack:
            self._reader = stack.enter_context(reading(connection))
            self._letters = self._partitions(connection.named(DEAD_LETTER_TOPIC))
            self._marks = self._read_marks()
            self._last_times: dict[str, datetime] = {}
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def letters(self, selection: Selection) -> Iterator[tuple[KeptLetter, State]]:
        """The selected letters, as they are read, without those that were removed; of a repeated one only the first."""
        seen: set[tuple[str, State]] = set()
        for letter in self._read():
            state = self._state(letter)
            if state == "removed" or (letter.letter_id, state) in seen or not selection.takes(letter):
                continue
            seen.add((letter.letter_id, state))
            yield letter, state

    def find(self, letter_id: str) -> tuple[KeptLetter, State]:
        """The letter with this id. Raises `ValueError` where there is none."""
        for letter in self.letters(Selection(ids=frozenset([letter_id]))):
            return letter
        raise ValueError(f"there is no dead letter {letter_id}: see `fvq dead-letters ls`")

    def replay(self, selection: Selection, again: bool = False) -> Replayed:
        """Send the selected letters' bytes to the topic that they came from. again: also those that were sent before."""
        # An id may have a letter that was sent again, and another one since.
        sent, before, cannot = set[str](), set[str](), dict[str, str]()
        self._prepare_marks()
        with writing(self._connection) as producer:
            waiting: list[KeptLetter] = []
            partitions = len(self._partitions(self._segments))
            for letter, state in self._present(selection):
                if obstacle := letter.obstacle():
                    cannot[letter.letter_id] = obstacle
                elif state == "replayed" and not again:
                    before.add(letter.letter_id)
                elif letter.letter_id not in sent:
                    waiting.append(letter)
                    sent.add(letter.letter_id)
                if len(waiting) == TOGETHER or sum(len(kept.value) for kept in waiting) > BYTES_TOGETHER:
                    self._send_and_mark(producer, waiting, partitions)
                    waiting = []
            self._send_and_mark(producer, waiting, partitions)
        return Replayed(len(sent), len(before - sent), cannot)

    def remove(self, selection: Selection) -> int:
        """Mark the selected letters as removed; returns how many ids they have. Kafka deletes them when the retention is over."""
        self._prepare_marks()
        letter_ids = list(dict.fromkeys(letter.letter_id for letter, _ in self._present(selection)))
        with writing(self._connection) as producer:
            self._mark(producer, letter_ids, "removed")
        return len(letter_ids)

    def _read(self) -> Iterator[KeptLetter]:
        """All letters, from the topic's beginning to its present end."""
        self._reader.assign(self._letters)
        self._reader.seek_to_beginning(*self._letters)
        return (KeptLetter.of(record, self._segments) for record in read_to_end(self._reader, self._letters))

    def _prepare_marks(self) -> None:
        """Learn the time of the last letter of each id. Raises `BrokerError` where the topic of the marks is missing."""
        self._partitions(self._marks_topic)
        for letter in self._read():
            self._last_times[letter.letter_id] = max(letter.time, self._last_times.get(letter.letter_id, letter.time))

    def _present(self, selection: Selection) -> Iterator[tuple[KeptLetter, State]]:
        """The selected letters that were there at `_prepare_marks`; the marks are not about those that arrive meanwhile."""
        for letter, state in self.letters(selection):
            last_time = self._last_times.get(letter.letter_id)
            if last_time is not None and letter.time <= last_time:
                yield letter, state

    def _state(self, letter: KeptLetter) -> State:
        mark = self._marks.get(letter.letter_id)
        return mark.state if mark is not None and letter.time <= mark.until else "waiting"

    def _send_and_mark(self, producer: Any, letters: Sequence[KeptLetter], partitions: int) -> None:
        _send(producer, self._segments, letters, partitions)
        self._mark(producer, [letter.letter_id for letter in letters], "replayed")

    def _mark(self, producer: Any, letter_ids: Sequence[str], state: State) -> None:
        marks = {letter_id: Mark(state, self._last_times[letter_id]) for letter_id in letter_ids}
        send_all(producer, self._marks_topic, [(letter_id.encode(), mark.to_bytes()) for letter_id, mark in marks.items()])
        self._marks |= marks

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return partitions_of(self._reader, self._connection, topic)

    def _read_marks(self) -> dict[str, Mark]:
        """The last mark of each id; none where the topic is missing: then nothing was replayed yet."""
        with no_broker_errors(self._connection):
            if not self._reader.partitions_for_topic(self._marks_topic):
                return {}
        marks: dict[str, Mark] = {}
        for record in read_whole(self._reader, self._connection, self._marks_topic):
            letter_id = (record.key or b"").decode(errors="replace")
            try:
                marks[letter_id] = Mark.from_bytes(record.value or b"")
            except ValueError as error:
                log.warning("a message on %s cannot be read: %s", record.topic, error)
        return marks


def _send(producer: Any, topic: str, letters: Sequence[KeptLetter], partitions: int) -> None:
    """Send letters to the partitions that they came from, and wait for the acknowledgements. partitions: how many there are."""

    def send(letter: KeptLetter) -> Any:
        number = int(letter.headers["partition"])
        partition = number if number < partitions else None
        return producer.send(topic, key=letter.key, value=letter.value, partition=partition)

    await_sends(topic, (send(letter) for letter in letters))
