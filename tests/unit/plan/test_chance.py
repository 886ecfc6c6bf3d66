"""How unevenly streams fall on workers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.plan.chance import busiest, least


def test_one_worker_has_all_streams() -> None:
    assert busiest(37, 1) == 37


@pytest.mark.parametrize(("streams", "workers"), [(3, 2), (100, 5), (1000, 40), (1000, 400), (100_000, 2000)])
def test_nine_draws_in_ten_do_not_exceed_it(streams: int, workers: int) -> None:
    rng = np.random.default_rng(1)
    draws = rng.multinomial(streams, np.full(workers, 1 / workers), 2000).max(axis=1)
    expected = busiest(streams, workers)
    assert np.mean(draws <= expected) >= 0.88
    assert np.mean(draws <= expected - 1) < 0.92


@settings(max_examples=200)
@given(streams=st.integers(1, 200_000), workers=st.integers(1, 5000))
def test_it_is_between_the_mean_and_all_and_grows_with_the_streams(streams: int, workers: int) -> None:
    most = busiest(streams, workers)
    assert math.ceil(streams / workers) <= most <= streams
    assert most <= busiest(streams + 1, workers)
    assert most >= busiest(streams, workers + 1)


@given(answer=st.integers(0, 5000))
def test_the_least_number_that_fits(answer: int) -> None:
    assert least(lambda number: number >= answer) == max(1, answer)
