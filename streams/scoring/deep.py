"""The large model's looks: sampled anew, scored together in a thread of their own, each within a time limit.

Nothing waits for the large model longer than that limit, whatever it does. Where it fails or is too slow the segments get no more
looks for a while, so that their answers are not late as well, and no sampling is done in vain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from scorer.spec import ClipScore, ModelInput, SamplerSpec, Scorer
from streams import metrics
from streams.errors import MediaError, ModelError, SpecChangedError

log = logging.getLogger(__name__)

MOST_LOOKS = 32
"""Looks under way at most: each has a segment's pictures in memory and its file on disk."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds without looks after a failure; each is twice the one before, until a look succeeds."""

Sample = Callable[[SamplerSpec], Awaitable[ModelInput]]
"""Samples one segment by a specification."""


@dataclass(frozen=True)
class DeepScore:
    """The large model's score, and the seconds that its look took, with sampling and waiting."""

    score: ClipScore
    seconds: float


@dataclass(eq=False)
class _Waiting:
    """A clip that waits for the large model, by which specification it was sampled, and where its score goes."""

    clip: ModelInput
    spec: SamplerSpec
    answer: asyncio.Future[ClipScore]


class DeepScorer:
    """Gives segments the large model's score. Open it in an event loop, and use it there.

    scorer: the large model. seconds: within which a look is over. batch_size: clips that are scored together at most. connect:
    makes the scorer ready before its first look, where it is elsewhere; raises where it is away.
    """

    def __init__(self, scorer: Scorer, seconds: float, batch_size: int, connect: Callable[[], None] | None = None) -> None:
        self.seconds = seconds
        self._scorer = scorer
        self._connect = connect
        self._batch_size = batch_size
        self._looks = 0
        self._waiting: list[_Waiting] = []
        self._running: list[_Waiting] = []
        self._failures = 0
        self._open_at = 0.0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="deep")
        self._task = asyncio.create_task(self._run())

    @property
    def room(self) -> int:
        """How many looks can start now: one at first, and all when one has succeeded; none for a while after a failure."""
        # A batch that nobody waits for any more keeps the thread: what comes after it would wait in vain.
        stuck = bool(self._running) and all(waiting.answer.done() for waiting in self._running)
        if stuck or time.monotonic() < self._open_at:
            return 0
        is_known_to_answer = self._connect is None and not self._failures
        return max(0, (MOST_LOOKS if is_known_to_answer else 1) - self._looks)

    def start(self, sample: Sample) -> asyncio.Task[DeepScore | None]:
        """Start a look. The task gives the score, or None where there is none in time; it never raises."""
        self._looks += 1
        return asyncio.create_task(self._look(sample))

    def close(self) -> None:
        """Stop. A batch under way in the thread is left alone."""
        self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, sample: Sample) -> DeepScore | None:
        started = time.monotonic()
        waiting: _Waiting | None = None
        try:
            async with asyncio.timeout(self.seconds):
                if self._connect is not None:
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._connect)
                    self._connect = None
                spec = self._scorer.spec
                waiting = _Waiting(await sample(spec), spec, asyncio.get_running_loop().create_future())
                self._waiting.append(waiting)
                self._arrived.set()
                score = await waiting.answer
        except TimeoutError:
            self._failed("timeout", f"no answer within {self.seconds:g} s")
        except (MediaError, ModelError, SpecChangedError) as error:
            # It says nothing about other segments, and those that are sampled from now on are sampled as the model wants it.
            metrics.DEEP_UNANSWERED.labels("segment").inc()
            log.info("a segment has no deep score: %s", error)
        except Exception as error:
            self._failed("failed", str(error) or type(error).__name__)
        else:
            self._failures = 0
            seconds = time.monotonic() - started
            metrics.DEEP_SECONDS.observe(seconds)
            return DeepScore(score, seconds)
        finally:
            self._looks -= 1
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        return None

    def _failed(self, why: str, reason: str) -> None:
        """Count a failure, and let no look start for a while."""
        metrics.DEEP_UNANSWERED.labels(why).inc()
        if time.monotonic() < self._open_at:
            return  # of the looks that started together only the first lengthens the pause
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._open_at = time.monotonic() + pause
        log.warning("the large model fails, segments keep the small one's score for %g s: %s", pause, reason)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                self._running, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
                await self._score(self._running)
                self._running = []

    async def _score(self, batch: list[_Waiting]) -> None:
        """Give each clip of a batch its score or its error; never raises."""
        for waiting in batch:
            # The batch before may have shown that the model is another one: it would take these clips for its own.
            if waiting.spec != self._scorer.spec:
                _answer(waiting, SpecChangedError("the large model takes clips by another specification now"))
        batch = [waiting for waiting in batch if waiting.spec == self._scorer.spec]
        if not batch:
            return
        clips = [waiting.clip for waiting in batch]
        try:
            scores = await asyncio.get_running_loop().run_in_executor(self._thread, self._scorer.score, clips)
            if len(scores) != len(clips):
                raise RuntimeError(f"the large model answered {len(scores)} of {len(clips)} clips")
        except Exception as error:
            for waiting in batch:
                if isinstance(error, ModelError) and len(batch) > 1:
                    await self._score([waiting])  # one of the clips has no score: the others have
                else:
                    _answer(waiting, error)
        else:
            for waiting, score in zip(batch, scores, strict=True):
                _answer(waiting, score)


def _answer(waiting: _Waiting, answer: ClipScore | Exception) -> None:
    if waiting.answer.done():
        return  # the look has given up waiting
    if isinstance(answer, Exception):
        waiting.answer.set_exception(answer)
    else:
        waiting.answer.set_result(answer)
