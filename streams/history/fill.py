"""Filling a sink: the answers that are still on their topic are written into a sink that was restored, or is new.

A worker does the same with an answer as soon as it has it. What is written twice is stored once, so the time may begin before the
back-up, a command that was stopped may be given again, and workers may run meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from streams.errors import BrokerError, EventError, SinkError
from streams.events import SegmentScore
from streams.kafka.records import Unreadable
from streams.retry import retried
from streams.sinks.base import Sink

TOGETHER = 1000
"""Scores in one flush of the sink."""

GIVE_UP_SECONDS = 60.0
"""How long a sink may take no scores before the command ends."""

NAMED = 20
"""Most messages, and most scores, that are named with their reason; the others are counted."""

MOST_HOURS = 10_000
"""Most hours, over a year, of which derived values are computed: a few wrong clocks must not cost a query for each."""


class Span(Protocol):
    """Where the answers come from: `streams.kafka.spans.TimeSpan`."""

    total: int

    def batches(self) -> Iterator[list[Any]]:
        """The records, some at a time."""
        ...


@dataclass
class Named:
    """Things that went wrong. count: their number. first: sentences about the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Count one more, and keep its sentence while there are few."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(sentence)


@dataclass
class Filled:
    """What was done.

    read: messages. written: scores that the sink has now. unreadable: messages that are no scores, which were passed over.
    refused: scores that the sink refuses for good. deleted: scores of streams that were deleted since, which were left out.
    erased: streams that were deleted meanwhile, of which what this had written was deleted again. not_erased: those of which it
    could not be.
    derived: what the sink says of what it derives from the scores. failure: why not all was read, '' where all was.
    """

    read: int = 0
    written: int = 0
    unreadable: Named = field(default_factory=Named)
    refused: Named = field(default_factory=Named)
    deleted: int = 0
    erased: list[str] = field(default_factory=list)
    not_erased: Named = field(default_factory=Named)
    derived: str = ""
    failure: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether everything that was to be written is."""
        return not (self.failure or self.refused.count or self.not_erased.count)


class Notes(Protocol):
    """Which streams were deleted: `streams.queue.topic.Queue`."""

    def deletions(self) -> dict[str, datetime]:
        """By stream id, when its clips, or all of it, was last deleted, UTC."""
        ...

    def forgotten(self) -> dict[str, datetime]:
        """By stream id, when all of it was last deleted, UTC."""
        ...


class Deletions:
    """The streams that were deleted, before a filling and meanwhile: none of them comes back.

    read: the notes of deletions as known by now; may raise `BrokerError`. erase: deletes what the sink has of a stream; may raise
    `SinkError`. Make it when the end of the span is fixed: all that is filled was then answered before any later deletion.
    """

    def __init__(self, read: Callable[[], Notes], erase: Callable[[str], None]) -> None:
        self._read, self._erase = read, erase
        notes = read()
        self._before, self._forgotten = notes.deletions(), notes.forgotten()
        self._meanwhile: set[str] = set()
        self._written: set[str] = set()
        self.erased: set[str] = set()

    def look(self) -> dict[str, str]:
        """Read what was forgotten by now, and erase what was written of it; returns why by stream, where that failed.

        A stream whose clips alone were deleted meanwhile keeps its scores. Raises `BrokerError`.
        """
        forgotten = self._read().forgotten()
        self._meanwhile |= {stream for stream, moment in forgotten.items() if moment != self._forgotten.get(stream)}
        failures: dict[str, str] = {}
        for stream in sorted(self._meanwhile & self._written):
            try:
                self._erase(stream)
            except SinkError as error:
                failures[stream] = str(error)
            else:
                self._written.remove(stream)
                self.erased.add(stream)
        return failures

    def holds(self, stream: str, answered: float) -> bool:
        """Whether what was answered then, seconds since 1970, was deleted later."""
        before = self._before.get(stream)
        return stream in self._meanwhile or (before is not None and answered <= before.timestamp())

    def note_written(self, streams: Iterable[str]) -> None:
        """Remember of which streams scores are about to be written."""
        self._written.update(streams)


async def fill(span: Span, sink: Sink, deletions: Deletions, tell: Callable[[str], None] = lambda _: None) -> Filled:
    """Write the answers of a span into a sink.

    deletions: what was answered before a stream's deletion is left out, and erased where the stream is deleted meanwhile. tell:
    is called with a line about how far it is. Kafka that does not answer, or a sink that takes nothing for a minute, is told in
    `failure`.
    """
    filled, hours = Filled(), set[datetime]()
    try:
        for records in _portions(span.batches()):
            # A stream that is deleted after this look, and before the scores are written, is erased by the next one.
            deletions.look()
            await _write(sink, list(_scores(records, deletions, filled)), deletions, filled, hours)
            filled.read += len(records)
            tell(f"{filled.read:,} of {span.total:,} messages, {filled.written:,} scores written")
        if len(hours) > MOST_HOURS:
            filled.failure = f"the scores are of more than {MOST_HOURS:,} hours: what the sink derives from them is not computed"
        elif hours:
            filled.derived = await sink.derive(sorted(hours))
    except (BrokerError, SinkError) as error:
        filled.failure = str(error)
    finally:
        # Also where a failure or Ctrl-C has ended it, and after the hourly values, which are made from what was there before.
        _look_again(deletions, filled)
    return filled


def _look_again(deletions: Deletions, filled: Filled) -> None:
    """Erase what was deleted since the last portion, and tell what became of all that was deleted meanwhile."""
    try:
        for stream, reason in deletions.look().items():
            filled.not_erased.add(f"{stream}: {reason}")
    except BrokerError as error:
        words = f"{error}: a stream that was forgotten meanwhile may be back, so run `fvq forget` for it again"
        filled.failure = f"{filled.failure}; {words}" if filled.failure else words
    filled.erased = sorted(deletions.erased)


def _portions(batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """The same records, so many at a time as the sink gets: the topic gives a few of each partition."""
    waiting: list[Any] = []
    for records in batches:
        waiting += records
        while len(waiting) >= TOGETHER:
            yield waiting[:TOGETHER]
            waiting = waiting[TOGETHER:]
    if waiting:
        yield waiting


def _scores(records: list[Any], deletions: Deletions, filled: Filled) -> Iterator[SegmentScore]:
    """The scores among the records that are to be written."""
    for record in records:
        try:
            if isinstance(record.value, Unreadable):
                raise EventError("", record.value.reason)
            score = SegmentScore.from_bytes(record.value or b"")
        except EventError as error:
            filled.unreadable.add(f"{record.topic}, partition {record.partition}, offset {record.offset}: {error}")
            continue
        if deletions.holds(score.stream_id, record.timestamp / 1000):
            filled.deleted += 1
        else:
            yield score


async def _write(sink: Sink, scores: list[SegmentScore], deletions: Deletions, filled: Filled, hours: set[datetime]) -> None:
    """Make scores durable. Raises `SinkError` where the sink takes none for a minute."""
    deletions.note_written(score.stream_id for score in scores)
    for score in scores:
        sink.add(score)
    until = time.monotonic() + GIVE_UP_SECONDS
    rejected = await retried("sink", sink.flush, lambda error: isinstance(error, SinkError) and time.monotonic() < until)
    for rejection in rejected:
        refused = scores[rejection.place]
        filled.refused.add(f"{refused.stream_id}, segment {refused.segment_id}: {rejection.reason}")
    filled.written += len(scores) - len(rejected)
    rejected_places = {rejection.place for rejection in rejected}
    hours.update(_hour(score) for place, score in enumerate(scores) if place not in rejected_places)


def _hour(score: SegmentScore) -> datetime:
    """The hour in which a segment starts."""
    return score.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
