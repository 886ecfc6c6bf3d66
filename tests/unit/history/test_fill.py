"""Filling a sink from the topic's records: what is written, passed over, refused, and what is told of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams import retry
from streams.errors import BrokerError, SinkError
from streams.events import SCORES_TOPIC, SegmentScore, StreamDeletion
from streams.history import fill as module
from streams.history.fill import NAMED, Deletions, Filled
from streams.kafka.records import Unreadable
from streams.queue.topic import Queue
from streams.sinks.base import Rejected, Sink
from streams.sinks.sqlite import SqliteSink
from streams.sinks.sqlite_file import FILE
from streams.sinks.sqlite_sweep import count_stream, delete_stream
from tests.support.queue import MemoryTopic
from tests.support.sinks import make_score

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


class Records:
    """Stands for `TimeSpan`: its records, in portions of three."""

    def __init__(self, values: Sequence[bytes | None], at: datetime = NOW) -> None:
        self.total = len(values)
        self._records = [
            SimpleNamespace(topic=SCORES_TOPIC, partition=2, offset=offset, value=value, timestamp=at.timestamp() * 1000)
            for offset, value in enumerate(values)
        ]

    def batches(self) -> Iterator[list[Any]]:
        for first in range(0, self.total, 3):
            yield self._records[first : first + 3]


class MemorySink(Sink):
    """Keeps scores by stream and segment; refuses the segments named, and fails so many times first."""

    def __init__(self, refused: Sequence[str] = (), failures: int = 0) -> None:
        self.scores: dict[tuple[str, str], SegmentScore] = {}
        self.hours: list[datetime] = []
        self._waiting: list[SegmentScore] = []
        self._refused, self._failures = refused, failures

    def add(self, score: SegmentScore) -> None:
        self._waiting.append(score)

    async def flush(self) -> list[Rejected]:
        if self._failures:
            self._failures -= 1
            raise SinkError("the sink is away")
        waiting, self._waiting = self._waiting, []
        self.scores |= {(score.stream_id, score.segment_id): score for score in waiting if score.segment_id not in self._refused}
        return [Rejected(place, "too old") for place, score in enumerate(waiting) if score.segment_id in self._refused]

    async def check(self) -> str:
        return "memory"

    async def derive(self, hours: Sequence[datetime]) -> str:
        self.hours = list(hours)
        return f"{len(hours)} hours"


def nothing_deleted(_: str) -> None:
    raise AssertionError("nothing is to be deleted")


class Forgotten(dict[str, datetime]):
    """Stands for the training queue's notes, all of them by `fvq forget`."""

    def deletions(self) -> dict[str, datetime]:
        return dict(self)

    def forgotten(self) -> dict[str, datetime]:
        return dict(self)


async def fill(
    span: module.Span,
    sink: Sink,
    deletions: dict[str, datetime],
    tell: Callable[[str], None] = lambda _: None,
    erase: Callable[[str], None] = nothing_deleted,
) -> Filled:
    """deletions: when each stream was forgotten; may grow meanwhile."""
    return await module.fill(span, sink, Deletions(lambda: Forgotten(deletions), erase), tell)


def numbered(count: int, **changes: Any) -> list[SegmentScore]:
    return [make_score(segment_id=str(number), start=NOW + timedelta(minutes=20 * number), **changes) for number in range(count)]


async def test_all_scores_are_written_and_the_hours_of_their_segments_are_derived() -> None:
    sink, told = MemorySink(), list[str]()
    scores = numbered(8)
    filled = await fill(Records([score.to_bytes() for score in scores]), sink, {}, told.append)
    assert list(sink.scores.values()) == scores
    assert (filled.read, filled.written, filled.is_whole, filled.derived) == (8, 8, True, "3 hours")
    assert sink.hours == [NOW.replace(hour=hour, minute=0) for hour in (12, 13, 14)]
    assert told[-1] == "8 of 8 messages, 8 scores written"


