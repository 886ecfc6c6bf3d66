from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
import pytest_asyncio

from scorer.errors import ModelError
from scorer.remote.batching import (
    LONGEST_RETRY,
    MOST_WAITING,
    Batcher,
    ModelFailedError,
    QueueFullError,
    UnscorableError,
    score_batch,
)
from scorer.spec import ClipScore, ModelInput
from tests.support.doubles import make_clip
from tests.support.served import HeldScorer

BATCH, QUEUE, WAIT = 4, 12, 0.05
SECONDS = 20.0


def clips_of(*lights: int) -> list[ModelInput]:
    return [make_clip(light) for light in lights]


def bad_clip() -> ModelInput:
    clip = make_clip()
    clip.statistics[-1] = 13
    return clip


@pytest.fixture
def scorer() -> HeldScorer:
    return HeldScorer()


@pytest_asyncio.fixture
async def batcher() -> AsyncIterator[Batcher]:
    batcher = Batcher(BATCH, QUEUE, WAIT)
    task = asyncio.create_task(batcher.run())
    yield batcher
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    batcher.close()


async def start(batcher: Batcher, scorer: HeldScorer, *requests: Sequence[ModelInput]) -> list[asyncio.Task[list[ClipScore]]]:
    """Requests in order, while the scorer holds the first one, which has one clip."""
    scorer.go.clear()
    scorer.at_work.clear()
    first = asyncio.create_task(batcher.score(scorer, clips_of(1)))
    await asyncio.to_thread(scorer.at_work.wait, SECONDS)
    tasks = [asyncio.create_task(batcher.score(scorer, clips)) for clips in requests]
    await asyncio.sleep(0)  # each of them has joined the queue
    return [first, *tasks]


async def test_requests_share_batches_and_get_their_own_scores(batcher: Batcher, scorer: HeldScorer) -> None:
    tasks = await start(batcher, scorer, clips_of(40, 200), clips_of(80), clips_of(120, 160, 240))
    scorer.go.set()
    answers = await asyncio.gather(*tasks)
    assert scorer.batches == [1, 4, 2]
    alone = HeldScorer()
    for answer, lights in zip(answers, [(1,), (40, 200), (80,), (120, 160, 240)], strict=True):
        assert answer == alone.score(clips_of(*lights))


async def test_no_batch_waits_to_be_full(batcher: Batcher, scorer: HeldScorer) -> None:
    await asyncio.wait_for(batcher.score(scorer, clips_of(1)), SECONDS)
    await asyncio.wait_for(batcher.score(scorer, clips_of(1, 2)), SECONDS)
    assert scorer.batches == [1, 2]


async def test_a_request_may_have_more_clips_than_a_batch(batcher: Batcher, scorer: HeldScorer) -> None:
    scores = await batcher.score(scorer, clips_of(*range(20, 31)))
    assert scores == HeldScorer().score(clips_of(*range(20, 31)))
    assert scorer.batches == [4, 4, 3]


async def test_requests_are_answered_in_the_order_in_which_they_came(batcher: Batcher, scorer: HeldScorer) -> None:
    order: list[int] = []
    tasks = await start(batcher, scorer, *[clips_of(*range(1 + number % 4)) for number in range(9)])
    for number, task in enumerate(tasks):
        task.add_done_callback(lambda _, number=number: order.append(number))
    scorer.go.set()
    await asyncio.gather(*tasks)
    assert order == sorted(order)


async def test_an_empty_request_has_no_scores(batcher: Batcher, scorer: HeldScorer) -> None:
    assert await batcher.score(scorer, []) == []


async def test_a_request_whose_client_has_gone_is_not_scored(batcher: Batcher, scorer: HeldScorer) -> None:
    first, gone, kept = await start(batcher, scorer, clips_of(1, 2, 3), clips_of(50))
    gone.cancel()
    scorer.go.set()
    assert await kept == HeldScorer().score(clips_of(50))
    assert len(await first) == 1
    assert gone.cancelled()
    assert scorer.batches == [1, 1]


async def test_a_client_that_goes_during_its_batch_harms_no_other(batcher: Batcher, scorer: HeldScorer) -> None:
    first, other = await start(batcher, scorer, clips_of(50))
    first.cancel()
    scorer.go.set()
    assert len(await other) == 1


async def test_a_bad_clip_fails_its_request_alone(batcher: Batcher, scorer: HeldScorer) -> None:
    first, good, bad = await start(batcher, scorer, clips_of(90), [make_clip(1), bad_clip(), bad_clip()])
    scorer.go.set()
    assert await good == HeldScorer().score(clips_of(90))
    with pytest.raises(UnscorableError, match="clip 1: the model gave a score that is not a finite number") as raised:
        await bad
    assert raised.value.clips == [1, 2]
    assert len(await first) == 1
    assert scorer.checks == 1
    assert batcher.broken == ""


async def test_a_broken_model_is_told_from_a_bad_clip(batcher: Batcher, scorer: HeldScorer) -> None:
    scorer.broken = True
    with pytest.raises(ModelFailedError, match="cannot score a test clip"):
        await batcher.score(scorer, clips_of(1, 2))
    assert scorer.batches == [-2], "not every clip is tried again"
    assert "cannot score a test clip" in batcher.broken
    scorer.broken = False
    assert len(await batcher.score(scorer, clips_of(1))) == 1
    assert batcher.broken == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_no_score(value: float) -> None:
    class OddScorer(HeldScorer):
        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            return [replace(score, uncertainty=value) for score in super().score(clips)]

    (result,) = score_batch(OddScorer(), clips_of(1))
    assert isinstance(result, ModelError)
    assert "not finite" in str(result)


