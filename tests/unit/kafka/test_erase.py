"""What can be erased of a partition: the beginning, as far as every message belongs and was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from streams.errors import BrokerError
from streams.kafka.consumer import TopicPartition
from streams.kafka.erase import Erased, _gone_by, _span
from streams.kafka.records import Unreadable
from streams.privacy.on_kafka import _found
from streams.privacy.step import Found

AT = TopicPartition("segment-scores", 0)


class Partition:
    """Stands for a consumer: one record for each word, at every second offset, as after transactions. `?` cannot be read."""

    def __init__(self, words: str) -> None:
        self.records = [
            SimpleNamespace(
                offset=2 * place,
                timestamp=1000 * place,
                key=word.encode(),
                value=Unreadable(b"?", "why", 2 * place, 2 * place) if word == "?" else word.encode(),
            )
            for place, word in enumerate(words.split())
        ]
        self.end, self.at = 2 * len(self.records), 0

    def assign(self, _: Any) -> None:
        """The only partition."""

    def seek_to_beginning(self, _: Any) -> None:
        self.at = 0

    def position(self, _: Any) -> int:
        return self.at

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        assert timeout_ms
        self.at, batch = self.at + 6, [record for record in self.records if self.at <= record.offset < self.at + 6]
        return {AT: batch}


@pytest.mark.parametrize(
    ("words", "until", "beginning", "first", "left"),
    [
        ("gone gone kept gone gone kept", 99, 4, 2, 2),
        ("kept gone", 99, 0, 0, 1),
        ("gone gone gone gone", 99, 8, 4, 0),
        ("gone gone gone gone", 4, 4, 2, 2),
        ("gone ? gone", 99, 2, 1, 1),
        ("", 99, 0, 0, 0),
    ],
)
def test_the_beginning_ends_at_the_first_other_message(words: str, until: int, beginning: int, first: int, left: int) -> None:
    reader = Partition(words)
    span = _span(reader, AT, min(until, reader.end), reader.end, lambda record: record.key == b"gone", 99)
    assert (span.beginning, span.first, span.left, span.is_counted) == (beginning, first, left, True)


def test_what_is_too_much_to_count_is_not_counted() -> None:
    reader = Partition("gone kept " + "gone " * 50)
    span = _span(reader, AT, reader.end, reader.end, lambda record: record.key == b"gone", 9)
    assert (span.beginning, span.first, span.is_counted) == (2, 1, False)


def test_a_message_is_gone_when_its_segment_is_closed_and_old() -> None:
    day = {"retention.ms": "86400000", "segment.ms": "3600000", "cleanup.policy": "delete"}
    assert _gone_by(day, 0.0) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=25)
    assert _gone_by(day | {"retention.ms": "-1"}, 0.0) is None
    assert _gone_by(day | {"retention.ms": str(2**62)}, 0.0) is None


def test_what_stays_is_said_with_its_end() -> None:
    until = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert _found(Erased(3, 0)) == Found(3)
    assert _found(Erased(3, 1, until)).text.startswith("1 stays: Kafka deletes no single message")
    assert _found(Erased(0, 2, until)).text.endswith("deleted by Kafka by 2026-01-31 12:00 UTC")
    assert _found(Erased(0, None, None)).text.startswith("more may be there: ")
    assert _found(Erased(0, None, None)).text.endswith("the topic keeps its messages for ever")
    with pytest.raises(BrokerError, match=r"not allowed; 2 stay; deleted by Kafka by 2026-01-31"):
        _found(Erased(0, 2, until, refused="not allowed"))
