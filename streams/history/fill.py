"""Filling a sink: the answers that are still on their topic are written into a sink that was restored, or is new.

A worker does the same with an answer as soon as it has it. What is written twice is stored once, so the time may begin before the
back-up, a command that was stopped may be given again, and workers may run meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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
    derived: what the sink says of what it derives from the scores. failure: why not all was read, '' where all was.
    """

    read: int = 0
    written: int = 0
    unreadable: Named = field(default_factory=Named)
    refused: Named = field(default_factory=Named)
    deleted: int = 0
    derived: str = ""
    failure: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether everything that was to be written is."""
        return not (self.failure or self.refused.count)


async def fill(span: Span, sink: Sink, deletions: Mapping[str, datetime], tell: Callable[[str], None] = lambda _: None) -> Filled:
    """Write the answers of a span into a sink.

    deletions: when a stream was last deleted, UTC: what was answered until then is left out. tell: is called with a line about
    how far it is. Kafka that does not answer, or a sink that takes nothing for a minute, is told in `failure`.
    """
    filled, hours = Filled(), set[datetime]()
    try:
        for records in _portions(span.batches()):
            await _write(sink, list(_scores(records, deletions, filled)), filled, hours)
            filled.read += len(records)
            tell(f"{filled.read:,} of {span.total:,} messages, {filled.written:,} scores written")
        if len(hours) > MOST_HOURS:
            filled.failure = f"the scores are of more than {MOST_HOURS:,} hours: what the sink derives from them is not computed"
        elif hours:
            filled.derived = await sink.derive(sorted(hours))
    except (BrokerError, SinkError) as error:
        filled.failure = str(error)
    return filled


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


def _scores(records: list[Any], deletions: Mapping[str, datetime], filled: Filled) -> Iterator[SegmentScore]:
    """The scores among the records that are to be written."""
    for record in records:
        try:
            if isinstance(record.value, Unreadable):
                raise EventError("", record.value.reason)
            score = SegmentScore.from_bytes(record.value or b"")
        except EventError as error:
            filled.unreadable.add(f"{record.topic}, partition {record.partition}, offset {record.offset}: {error}")
            continue
        deleted_at = deletions.get(score.stream_id)
        if deleted_at is not None and record.timestamp / 1000 <= deleted_at.timestamp():
            filled.deleted += 1
        else:
            yield score


async def _write(sink: Sink, scores: list[SegmentScore], filled: Filled, hours: set[datetime]) -> None:
    """Make scores durable. Raises `SinkError` where the sink takes none for a minute."""
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