async def test_foreign_messages_are_named_and_passed_over() -> None:
    sink = MemorySink()
    foreign = [b"", None, b"\xff", b'{"stream_id": "x"}', Unreadable(b"?", "the checksum is wrong", 4, 4)]
    filled = await fill(Records([*foreign, make_score().to_bytes()]), sink, {})
    assert (filled.written, filled.unreadable.count, filled.is_whole) == (1, 5, True)
    assert filled.unreadable.first[4] == "segment-scores, partition 2, offset 4: the checksum is wrong"
    many = await fill(Records([b"?"] * 3 * NAMED), sink, {})
    assert (many.unreadable.count, len(many.unreadable.first), many.written) == (3 * NAMED, NAMED, 0)


async def test_a_refused_score_is_named_and_the_others_are_written() -> None:
    sink = MemorySink(refused=["3"])
    filled = await fill(Records([score.to_bytes() for score in numbered(5)]), sink, {})
    assert [segment for _, segment in sink.scores] == ["0", "1", "2", "4"]
    assert (filled.written, filled.refused.first) == (4, ["s, segment 3: too old"])
    assert not filled.is_whole
    assert NOW.replace(hour=13, minute=0) in sink.hours


async def test_what_was_answered_before_a_streams_deletion_does_not_come_back() -> None:
    sink = MemorySink()
    records = Records([make_score(stream_id=stream).to_bytes() for stream in ("gone", "kept", "back")])
    filled = await fill(records, sink, {"gone": NOW, "back": NOW - timedelta(seconds=1)})
    assert {stream for stream, _ in sink.scores} == {"kept", "back"}
    assert (filled.deleted, filled.written, filled.is_whole) == (1, 2, True)


async def test_a_sink_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    sink = MemorySink(failures=3)
    filled = await fill(Records([make_score().to_bytes()]), sink, {})
    assert (filled.written, filled.failure, len(sink.scores)) == (1, "", 1)


async def test_a_sink_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_SECONDS", 0.0)
    filled = await fill(Records([make_score().to_bytes()]), MemorySink(failures=10**6), {})
    assert (filled.written, filled.failure) == (0, "the sink is away")
    assert not filled.is_whole


async def test_kafka_that_does_not_answer_any_more_is_told_with_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 2)

    class Broken(Records):
        def batches(self) -> Iterator[list[Any]]:
            yield next(super().batches())
            raise BrokerError("segment-scores cannot be read")

    filled = await fill(Broken([score.to_bytes() for score in numbered(3)]), MemorySink(), {})
    assert (filled.written, filled.failure, filled.is_whole) == (2, "segment-scores cannot be read", False)


async def test_scores_of_all_times_cost_no_query_for_each_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HOURS", 2)
    sink = MemorySink()
    filled = await fill(Records([score.to_bytes() for score in numbered(8)]), sink, {})
    assert (filled.written, sink.hours) == (8, [])
    assert "more than 2 hours" in filled.failure


async def test_twice_into_sqlite_is_once(tmp_path: Path) -> None:
    values = [score.to_bytes() for score in numbered(7)]
    for _ in range(2):
        sink = SqliteSink(tmp_path)
        filled = await fill(Records(values), sink, {})
        await sink.close()
        assert (filled.written, filled.derived) == (7, "")
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        rows = connection.execute("select segment_id from scores order by start").fetchall()
    assert [row[0] for row in rows] == [str(number) for number in range(7)]


class RacedSink(SqliteSink):
    """A stream is forgotten just before the scores of so many flushes are written: after the look at the deletions."""

    def __init__(self, folder: Path, flushes: int, forget: Callable[[], None]) -> None:
        super().__init__(folder)
        self._left, self._forget = flushes, forget

    async def flush(self) -> list[Rejected]:
        self._left -= 1
        if self._left == 0:
            self._forget()
        return await super().flush()


