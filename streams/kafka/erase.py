"""Taking messages off topics, as far as Kafka can.

A compacted topic forgets a key that gets a message without a value. Another topic forgets nothing in its middle: Kafka can only
move a partition's beginning, and its retention takes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.errors import BrokerError
from streams.kafka.clients import await_sends, broker_errors, open_admin, reading, writing
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, partitions_of, read_whole, records_before
from streams.kafka.progress import Progress
from streams.kafka.records import Unreadable
from streams.kafka.topics import has_topic, topic_settings
from streams.refusals import who_uses

Belongs = Callable[[Any], bool]
"""Whether a message belongs to what is to be erased. It has a value, and can be read."""

MOST_READ = 100_000
"""Messages of a topic that are read to count what cannot be erased: a few seconds. A large fleet has hundreds of millions."""


@dataclass(frozen=True)
class Erased:
    """What became of a topic's messages.

    deleted: their number. left: of those that stay, None where they were too many to count. until: when Kafka has deleted those
    at the latest, UTC; None for never. refused: why Kafka deleted none, '' otherwise.
    """

    deleted: int
    left: int | None
    until: datetime | None = None
    refused: str = ""


def take_back(connection: Connection, topic: str, belongs: Belongs, dry_run: bool) -> int | None:
    """Send a message without a value for each key whose last message belongs; returns their number, None without the topic.

    dry_run: only count. Raises `BrokerError`.
    """
    if not has_topic(connection, topic):
        return None
    with reading(connection) as reader:
        last: dict[tuple[int, bytes], bool] = {}
        for record in read_whole(reader, connection, topic):
            last[record.partition, record.key or b""] = bool(record.value) and belongs(record)
    keys = [place for place, is_meant in last.items() if is_meant]
    if keys and not dry_run:
        with writing(connection) as producer:
            await_sends(topic, (producer.send(topic, key=key, value=None, partition=number) for number, key in keys))
    return len(keys)


def erase_beginning(connection: Connection, topic: str, belongs: Belongs, dry_run: bool, group: str) -> Erased | None:
    """Delete the messages that belong and have no others before them in their partition; None without the topic.

    group: a consumer group whose unread messages stay: it answers them. Raises `BrokerError`.
    """
    settings = topic_settings(connection, topic)
    if not settings:
        return None
    with reading(connection) as reader:
        partitions = partitions_of(reader, connection, topic)
        with broker_errors(f"{topic} cannot be read", "Read", topic, connection.who):
            ends = reader.end_offsets(partitions)
        read = _committed(connection, group, topic, partitions) if group else dict(ends)
        spans, budget = [], MOST_READ
        for partition in partitions:
            span = _span(reader, partition, min(read[partition], ends[partition]), ends[partition], belongs, budget)
            budget = max(0, budget - span.read)
            spans.append(span)
    beginnings = {span.partition: span.beginning for span in spans if span.first}
    refused = _delete(connection, topic, beginnings) if beginnings and not dry_run else ""
    if refused:
        spans = [replace(span, first=0, left=span.first + span.left) for span in spans]
    left = sum(span.left for span in spans) if all(span.is_counted for span in spans) else None
    newest = [span.newest for span in spans if span.left or not span.is_counted]
    return Erased(sum(span.first for span in spans), left, _gone_by(settings, max(newest)) if newest else None, refused)


@dataclass
class _Span:
    """What belongs in a partition. first: at its beginning, up to the offset `beginning`. left: after that, as far as it was
    counted. newest: when the last of those was sent, or now where not all are known, Unix time. read: messages that were read."""

    partition: TopicPartition
    beginning: int = 0
    first: int = 0
    left: int = 0
    newest: float = 0.0
    read: int = 0
    is_counted: bool = True


def _span(reader: Any, partition: TopicPartition, until: int, end: int, belongs: Belongs, budget: int) -> _Span:
    """Look through a partition. until: the beginning cannot be moved further. budget: messages to read after the beginning."""
    span = _Span(partition, beginning=until)
    is_beginning = True
    for record in _records(reader, partition, end):
        is_meant = not isinstance(record.value, Unreadable) and bool(record.value) and belongs(record)
        if is_beginning and (not is_meant or record.offset >= until):
            is_beginning = False
            span.beginning = min(until, record.offset)
        if is_beginning:
            span.first += 1
            continue
        span.read += 1
        if span.read > budget:
            span.is_counted, span.newest = False, time.time()
            break
        if is_meant:
            span.left += 1
            span.newest = max(span.newest, record.timestamp / 1000)
    if span.first and not span.newest:
        span.newest = time.time()  # where Kafka refuses to delete them
    return span


def _records(reader: Any, partition: TopicPartition, end: int) -> Iterator[Any]:
    """A partition's records from its beginning on, those that cannot be read as well. Raises `BrokerError`."""
    with broker_errors(f"{partition.topic} cannot be read", "Read", partition.topic, who_uses(reader)):
        reader.assign([partition])
        reader.seek_to_beginning(partition)
        yield from records_before(reader, {partition: end})


def _committed(connection: Connection, group: str, topic: str, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
    """Of each partition, up to which offset the group has read; the end where it never has."""
    refusal = broker_errors(f"the group {group} cannot be asked for", "Describe", group, connection.who)
    with refusal, Progress(connection, group, topic) as progress:
        return progress.committed(partitions)


def _delete(connection: Connection, topic: str, beginnings: Mapping[TopicPartition, int]) -> str:
    """Move the partitions' beginnings; returns why that failed, '' where it did not."""
    with closing(open_admin(connection)) as admin:
        try:
            with broker_errors(f"Kafka does not delete the beginning of {topic}", "Delete", topic, connection.who):
                admin.delete_records(dict(beginnings))
        except BrokerError as error:
            return str(error)
    return ""


def _gone_by(settings: Mapping[str, str], newest: float) -> datetime | None:
    """When Kafka has deleted a message at the latest: it deletes closed segments alone, and keeps one open for `segment.ms`."""
    kept = int(settings.get("retention.ms", "-1"))
    if kept < 0 or "delete" not in settings.get("cleanup.policy", "delete"):
        return None
    try:
        return datetime.fromtimestamp(newest, UTC) + timedelta(milliseconds=kept + int(settings.get("segment.ms", "0")))
    except (OverflowError, ValueError):  # Kafka takes 292 million years
        return None
