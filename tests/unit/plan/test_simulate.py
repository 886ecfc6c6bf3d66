"""The simulation: laws of queues, and the same course as the product's own batcher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.plan.simulate import SEGMENTS_FOR_A_CHILD, Service, arrivals, capacity, simulate
from streams.scoring.batcher import Batcher
from tests.support.virtual_time import run_in_virtual_time

SERVICE = Service(cores=2, children=2, sample_s=0.3, batch_s=0.01, clip_s=0.05, live_window=None)
CPU = 0.3 + 0.05 + 0.01 / 8
CAPACITY = 2 / CPU


def course_at(load: float, service: Service = SERVICE, aligned: bool = False, duration: float = 240.0):  # type: ignore[no-untyped-def]
    """The course of 16 streams at a share of the capacity of `SERVICE`."""
    period = 16 / (load * CAPACITY)
    return simulate([arrivals(16, period, duration, aligned, seed=3)], service, warm_up=2 * period)


def test_a_segment_alone_has_the_wait_and_the_service_time_as_its_lag() -> None:
    service = Service(cores=1, children=1, sample_s=0.4, batch_s=0.02, clip_s=0.06, fetch_s=0.1, event_s=0.005)
    # It arrives in the middle of a wait of 0.25 s.
    (lag,) = simulate([[10.1]], service).lags
    assert lag == pytest.approx(0.15 + 0.005 + 0.1 + 0.4 + 0.02 + 0.06)


def test_hours_without_a_segment_take_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = simpy.Environment.step, 0

    def counted(env: simpy.Environment) -> None:
        nonlocal steps
        steps += 1
        step(env)

    monkeypatch.setattr(simpy.Environment, "step", counted)
    service = Service(cores=1, children=1, sample_s=0.4, batch_s=0.02, clip_s=0.06)
    lags = simulate([[3600.1, 7200.2, 10_800.25]], service).lags
    assert lags == pytest.approx([0.15 + 0.48, 0.05 + 0.48, 0.48])
    assert steps < 150


def test_a_glance_takes_its_own_time_and_no_place_in_a_batch() -> None:
    service = replace(SERVICE, full_share=0.0, glance_s=0.04)
    course = simulate([[10.0]], service)
    assert course.lags[0] <= 0.04 + service.batch_wait
    assert (course.mean_batch, course.skipped) == (0.0, 0.0)


def test_the_capacity_with_glances_is_that_of_the_mean_segment() -> None:
    service = replace(SERVICE, full_share=0.25, glance_s=0.04)
    most = 2 / (0.25 * CPU + 0.75 * 0.04)
    assert 0.7 * most < capacity(service) <= 1.05 * most


def test_at_low_load_the_lag_is_the_wait_and_the_service_time() -> None:
    service_time = 0.3 + 0.01 + 0.05
    course = course_at(0.05)
    assert service_time <= course.lags.min()
    assert course.lag(0.95) <= service_time + SERVICE.batch_wait
    assert course.mean_batch < 1.1


def test_over_the_capacity_the_backlog_grows_by_what_is_too_much() -> None:
    course = course_at(1.3)
    assert course.growth == pytest.approx(0.3 * CAPACITY, rel=0.1)
    assert course.lag(0.5) > course_at(0.9).lag(0.99)


def test_under_the_capacity_no_backlog_grows() -> None:
    assert course_at(0.9).growth == pytest.approx(0, abs=0.05)


def test_segments_that_end_together_wait_for_each_other() -> None:
    assert course_at(0.7, aligned=True).lag(0.5) > 1.5 * course_at(0.7).lag(0.5)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_course(seed: int) -> None:
    service = Service(cores=2, children=2, sample_s=0.3, batch_s=0.01, clip_s=0.05, sample_cv=0.4)
    first, second = (simulate([arrivals(5, 2, 20, False, seed)], service, seed=seed) for _ in range(2))
    assert np.array_equal(first.lags, second.lags)


def test_the_live_window_bounds_the_lag_and_skips_the_rest() -> None:
    service = Service(cores=2, children=2, sample_s=0.3, batch_s=0.01, clip_s=0.05, live_window=4.0)
    course = course_at(1.5, service)
    # What was taken within the window is scored, also where it takes a few batches' time.
    assert course.lags.max() < 4.0 + 16 / CAPACITY + 1
    assert course.skipped == pytest.approx(1 - 1 / 1.5, abs=0.08)


def test_served_scorers_are_shared_by_the_workers() -> None:
    times = [arrivals(8, 4, 120, False, seed) for seed in range(4)]
    alone = Service(cores=8, children=8, sample_s=0.1, batch_s=0.01, clip_s=0.1, scorers=1.0)
    shared = Service(cores=8, children=8, sample_s=0.1, batch_s=0.01, clip_s=0.1, scorers=0.1)
    assert simulate(times, shared).growth > 1 > 0.2 > simulate(times, alone).growth


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no segment arrives"):
        simulate([[]], SERVICE)


def batcher_lags(times: Sequence[float], service: Service) -> list[float]:
    """The lags that the product's `Batcher` gives, in virtual time. Cores are no limit in it, so `service` has to have enough."""

    async def run() -> list[float]:
        clock = asyncio.get_running_loop().time
        children = asyncio.Semaphore(service.children)
        arrived: deque[float] = deque()
        change = asyncio.Event()
        lags: list[float] = []
        complete = asyncio.Event()

        async def sample_one(moment: float) -> float:
            await asyncio.sleep(service.fetch_s)
            async with children:
                await asyncio.sleep(service.sample_s)
            return moment

        async def sample(moments: Sequence[float]) -> list[float]:
            return list(await asyncio.gather(*(sample_one(moment) for moment in moments)))

        async def score(moments: list[float]) -> list[float]:
            await asyncio.sleep(service.batch_s + service.clip_s * len(moments))
            lags.extend(clock() - moment for moment in moments)
            if len(lags) == len(times):
                complete.set()
            return moments

        async def finish(_moments: list[float], _scored: list[float]) -> None:
            await asyncio.sleep(service.flush_s)

        async def arrive() -> None:
            for moment in times:
                await asyncio.sleep(moment - clock())
                arrived.append(moment)
                change.set()

        async def take() -> None:
            while True:
                end = clock() + service.batch_wait
                while len(arrived) < service.batch_size and clock() < end - 1e-9:
                    change.clear()
                    try:
                        await asyncio.wait_for(change.wait(), end - clock())
                    except TimeoutError:
                        break
                if arrived:
                    await batcher.add([arrived.popleft() for _ in range(min(service.batch_size, len(arrived)))])

        batcher: Batcher[float, float, float] = Batcher(
            service.batch_size, SEGMENTS_FOR_A_CHILD * service.children, sample, len, score, finish
        )
        tasks = [asyncio.create_task(arrive()), asyncio.create_task(take())]
        await complete.wait()
        for task in tasks:
            task.cancel()
        batcher.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        return lags

    return run_in_virtual_time(run())


@settings(max_examples=60)
@given(
    # Half a millisecond off: which of several that arrive as a wait ends are still taken, the event loop's order decides.
    times=st.lists(st.integers(1, 40_000), min_size=1, max_size=80).map(lambda ms: [(at + 0.5) / 1000 for at in sorted(ms)]),
    sample_s=st.floats(0.01, 1.0),
    clip_s=st.floats(0.005, 0.3),
    children=st.integers(1, 12),
)
def test_it_is_the_course_of_the_product_batcher(times: list[float], sample_s: float, clip_s: float, children: int) -> None:
    service = Service(
        cores=64,
        children=children,
        sample_s=sample_s,
        batch_s=0.013,
        clip_s=clip_s,
        live_window=None,
        fetch_s=0.002,
        flush_s=0.011,
    )
    simulated = simulate([times], service).lags
    assert sorted(simulated) == pytest.approx(sorted(batcher_lags(times, service)), abs=1e-6)
