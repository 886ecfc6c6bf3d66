"""The server's clock, as far as its answers tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.ingest.dash.clock import ServerClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_several_answers_narrow_the_time_and_the_earliest_counts() -> None:
    clock = ServerClock()
    assert clock.now(100.0, NOW) == NOW, "before the first answer it is this machine's"

    clock.learn(NOW, 100.0, 100.4)
    assert clock.now(101.0, NOW) == NOW + timedelta(seconds=0.6)
    clock.learn(NOW + timedelta(seconds=3), 103.0, 103.1)
    assert clock.now(104.0, NOW) == NOW + timedelta(seconds=3.9)


def test_a_date_at_the_end_of_the_calendar_is_no_time() -> None:
    clock = ServerClock()
    clock.learn(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 100.0, 100.1)

    assert clock.now(102.0, NOW) == NOW
