"""Cores that jobs share."""

from __future__ import annotations

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.plan.cores import Cores


def ends(jobs: list[tuple[float, float, int]], count: int) -> list[float]:
    """When jobs end. jobs: start, CPU seconds and threads of each."""
    env = simpy.Environment()
    cores = Cores(env, count)
    times = [0.0] * len(jobs)

    def run(number: int, start: float, seconds: float, threads: int):  # type: ignore[no-untyped-def]
        yield env.timeout(start)
        yield cores.work(seconds, threads)
        times[number] = env.now

    for number, job in enumerate(jobs):
        env.process(run(number, *job))
    env.run()
    return times


def test_as_many_jobs_as_cores_do_not_slow_each_other() -> None:
    assert ends([(0, 1.0, 1), (0, 2.0, 1)], 2) == pytest.approx([1.0, 2.0])


def test_more_jobs_than_cores_share_them_evenly() -> None:
    # Until 1.5 each gets 2/3 of a core, then the two that are left have one each.
    assert ends([(0, 1.0, 1), (0, 2.0, 1), (0, 2.0, 1)], 2) == pytest.approx([1.5, 2.5, 2.5])


def test_a_job_that_comes_later_slows_the_others_from_then_on() -> None:
    assert ends([(0, 1.0, 1), (0.5, 1.0, 1)], 1) == pytest.approx([1.5, 2.0])


def test_threads_count_as_so_many_jobs() -> None:
    assert ends([(0, 2.0, 2)], 4) == pytest.approx([1.0])
    assert ends([(0, 2.0, 2), (0, 1.0, 1)], 2) == pytest.approx([1.5, 1.5])


@settings(max_examples=50)
@given(
    jobs=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3), st.integers(1, 3)), min_size=1, max_size=12),
    count=st.integers(1, 4),
)
def test_no_work_is_lost_or_done_too_fast(jobs: list[tuple[float, float, int]], count: int) -> None:
    times = ends(jobs, count)
    for (start, seconds, threads), end in zip(jobs, times, strict=True):
        assert end >= start + seconds / min(threads, count) - 1e-6
    first, total = min(start for start, _, _ in jobs), sum(seconds for _, seconds, _ in jobs)
    assert max(times) >= first + total / count - 1e-6
    # Never idle while there is work, but for threads that are too few for all cores.
    assert max(times) <= max(start for start, _, _ in jobs) + total + 1e-6
