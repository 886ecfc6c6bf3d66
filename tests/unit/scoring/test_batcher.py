"""The batcher: every message is finished, in order, and late segments take no place in a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.scoring.batcher import MOST_WAITING, Batcher


def places(numbers: Sequence[int]) -> int:
    """Number of places that messages take in a batch."""
    return sum(number >= 0 for number in numbers)


class Bench:
    """A batcher whose messages are numbers. A negative number stands for a late segment, which takes no place in a batch.

    size: places of a batch. sample_ticks, finish_ticks: turns of the event loop that sampling and finishing take. ahead: batches
    that may be scored and not yet finished. room: places that may wait, if they are more than a batch has.
    """

    def __init__(self, size: int = 8, sample_ticks: int = 0, finish_ticks: int = 0, ahead: int = 1, room: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.progress = asyncio.Event()
        self.finish_ticks = finish_ticks
        self.sample_ticks = sample_ticks
        self.scored: list[int] = []
        self.batcher: Batcher[int, int, int] = Batcher(size, room, self.sample, places, self.score, self.finish, ahead)

    async def sample(self, messages: object) -> list[int]:
        assert isinstance(messages, list)
        for _ in range(self.sample_ticks):
            await asyncio.sleep(0)
        return list(messages)

    async def score(self, sampled: list[int]) -> list[int]:
        self.scored += sampled
        return sampled

    async def finish(self, messages: list[int], sampled: list[int]) -> None:
        assert messages == sampled
        turn = 0
        while turn < self.finish_ticks:  # read at each turn, so that a test can end the wait of the batch in flight
            await asyncio.sleep(0)
            turn += 1
        self.batches.append(sampled)
        self.progress.set()

    async def finished(self, count: int) -> list[int]:
        """Wait until `count` messages are finished, and stop; returns them in the order in which they were finished."""
        while sum(map(len, self.batches)) < count:
            self.progress.clear()
            await self.progress.wait()
        self.batcher.close()
        return [number for batch in self.batches for number in batch]


@given(
    groups=st.lists(st.lists(st.integers(-3, 9), min_size=1, max_size=8), max_size=30),
    sample_ticks=st.integers(0, 5),
    finish_ticks=st.integers(0, 20),
    ahead=st.integers(1, 4),
)
def test_every_message_is_finished_in_order_and_no_batch_is_too_large(
    groups: list[list[int]], sample_ticks: int, finish_ticks: int, ahead: int
) -> None:
    async def run() -> None:
        bench = Bench(8, sample_ticks, finish_ticks, ahead)
        for group in groups:
            await bench.batcher.add(group)
        expected = [number for group in groups for number in group]
        assert await bench.finished(len(expected)) == expected
        assert all(places(batch) <= 8 for batch in bench.batches)

    asyncio.run(asyncio.wait_for(run(), 20))


async def test_late_segments_share_a_batch_with_others_because_they_take_no_place() -> None:
    bench = Bench(8, finish_ticks=1000)
    groups = [[-1] * 7 + [number] for number in range(16)]
    for group in groups:
        await asyncio.wait_for(bench.batcher.add(group), 20)
    await bench.finished(16 * 8)
    # The first group is a batch of its own. The others waited when it was finished, and fit into few batches.
    assert len(bench.batches) <= 4


async def test_a_full_batcher_takes_no_more_until_a_batch_is_finished() -> None:
    bench = Bench(4, finish_ticks=10_000)
    adding = asyncio.create_task(bench.batcher.add([1] * 4))
    await asyncio.wait_for(adding, 20)
    second = asyncio.create_task(bench.batcher.add([2] * 4))
    await asyncio.sleep(0.01)
    assert not second.done(), "a whole batch waits already, so the next messages stay in Kafka"
    bench.finish_ticks = 0
    assert await asyncio.wait_for(bench.finished(8), 20) == [1] * 4 + [2] * 4
    await asyncio.wait_for(second, 20)


async def test_more_than_a_batch_may_wait_where_many_children_sample() -> None:
    bench = Bench(4, finish_ticks=10**6, room=8)
    for _ in range(2):
        await asyncio.wait_for(bench.batcher.add([1] * 4), 20)
    third = asyncio.create_task(bench.batcher.add([2] * 4))
    await asyncio.sleep(0.01)
    assert not third.done(), "as many wait as there is room for"
    bench.finish_ticks = 0
    assert await asyncio.wait_for(bench.finished(12), 20) == [1] * 8 + [2] * 4
    assert max(map(len, bench.batches)) == 4


async def test_waiting_groups_are_limited_even_if_all_segments_are_late() -> None:
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


async def test_batches_are_scored_while_the_first_one_is_not_finished_but_only_so_many() -> None:
    bench = Bench(2, finish_ticks=10**6, ahead=3)
    for number in range(3):
        await asyncio.wait_for(bench.batcher.add([number] * 2), 20)
    fourth = asyncio.create_task(bench.batcher.add([3] * 2))
    await asyncio.sleep(0.05)
    assert (bench.scored, bench.batches) == ([0, 0, 1, 1, 2, 2], [])
    fourth.cancel()
    bench.batcher.close()


async def test_without_batches_ahead_each_is_finished_before_the_next_is_scored() -> None:
    bench = Bench(2, finish_ticks=10**6)
    await asyncio.wait_for(bench.batcher.add([0] * 2), 20)
    second = asyncio.create_task(bench.batcher.add([1] * 2))
    await asyncio.sleep(0.05)
    assert bench.scored == [0, 0]
    second.cancel()
    bench.batcher.close()
