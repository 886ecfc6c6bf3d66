"""The order of work: everything is finished, in order, in batches that late segments do not fill."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from streams.scoring.batcher import MOST_WAITING, Batcher


class Bench:
    """A batcher of numbers: the negative ones need no scorer. Sampling and finishing wait for as long as they are told."""

    def __init__(self, size: int = 8, sample_ticks: int = 0, finish_ticks: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.progress = asyncio.Event()
        self.ticks = finish_ticks
        self.sample_ticks = sample_ticks
        self.batcher: Batcher[int, int] = Batcher(size, self.sample, lambda found: sum(one >= 0 for one in found), self.finish)

    async def sample(self, messages: object) -> list[int]:
        assert isinstance(messages, list)
        for _ in range(self.sample_ticks):
            await asyncio.sleep(0)
        return list(messages)

    async def finish(self, messages: list[int], sampled: list[int]) -> None:
        assert messages == sampled
        for _ in range(self.ticks):
            await asyncio.sleep(0)
        self.batches.append(sampled)
        self.progress.set()

    async def drained(self, count: int) -> list[int]:
        while sum(map(len, self.batches)) < count:
            self.progress.clear()
            await self.progress.wait()
        self.batcher.close()
        return [one for batch in self.batches for one in batch]


@given(
    takings=st.lists(st.lists(st.integers(-3, 9), min_size=1, max_size=8), max_size=30),
    sample_ticks=st.integers(0, 5),
    finish_ticks=st.integers(0, 20),
)
def test_everything_is_finished_in_order_and_no_batch_is_too_large(
    takings: list[list[int]], sample_ticks: int, finish_ticks: int
) -> None:
    async def run() -> None:
        bench = Bench(8, sample_ticks, finish_ticks)
        for taking in takings:
            await bench.batcher.add(taking)
        expected = [one for taking in takings for one in taking]
        assert await bench.drained(len(expected)) == expected
        assert all(sum(one >= 0 for one in batch) <= 8 for batch in bench.batches)

    asyncio.run(asyncio.wait_for(run(), 20))


async def test_late_segments_take_no_place_while_the_scorer_works() -> None:
    bench = Bench(8, finish_ticks=1000)
    takings = [[-1] * 7 + [number] for number in range(16)]
    for taking in takings:
        await asyncio.wait_for(bench.batcher.add(taking), 20)
    await bench.drained(16 * 8)
    # The first is alone; the others were there when it was done.
    assert len(bench.batches) <= 4


async def test_a_full_batcher_holds_back_and_goes_on() -> None:
    bench = Bench(4, finish_ticks=10_000)
    adding = asyncio.create_task(bench.batcher.add([1] * 4))
    await asyncio.wait_for(adding, 20)
    second = asyncio.create_task(bench.batcher.add([2] * 4))
    await asyncio.sleep(0.01)
    assert not second.done(), "a batch waits already: the rest stays in Kafka"
    bench.ticks = 0
    assert await asyncio.wait_for(bench.drained(8), 20) == [1] * 4 + [2] * 4
    await asyncio.wait_for(second, 20)


async def test_late_segments_alone_are_bounded_too() -> None:
    bench = Bench(4, finish_ticks=10**6)
    await asyncio.wait_for(bench.batcher.add([-1]), 20)
    added = 0

    async def fill() -> None:
        nonlocal added
        while True:
            await bench.batcher.add([-1])
            added += 1

    filling = asyncio.create_task(fill())
    await asyncio.sleep(0.2)
    filling.cancel()
    assert added <= MOST_WAITING
    bench.batcher.close()
