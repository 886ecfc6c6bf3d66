"""Ordered batches: messages are sampled as they come, scored in batches, and finished strictly in their order.

A batch whose answers still wait for something (the large model's looks) holds up those after it only at the end: they are scored
meanwhile.

Knows no Kafka and no model. A message that needs no scorer (late or broken) takes no place in a batch: otherwise a topic with
one crowded partition would fill batches with late segments, each batch would score few live ones, and the lag would grow
without bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Scored = TypeVar("Scored")

MOST_WAITING = 16
"""Maximum number of groups that wait, even of messages that take no place: a backlog of late segments is answered in steps."""


@dataclass
class _Group(Generic[Item, Result]):
    """Messages that came together, and the task that samples them."""

    messages: list[Item]
    sampling: asyncio.Task[list[Result]]


class Batcher(Generic[Item, Result, Scored]):
    """Samples the next messages while it scores the present ones.

    size: places of a batch. room: places that may wait for one, at least a batch: as many as keep all sampling children busy
    while the last of a group is sampled. sample: from messages to results; never raises. places: how many of the results take a
    place in a batch. score: scores a batch; never raises. finish: makes its answers safe; never raises. ahead: batches that may
    be scored and not yet finished.
    """

    def __init__(
        self,
        size: int,
        room: int,
        sample: Callable[[Sequence[Item]], Awaitable[list[Result]]],
        places: Callable[[Sequence[Result]], int],
        score: Callable[[list[Result]], Awaitable[list[Scored]]],
        finish: Callable[[list[Item], list[Scored]], Awaitable[None]],
        ahead: int = 1,
    ) -> None:
        self._size, self._room = size, max(size, room)
        self._sample, self._count, self._score, self._finish = sample, places, score, finish
        self._waiting: deque[_Group[Item, Result]] = deque()
        self._changed = asyncio.Condition()
        self._room_ahead = asyncio.Semaphore(ahead)
        self._scored: asyncio.Queue[tuple[list[Item], list[Scored]]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._score_batches()), asyncio.create_task(self._finish_batches())]

    async def add(self, messages: list[Item]) -> None:
        """Start to sample messages; returns when there is room for more, so that messages without room stay in Kafka."""
        group = _Group(messages, asyncio.create_task(self._sampled(messages)))
        async with self._changed:
            self._waiting.append(group)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._load() < self._room and len(self._waiting) < MOST_WAITING)

    def close(self) -> None:
        """Stop. Work under way is not finished, and so not acknowledged."""
        for task in self._tasks:
            task.cancel()
        for group in self._waiting:
            group.sampling.cancel()

    async def _sampled(self, messages: list[Item]) -> list[Result]:
        results = await self._sample(messages)
        async with self._changed:
            self._changed.notify_all()
        return results

    def _load(self) -> int:
        """Places that the waiting groups will take, as far as is known."""
        return sum(self._places(group) for group in self._waiting)

    def _places(self, group: _Group[Item, Result]) -> int:
        return self._count(group.sampling.result()) if group.sampling.done() else len(group.messages)

    async def _score_batches(self) -> None:
        while True:
            await self._room_ahead.acquire()
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
            # The group stays in the queue while it is sampled, so that its places count.
            await self._waiting[0].sampling
            messages, results = await self._next_batch()
            self._scored.put_nowait((messages, await self._score(results)))

    async def _finish_batches(self) -> None:
        while True:
            await self._finish(*await self._scored.get())
            self._room_ahead.release()

    async def _next_batch(self) -> tuple[list[Item], list[Result]]:
        """The first group, which is sampled, and the groups after it that are sampled too and fit into the batch."""
        messages: list[Item] = []
        results: list[Result] = []
        async with self._changed:
            while self._waiting and self._waiting[0].sampling.done():
                more = self._waiting[0].sampling.result()
                if messages and self._count(results) + self._count(more) > self._size:
                    break
                messages += self._waiting.popleft().messages
                results += more
            self._changed.notify_all()
        return messages, results
