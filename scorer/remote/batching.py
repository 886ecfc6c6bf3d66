"""Batches across requests: what the clips of all requests go through before one thread scores them. No HTTP here.

A request of B clips shares batches with those of others. No batch waits to be full: while the model runs, the next one fills.
Requests are taken in the order in which they came, so none is overtaken; one whose client has gone is left out. All clips of a
request are scored by the version with which it came, also where another version takes over meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from scorer.errors import FvqError, ModelError, lacks_memory
from scorer.spec import ClipScore, ModelInput

MOST_WAITING = 128
"""The most requests that wait for room. Their bodies are not read yet, so each costs a connection and little memory."""

LONGEST_RETRY = 60
"""The most seconds after which a refused client is asked to come again."""

FIRST_CLIP_SECONDS = 0.1
"""Seconds for a clip that are assumed before the first batch is measured."""

NEWEST_SHARE = 0.2
"""Share of the last batch in the measured seconds for a clip."""


class CheckedScorer(Protocol):
    """What scores a batch: an `Engine`."""

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order."""

    def check(self) -> None:
        """Score a test clip; raises where that fails."""


class QueueFullError(FvqError):
    """There are too many clips already. retry_after: seconds after which there should be room."""

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(eq=False)
class _Room:
    """Room that a request asks for. given: set when it has it, and its clips count as held."""

    clips: int
    given: asyncio.Event = field(default_factory=asyncio.Event)


class UnscorableError(FvqError):
    """The model works, and cannot score some of the clips. clips: their places in the request."""

    def __init__(self, reason: str, clips: list[int]) -> None:
        super().__init__(reason)
        self.clips = clips


class ModelFailedError(FvqError):
    """The fault is not the request's. is_broken: the model cannot score a test clip either. may_pass: there is no memory now."""

    def __init__(self, reason: str, is_broken: bool, may_pass: bool) -> None:
        super().__init__(reason)
        self.is_broken, self.may_pass = is_broken, may_pass


@dataclass(eq=False)
class _Request:
    """Clips that wait for their scores. taken: how many of them are in batches. results: place -> score, or why there is none."""

    scorer: CheckedScorer
    clips: Sequence[ModelInput]
    answer: asyncio.Future[list[ClipScore]]
    taken: int = 0
    results: dict[int, ClipScore | FvqError] = field(default_factory=dict)

    def add(self, place: int, result: ClipScore | FvqError) -> None:
        """Take the result of one clip; the last one answers the request."""
        self.results[place] = result
        if len(self.results) < len(self.clips) or self.answer.done():
            return
        errors = {place: result for place, result in sorted(self.results.items()) if isinstance(result, FvqError)}
        broken = next((error for error in errors.values() if isinstance(error, ModelFailedError)), None)
        if broken is not None:
            self.answer.set_exception(broken)
        elif errors:
            first, error = next(iter(errors.items()))
            self.answer.set_exception(UnscorableError(f"clip {first}: {error}", list(errors)))
        else:
            scores = [self.results[place] for place in range(len(self.clips))]
            self.answer.set_result([score for score in scores if isinstance(score, ClipScore)])


