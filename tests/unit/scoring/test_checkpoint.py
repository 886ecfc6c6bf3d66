"""The checkpoint: an input is acknowledged after its answer is, by Kafka and by the sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from kafka.errors import MessageSizeTooLargeError

from streams import retry
from streams.errors import SinkError
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.letter import DeadLetter, Message, dead_letter
from streams.scoring.answer import Answered
from streams.scoring.checkpoint import checkpoint
from streams.sinks.base import Rejected, Sink
from tests.support.alerts import make_score

NAMED = Connection("none:1").named


class Journal:
    """What happened, in order; in place of Faust's producer and of a sink. failures: by step, how often it fails first."""

    def __init__(self, failures: dict[str, int] | None = None, refused: dict[int, str] | None = None) -> None:
        self.steps: list[str] = []
        self.sent: list[tuple[str, bytes | None, bytes, dict[str, bytes]]] = []
        self.added: list[SegmentScore] = []
        self.failures, self.refused = failures or {}, refused or {}

    def _fail(self, step: str, error: Exception) -> None:
        if self.failures.get(step):
            self.failures[step] -= 1
            raise error

    async def send(self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any) -> Awaitable[None]:
        async def acknowledged() -> None:
            self._fail("kafka", OSError("the broker is away"))
            self.steps.append(topic)
            self.sent.append((topic, key, value, headers))

        return acknowledged()

    async def acknowledge(self) -> None:
        self.steps.append("acknowledge")


class JournalSink(Sink):
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def add(self, score: SegmentScore) -> None:
        self.journal.added.append(score)

    async def flush(self) -> list[Rejected]:
        self.journal._fail("flush", SinkError("the disk is full"))
        self.journal.steps.append("flush")
        return [Rejected(place, reason) for place, reason in self.journal.refused.items()]

    async def check(self) -> str:
        return "in memory"


def scored(number: int, sequence: int | None = None) -> Answered:
    score = make_score(number if sequence is None else sequence, 70)
    return Answered(Message(b"channel", f"event {number}".encode(), "video-segments", 0, number), score)


def broken(number: int) -> Answered:
    message = Message(b"channel", f"event {number}".encode(), "video-segments", 0, number)
    return Answered(message, dead_letter(message, kind="event", reason="no JSON"))


async def run(journal: Journal, answers: list[Answered]) -> None:
    await asyncio.wait_for(checkpoint(answers, journal, NAMED, JournalSink(journal), journal.acknowledge), 5)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)


async def test_answers_are_delivered_then_flushed_then_acknowledged() -> None:
    journal = Journal()
    await run(journal, [scored(1), broken(2)])
    assert journal.steps == [SCORES_TOPIC, DEAD_LETTER_TOPIC, "flush", "acknowledge"]
    assert [score.sequence for score in journal.added] == [1], "a dead letter is no score"


@pytest.mark.parametrize("step", ["kafka", "flush"])
async def test_nothing_is_acknowledged_while_kafka_or_the_sink_is_away(step: str) -> None:
    journal = Journal(failures={step: 3})
    await run(journal, [scored(1)])
    assert journal.steps.count("acknowledge") == 1
    assert journal.steps[-1] == "acknowledge"
    assert journal.failures[step] == 0


async def test_what_kafka_has_acknowledged_is_not_sent_again_while_it_refuses_another_answer() -> None:
    class Refusing(Journal):
        refusals = 3

        async def send(self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any) -> Awaitable[None]:
            async def acknowledged() -> None:
                if value == b"event 2" and self.refusals:
                    self.refusals -= 1
                    raise OSError("the topic has no leader")
                self.sent.append((topic, key, value, {}))

            return acknowledged()

    journal = Refusing()
    await run(journal, [scored(1), broken(2), broken(3), scored(4)])
    assert [topic for topic, *_ in journal.sent] == [SCORES_TOPIC, DEAD_LETTER_TOPIC, SCORES_TOPIC, *[DEAD_LETTER_TOPIC] * 4]
    assert [value for topic, _, value, _ in journal.sent if topic == DEAD_LETTER_TOPIC][-2:] == [b"event 2", b"event 3"]
    assert journal.steps == ["flush", "acknowledge"]


async def test_a_letter_that_is_too_large_for_its_topic_is_cut_and_holds_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    class Small(Journal):
        async def send(self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any) -> Awaitable[None]:
            async def acknowledged() -> None:
                if len(value) > 600:
                    raise MessageSizeTooLargeError
                self.sent.append((topic, key, value, headers))

            return acknowledged()

    message = Message(b"channel", b"x" * 2000, "video-segments", 0, 1)
    journal = Small()
    await run(journal, [Answered(message, dead_letter(message, kind="event", reason="no JSON"))])
    ((_, _, value, headers),) = journal.sent
    assert (value, headers["truncated"]) == (b"x" * 500, b"2000")
    assert journal.steps == ["flush", "acknowledge"]
    assert "topic video-segments.dead-letter takes no message of that size" in caplog.text


async def test_letters_behind_an_answer_that_the_client_takes_for_too_large_are_not_cut() -> None:
    class Refusing(Journal):
        refusals = 3

        async def send(self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any) -> Awaitable[None]:
            if topic == SCORES_TOPIC and self.refusals:
                self.refusals -= 1
                raise MessageSizeTooLargeError  # the client itself measures messages, before it sends them
            return await super().send(topic, key, value, partition, timestamp, headers)

    journal = Refusing()
    await run(journal, [scored(1), broken(2)])
    assert [value for topic, _, value, _ in journal.sent if topic == DEAD_LETTER_TOPIC] == [b"event 2"]


async def test_a_refused_score_is_a_dead_letter_of_its_own_message() -> None:
    """Two messages may announce the same segment: each has its letter, by its place and not by its content."""
    journal = Journal(refused={0: "too old", 2: "too old as well"})
    answers = [broken(0), scored(1, sequence=9), scored(2), scored(3, sequence=9)]
    await run(journal, answers)
    letters = [(value, headers) for topic, _, value, headers in journal.sent if topic == DEAD_LETTER_TOPIC]
    assert [value for value, _ in letters] == [b"event 0", b"event 1", b"event 3"]
    assert [headers["kind"] for _, headers in letters] == [b"event", b"sink", b"sink"]
    assert letters[2][1]["reason"] == b"too old as well"
    assert journal.steps[-1] == "acknowledge"
    assert isinstance(answers[0].answer, DeadLetter)