def test_too_few_scores_are_no_answer() -> None:
    class ShortScorer(HeldScorer):
        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            return super().score(clips)[1:]

    results = score_batch(ShortScorer(), clips_of(1, 2))
    assert ["0 scores for 1 clips" in str(result) for result in results] == [True, True]


def test_a_batch_that_is_too_large_for_the_memory_is_scored_one_by_one() -> None:
    class SmallScorer(HeldScorer):
        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            if len(clips) > 1:
                raise RuntimeError("out of memory\nat line 7")
            return super().score(clips)

    assert score_batch(SmallScorer(), clips_of(1, 2)) == HeldScorer().score(clips_of(1, 2))


async def test_a_full_queue_says_when_to_come_again(batcher: Batcher) -> None:
    async with batcher.admit(QUEUE - 1):
        async with batcher.admit(1):
            assert batcher.held == QUEUE
            with pytest.raises(QueueFullError, match="12 clips are in work, and there was no room for 1 more") as raised:
                await admitted(batcher, 1)
        assert 1 <= raised.value.retry_after <= LONGEST_RETRY
    assert (batcher.held, batcher.waiting) == (0, 0)
    await admitted(batcher, QUEUE)


async def admitted(batcher: Batcher, clips: int) -> None:
    async with batcher.admit(clips):
        pass


async def test_clients_that_send_again_at_once_share_a_queue_that_is_too_small_for_all() -> None:
    batcher = Batcher(BATCH, QUEUE, SECONDS)
    rounds = dict.fromkeys(range(5), 0)

    async def client(name: int) -> None:
        while max(rounds.values()) < 50:
            # The queue holds one large request, or one of the small ones beside it.
            async with batcher.admit(8 if name else 3):
                await asyncio.sleep(0)
                rounds[name] += 1

    await asyncio.wait_for(asyncio.gather(*map(client, rounds)), SECONDS)
    assert min(rounds.values()) >= 48
    assert (batcher.held, batcher.waiting) == (0, 0)


async def test_a_request_that_does_not_get_room_holds_up_nobody_behind_it() -> None:
    batcher = Batcher(BATCH, QUEUE, SECONDS)
    async with batcher.admit(QUEUE - 1):
        large, small = (asyncio.create_task(admitted(batcher, clips)) for clips in (2, 1))
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        large.cancel()
        await asyncio.wait_for(small, SECONDS)
        assert (batcher.held, batcher.waiting) == (QUEUE - 1, 0)


async def test_a_request_that_is_cancelled_when_it_has_just_got_room_gives_it_back() -> None:
    batcher = Batcher(BATCH, QUEUE, SECONDS)
    async with batcher.admit(QUEUE):
        task = asyncio.create_task(admitted(batcher, 1))
        await asyncio.sleep(0)
    assert batcher.held == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert batcher.held == 0


async def test_no_more_than_a_number_of_requests_wait() -> None:
    batcher = Batcher(BATCH, QUEUE, SECONDS)
    async with batcher.admit(QUEUE):
        tasks = [asyncio.create_task(admitted(batcher, 1)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await admitted(batcher, 1)
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)


async def test_the_time_to_come_again_follows_the_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[tuple[int, float]] = []
    batcher = Batcher(BATCH, 1000, WAIT, lambda clips, seconds: batches.append((clips, seconds)))
    async with batcher.admit(100):
        for _ in range(40):
            batcher._measure(4, 0.4)
        assert batcher.retry_after() in (10, 11)
        for _ in range(40):
            batcher._measure(4, 0.04)
        assert batcher.retry_after() in (1, 2)
        for _ in range(40):
            batcher._measure(1, 30)
        assert batcher.retry_after() == LONGEST_RETRY
    assert batcher.retry_after() == 1
    assert batches[0] == (4, 0.4)


async def test_the_time_of_a_batch_that_hangs_is_seen(batcher: Batcher, scorer: HeldScorer) -> None:
    assert batcher.scoring_seconds() == 0
    (task,) = await start(batcher, scorer)
    before = batcher.scoring_seconds()
    await asyncio.sleep(0.05)
    assert batcher.scoring_seconds() > before
    scorer.go.set()
    await task
    assert batcher.scoring_seconds() == 0


async def test_each_request_is_scored_by_the_version_with_which_it_came(batcher: Batcher, scorer: HeldScorer) -> None:
    new = HeldScorer("2")
    first, old = await start(batcher, scorer, clips_of(1, 2))
    later = [asyncio.create_task(batcher.score(new, clips_of(3))) for _ in range(2)]
    await asyncio.sleep(0)
    scorer.go.set()
    versions = [[score.model.version for score in answer] for answer in await asyncio.gather(first, old, *later)]
    assert versions == [["1"], ["1", "1"], ["2"], ["2"]]
    assert new.batches == [2]


async def test_a_version_is_freed_after_its_last_request(batcher: Batcher) -> None:
    old = HeldScorer("1")
    await batcher.score(old, clips_of(1))
    await asyncio.sleep(0)
    reference = weakref.ref(old)
    del old
    gc.collect()
    assert reference() is None