class Batcher:
    """Scores the clips of all requests in one thread. Its methods belong to one event loop.

    batch: the most clips that are scored together. queue: the most clips in the server, from the moment at which their body is
    read to the answer. wait: the most seconds that a request waits for room. on_batch: called with the number of clips and the
    seconds of each batch.
    """

    def __init__(self, batch: int, queue: int, wait: float, on_batch: Callable[[int, float], None] | None = None) -> None:
        self._batch, self._queue, self._wait, self._on_batch = batch, queue, wait, on_batch
        self._asked: deque[_Room] = deque()
        self._waiting: deque[_Request] = deque()
        self._filled = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._began: float | None = None
        self._clip_seconds = FIRST_CLIP_SECONDS
        self.held = 0
        """Clips in the server."""
        self.broken = ""
        """Why the model could not score a test clip when it was last tried; empty where it could, or scored since."""

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
        return len(self._asked)

    def scoring_seconds(self) -> float:
        """How long the thread has been at work on its present batch; 0 where it waits for clips."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def retry_after(self) -> int:
        """Seconds in which the clips that are here or wait for room will be scored, at the measured rate; at least 1."""
        clips = self.held + sum(room.clips for room in self._asked)
        return max(1, min(LONGEST_RETRY, math.ceil(clips * self._clip_seconds)))

    @asynccontextmanager
    async def admit(self, clips: int) -> AsyncIterator[None]:
        """Keep room for so many clips until the block ends. Requests get room in the order in which they came.

        A client that is answered sends its next request at once. If those without room were refused, it would find the room that
        it has just left each time, and the others never. Raises `QueueFullError` where there is no room in time.
        """
        if len(self._asked) >= MOST_WAITING:
            raise self._full(clips)
        room = _Room(clips)
        self._asked.append(room)
        self._give_room()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await room.given.wait()
            if not room.given.is_set():
                raise self._full(clips)
            yield
        finally:
            if room.given.is_set():
                self.held -= clips
            else:
                self._asked.remove(room)
            self._give_room()

    async def score(self, scorer: CheckedScorer, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order, all by this scorer. A call that is cancelled is left out of later batches.

        Raises `UnscorableError` or `ModelFailedError`.
        """
        if not clips:
            return []
        request = _Request(scorer, clips, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._filled.set()
        return await request.answer

    async def run(self) -> None:
        """Score what comes until it is cancelled."""
        while True:
            await self._filled.wait()
            if not await self._score_next():
                self._filled.clear()

    async def check(self, scorer: CheckedScorer) -> None:
        """Score a test clip again where the last one failed: a replica that is not ready may be sent no other clips."""
        if self.broken:
            failure = await asyncio.get_running_loop().run_in_executor(self._executor, _failure_of, scorer)
            self.broken = "" if failure is None else str(failure)

    def close(self) -> None:
        """Take no further batch. A batch that is being scored ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _give_room(self) -> None:
        """Let requests in, the oldest first, as long as there is room for it."""
        while self._asked and self.held + self._asked[0].clips <= self._queue:
            room = self._asked.popleft()
            self.held += room.clips
            room.given.set()

    def _full(self, clips: int) -> QueueFullError:
        words = f"{self.held} clips are in work, and there was no room for {clips} more: at most {self._queue} may be"
        return QueueFullError(words, self.retry_after())

    async def _score_next(self) -> bool:
        """Score the next batch; returns False where no clips wait. A method of its own, so that nothing keeps an old version."""
        batch = self._take()
        if not batch:
            return False
        clips = [request.clips[place] for request, place in batch]
        self._began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._executor, score_batch, batch[0][0].scorer, clips)
            self._measure(len(batch), time.monotonic() - self._began)
        finally:
            self._began = None
        self.broken = next((str(result) for result in results if isinstance(result, ModelFailedError) and result.is_broken), "")
        for (request, place), result in zip(batch, results, strict=True):
            request.add(place, result)
        return True

    def _take(self) -> list[tuple[_Request, int]]:
        """The clips of the next batch, in the order of their requests, all for the same scorer; empty where none wait."""
        batch: list[tuple[_Request, int]] = []
        while self._waiting and len(batch) < self._batch:
            request = self._waiting[0]
            if request.answer.done():  # cancelled: its client has gone
                self._waiting.popleft()
                continue
            if batch and request.scorer is not batch[0][0].scorer:
                break
            end = min(len(request.clips), request.taken + self._batch - len(batch))
            batch += [(request, place) for place in range(request.taken, end)]
            request.taken = end
            if end == len(request.clips):
                self._waiting.popleft()
        return batch

    def _measure(self, clips: int, seconds: float) -> None:
        self._clip_seconds += NEWEST_SHARE * (seconds / clips - self._clip_seconds)
        if self._on_batch is not None:
            self._on_batch(clips, seconds)


def score_batch(scorer: CheckedScorer, clips: Sequence[ModelInput]) -> list[ClipScore | FvqError]:
    """For each clip its score, or an error. Where the batch fails, and a test clip does not, each clip is scored alone.

    The error is a `ModelFailedError` for every clip where the test clip fails too, and for one for which there is no memory.
    """
    try:
        return list(_checked_scores(scorer, clips))
    except Exception:
        if (failed := _failure_of(scorer)) is not None:
            return [failed] * len(clips)
    results: list[ClipScore | FvqError] = []
    for clip in clips:
        try:
            results += _checked_scores(scorer, [clip])
        except Exception as error:
            failure = ModelFailedError(_words(error), is_broken=False, may_pass=True)
            results.append(failure if lacks_memory(error) else ModelError(_words(error)))
    return results


def _failure_of(scorer: CheckedScorer) -> ModelFailedError | None:
    """Why it cannot score a test clip; None where it can."""
    try:
        scorer.check()
    except Exception as error:
        words = f"the model cannot score a test clip: {_words(error)}"
        return ModelFailedError(words, is_broken=True, may_pass=lacks_memory(error))
    return None


def _checked_scores(scorer: CheckedScorer, clips: Sequence[ModelInput]) -> list[ClipScore]:
    """The scores of a batch. Raises `ModelError` where there are too few or too many, or a number is not finite."""
    scores = scorer.score(clips)
    if len(scores) != len(clips):
        raise ModelError(f"the model gave {len(scores)} scores for {len(clips)} clips")
    for score in scores:
        if not all(map(math.isfinite, (score.score, score.uncertainty, *score.level_probs.values()))):
            raise ModelError("the model gave a number that is not finite")
    return scores


def _words(error: Exception) -> str:
    """What went wrong. Errors of torch name the line in which they came and have several lines; the first one is enough."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