@pytest.mark.parametrize("flushes", [1, 2, 4])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_stream_that_is_forgotten_meanwhile_is_not_there_at_the_end(
    flushes: int, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3)
    scores = [score for number in range(6) for score in (segment("gone", number), segment("kept", number))]
    deletions: dict[str, datetime] = {}

    def erase(stream: str) -> None:
        delete_stream(tmp_path / FILE, stream)

    def forget() -> None:
        # By a clock that is behind: all that is filled was answered before the note all the same.
        deletions["gone"] = NOW - timedelta(hours=1)
        erase("gone")

    class Answers(Records):
        def batches(self) -> Iterator[list[Any]]:
            yield from super().batches()
            if fails:
                raise BrokerError("segment-scores cannot be read")

    sink = RacedSink(tmp_path, flushes, forget)
    filled = await fill(Answers([score.to_bytes() for score in scores]), sink, deletions, erase=erase)
    await sink.close()
    assert (count_stream(tmp_path / FILE, "gone"), count_stream(tmp_path / FILE, "kept")) == (0, 6)
    assert (filled.is_whole, filled.erased, filled.not_erased.count) == (not fails, ["gone"], 0)
    assert filled.deleted + filled.written == 12


async def test_a_forgotten_stream_of_which_nothing_was_written_is_not_erased(tmp_path: Path) -> None:
    deletions = {"before": NOW}
    sink = RacedSink(tmp_path, 1, lambda: deletions.update(other=NOW))
    filled = await fill(Records([segment("kept", 0).to_bytes()]), sink, deletions)
    await sink.close()
    assert (filled.written, filled.erased, filled.is_whole) == (1, [], True)


async def test_a_stream_whose_clips_alone_are_deleted_meanwhile_keeps_its_scores(tmp_path: Path) -> None:
    topic, queue = MemoryTopic(), Queue()
    clips = StreamDeletion(stream_id="kept", deleted_at=NOW)
    sink = RacedSink(tmp_path, 1, lambda: topic.add([clips]))
    filled = await module.fill(Records([segment("kept", 0).to_bytes()]), sink, Deletions(topic.refresh, nothing_deleted))
    await sink.close()
    assert (filled.written, filled.erased, filled.is_whole) == (1, [], True)
    queue.fold(clips.key, clips.to_bytes())
    assert (queue.deletions(), queue.forgotten()) == ({"kept": NOW}, {})
    whole = clips.model_copy(update={"forgotten": True})
    queue.fold(whole.key, whole.to_bytes())
    assert queue.forgotten() == {"kept": NOW}
    queue.fold(whole.key, None)
    assert queue.forgotten() == {}


async def test_scores_of_a_forgotten_stream_that_cannot_be_deleted_again_are_told(tmp_path: Path) -> None:
    deletions: dict[str, datetime] = {}

    def fail(_: str) -> None:
        raise SinkError("the token may not delete")

    sink = RacedSink(tmp_path, 1, lambda: deletions.update(gone=NOW))
    filled = await fill(Records([segment("gone", 0).to_bytes()]), sink, deletions, erase=fail)
    await sink.close()
    assert filled.not_erased.first == ["gone: the token may not delete"]
    assert not filled.is_whole


async def test_deletions_that_cannot_be_read_at_the_end_are_told() -> None:
    answers = iter([Forgotten(), Forgotten()])

    def read() -> Forgotten:
        try:
            return next(answers)
        except StopIteration:
            raise BrokerError("training-queue cannot be read") from None

    filled = await module.fill(Records([make_score().to_bytes()]), MemorySink(), Deletions(read, nothing_deleted))
    assert (filled.written, filled.is_whole) == (1, False)
    assert "training-queue cannot be read: a stream that was forgotten meanwhile may be back" in filled.failure


def segment(stream: str, number: int) -> SegmentScore:
    return make_score(stream_id=stream, segment_id=str(number), start=NOW + timedelta(minutes=number))
