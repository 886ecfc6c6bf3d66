"""When messages came to their topic, whatever their producers' clocks say."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError

from streams.kafka import arrivals as arrivals_module
from streams.kafka.arrivals import Arrivals
from streams.kafka.progress import LagWatch
from streams.outages import Outage


def test_a_message_came_later_than_a_look_before_it() -> None:
    arrivals = Arrivals()
    arrivals.note({0: 10, 1: 5}, 100.0)
    arrivals.note({0: 12, 1: 5}, 105.0)

    assert arrivals.earliest(0, 12, sent=50.0) == 105
    assert arrivals.earliest(0, 11, sent=50.0) == 100
    assert arrivals.earliest(1, 5, sent=None) == 105, "its end has not moved"


def test_a_messages_own_time_counts_where_it_is_later_or_nothing_else_is_known() -> None:
    arrivals = Arrivals()
    arrivals.note({0: 10}, 100.0)

    assert arrivals.earliest(0, 10, sent=103.0) == 103
    assert arrivals.earliest(0, 9, sent=50.0) == 50, "it was there at the first look"
    assert arrivals.earliest(1, 0, sent=50.0) == 50
    assert arrivals.earliest(1, 0, sent=None) is None


@given(steps=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=30), behind=st.integers(0, 90))
def test_no_wait_is_taken_for_shorter_than_it_is_nor_for_longer_by_more_than_a_look(
    steps: list[tuple[int, int]], behind: int
) -> None:
    """steps: seconds from one look to the next, and the messages that come between. behind: seconds, a producer's clock."""
    arrivals, now, came = Arrivals(), 0.0, list[float]()
    for seconds, count in steps:
        arrivals.note({0: len(came)}, now)
        came += [now + seconds / 2] * count
        now += seconds

    for offset, at in enumerate(came):
        earliest = arrivals.earliest(0, offset, at - behind)
        assert earliest is not None
        assert at - 4.5 <= earliest <= at


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals_module, "MOST_LOOKS", 3)
    arrivals = Arrivals()
    for end in range(10):
        arrivals.note({0: end}, float(end))

    assert [arrivals.earliest(0, offset, -1.0) for offset in (6, 7, 8, 9)] == [-1, 7, 8, 9]


def test_the_lag_watch_looks_at_all_partitions_also_where_another_workers_has_no_leader() -> None:
    stop, arrivals = threading.Event(), Arrivals()

    class Progress:
        leaderless = True

        def __enter__(self) -> Progress:
            return self

        def __exit__(self, *_: object) -> None:
            stop.clear()

        def partitions(self) -> set[int]:
            return {0, 1}

        def ends(self, partitions: set[int], seconds: float) -> dict[int, int]:
            assert partitions == {1}, "the ends of its own it has been told"
            assert seconds <= 1, "the next look is due after 5 s"
            if self.leaderless:
                raise KafkaTimeoutError("1000 ms")
            return dict.fromkeys(partitions, 7)

        def ends_and_committed(self, partitions: set[int]) -> tuple[dict[int, int], dict[int, int]]:
            stop.set()
            return dict.fromkeys(partitions, 7), dict.fromkeys(partitions, 7)

    progress, before = Progress(), time.time()
    opened: Any = lambda: progress  # noqa: E731
    watch = LagWatch(opened, lambda: {0}, Outage("Kafka"), arrivals)
    watch.run(stop)
    assert before <= (arrivals.earliest(0, 7, None) or 0) <= time.time()
    assert arrivals.earliest(1, 7, None) is None
    progress.leaderless = False
    watch.run(stop)
    assert before <= (arrivals.earliest(1, 7, None) or 0) <= time.time()
