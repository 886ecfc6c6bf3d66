"""The order of work: messages are sampled as they come, scored in batches, finished strictly in their order.

Knows no Kafka and no model. What needs no scorer (late or broken segments) takes no place in a batch: else a topic with
one crowded partition would fill batches with late segments, at the price of a whole batch for each few live ones, and its
lag would grow without bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")

LONGEST = 16
"""Takings that may wait, whatever is in them: a backlog of late segments is answered in steps, not at one go."""


@dataclass
class _Taking(Generic[T, S]):
    """Messages taken together, and what comes of sampling them."""

    messages: list[T]
    sampling: asyncio.Task[list[S]]


class Line(Generic[T, S]):
    """Samples while it scores.

    sample: from messages to what is scored; never raises. counts: how many of its results take a place in a batch.
    finish: scores a batch and makes its answers safe; never raises. size: places of a batch.
    """

    def __init__(
        self,
        size: int,
        sample: Callable[[Sequence[T]], Awaitable[list[S]]],
        counts: Callable[[Sequence[S]], int],
        finish: Callable[[list[T], list[S]], Awaitable[None]],
    ) -> None:
        self._size = size
        self._sample, self._counts, self._finish = sample, counts, finish
        self._waiting: deque[_Taking[T, S]] = deque()
        self._changed = asyncio.Condition()
        self._finishing = asyncio.create_task(self._run())

    async def add(self, messages: list[T]) -> None:
        """Begin to sample messages; returns when there is room for more, so that what is not taken stays in Kafka."""
        taking = _Taking(messages, asyncio.create_task(self._sampled(messages)))
        async with self._changed:
            self._waiting.append(taking)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._load() < self._size and len(self._waiting) < LONGEST)

    def close(self) -> None:
        """Stop; what is under way is not finished, and so not acknowledged."""
        self._finishing.cancel()
        for taking in self._waiting:
            taking.sampling.cancel()

    async def _sampled(self, messages: list[T]) -> list[S]:
        found = await self._sample(messages)
        async with self._changed:
            self._changed.notify_all()
        return found

    def _load(self) -> int:
        """Places that what waits will take, as far as is known."""
        return sum(self._places(taking) for taking in self._waiting)

    def _places(self, taking: _Taking[T, S]) -> int:
        return self._counts(taking.sampling.result()) if taking.sampling.done() else len(taking.messages)

    async def _run(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
            # It stays in line while it is sampled, so that its places count.
            await self._waiting[0].sampling
            await self._finish(*await self._next_batch())

    async def _next_batch(self) -> tuple[list[T], list[S]]:
        """The first taking, which is sampled, and those after it that are as well and for which there is room."""
        messages: list[T] = []
        sampled: list[S] = []
        async with self._changed:
            while self._waiting and self._waiting[0].sampling.done():
                more = self._waiting[0].sampling.result()
                if messages and self._counts(sampled) + self._counts(more) > self._size:
                    break
                messages += self._waiting.popleft().messages
                sampled += more
            self._changed.notify_all()
        return messages, sampled
