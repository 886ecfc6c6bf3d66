"""Hours of the past become ranges of queries: each hour once, in none that is longer than allowed."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from streams.sinks.influx_hourly import HOUR, MOST_HOURS, past_flux, runs_of

BEGIN = datetime(2026, 10, 31, 22, tzinfo=UTC)


@given(st.lists(st.integers(0, 60)))
def test_each_hour_is_in_exactly_one_range_and_no_other_hour_is(numbers: list[int]) -> None:
    covered = []
    for start, stop in runs_of([BEGIN + number * HOUR for number in numbers]):
        assert HOUR <= stop - start <= MOST_HOURS * HOUR
        covered += [start + number * HOUR for number in range((stop - start) // HOUR)]
    assert covered == [BEGIN + number * HOUR for number in sorted(set(numbers))]


def test_a_query_names_buckets_range_and_field() -> None:
    mean, low, count = past_flux("fvq", "fvq_hourly", "segment_score", BEGIN, BEGIN + 2 * HOUR)
    assert "range(start: 2026-10-31T22:00:00Z, stop: 2026-11-01T00:00:00Z)" in mean
    assert 'from(bucket: "fvq")' in low
    assert 'value: "segments") |> to(bucket: "fvq_hourly") |> group() |> count()' in count
