"""The flood gate: it holds consumption while nearly every segment of many streams fails in the same way.

One segment that cannot be fetched is the segment's fault. Hundreds, of many streams, within a minute, mean a wrong setting or a
server that is away: as dead letters all of them would have to be found and sent again. So the segments at hand are tried again
and again, the others wait in Kafka, and the log says which setting or server to look at. Consumption continues by itself as soon
as one of the segments at hand fails no more. Each group of segments is held for the length of the window at most: so a flood that
is the segments' fault after all slows a worker down, and does not stop it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from streams import metrics
from streams.events import SegmentScore
from streams.letter import Message, stream_of
from streams.scoring.answer import Answered, Result

log = logging.getLogger(__name__)
FEWEST_STREAMS, FEWEST_LETTERS = 5, 20
"""Fewer streams or dead letters within the window are no flood."""

MOST_NOTED = 20_000
"""Answers that are remembered, however long the window is."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0

HINTS = {
    "refused": "FVQ_MEDIA_ROOTS, FVQ_FETCH_HOSTS and FVQ_FETCH_PRIVATE, and the origin's permissions",
    "not-found": "the origin, and FVQ_MEDIA_ROOTS where it is a mounted folder",
    "unreachable": "the origin, and this machine's network and name server",
    "timeout": "the origin, FVQ_FETCH_TIMEOUT and FVQ_SAMPLE_TIMEOUT",
    "too-large": "FVQ_FETCH_MAX_MB",
    "memory": "FVQ_SAMPLE_MEMORY_MB",
    "no-video": "what the origin answers: a page instead of media?",
    "undecodable": "what the origin answers: encrypted media, or a page?",
}
"""Kind of dead letter -> the settings and servers that make segments fail in this way."""

PRODUCERS_FAULT = {"event", "unreadable"}
"""Kinds that no setting and no server causes."""


@dataclass(frozen=True)
class FloodLimits:
    """What a flood is. share: of the answers of the last `seconds`, those that are dead letters of one kind."""

    share: float = 0.9
    seconds: float = 60.0


class FloodGate:
    """Samples messages, and holds them while there is a flood. sample: never raises."""

    def __init__(self, limits: FloodLimits, sample: Callable[[Sequence[Message]], Awaitable[list[Result]]]) -> None:
        self._limits, self._sample = limits, sample
        self._noted: deque[tuple[float, str, str]] = deque(maxlen=MOST_NOTED)
        self._kinds: Counter[str] = Counter()
        self._flood = ""

    async def sample(self, messages: Sequence[Message]) -> list[Result]:
        """The results of `sample`, in order; while there is a flood after a wait in which it is called again."""
        results = await self._sample(messages)
        for message, result in zip(messages, results, strict=True):
            self._note(message, failure_of(result))
        if not self._flood:
            self._flood = self._find_flood()
            if self._flood:
                metrics.FLOOD.labels(self._flood).set(1)
                log.error(
                    "nearly every segment is a dead letter of kind %s, so no more are taken until one is not: look at %s",
                    self._flood, HINTS.get(self._flood, "the log"),
                )  # fmt: skip
        if self._flood:
            results = await self._hold(messages, results)
        return results

    async def _hold(self, messages: Sequence[Message], results: list[Result]) -> list[Result]:
        """Try messages again until one of them no longer fails, or one of another group, or the time is over."""
        kind, pause = self._flood, FIRST_PAUSE
        deadline = time.monotonic() + self._limits.seconds
        while self._flood == kind and "" not in (failures := {failure_of(result) for result in results}):
            if failures <= PRODUCERS_FAULT | {None}:
                return results  # skipped segments and wrong events say nothing about the flood
            left = deadline - time.monotonic()
            if left <= 0:
                return results
            await asyncio.sleep(min(pause, left))
            pause = min(LONGEST_PAUSE, 2 * pause)
            results = await self._sample(messages)
        if self._flood == kind:
            self._flood = ""
            self._noted.clear()
            self._kinds.clear()
            metrics.FLOOD.clear()
            log.warning("segments no longer fail by %s: the worker continues", kind)
            if not any(failure_of(result) for result in results):
                return results
        # What failed may have failed just before one that did not, of this group or of another.
        failed = [message for message, result in zip(messages, results, strict=True) if failure_of(result)]
        again = iter(await self._sample(failed))
        return [next(again) if failure_of(result) else result for result in results]

    def _note(self, message: Message, failure: str | None) -> None:
        if failure is None or failure in PRODUCERS_FAULT:
            return
        now = time.monotonic()
        if len(self._noted) == MOST_NOTED:
            self._forget_first()
        self._noted.append((now, stream_of(message.key, message.value) if failure else "", failure))
        self._kinds[failure] += 1
        while self._noted[0][0] < now - self._limits.seconds:
            self._forget_first()

    def _forget_first(self) -> None:
        self._kinds[self._noted.popleft()[2]] -= 1

    def _find_flood(self) -> str:
        """The kind of dead letter that nearly all answers are; '' without a flood."""
        kind, count = next(iter(self._kinds.most_common(1)), ("", 0))
        if not kind or count < max(FEWEST_LETTERS, self._limits.share * len(self._noted)):
            return ""
        streams = {stream for _, stream, failure in self._noted if failure == kind}
        return kind if len(streams) >= FEWEST_STREAMS else ""


def failure_of(result: Result) -> str | None:
    """The kind of a dead letter; '' for a segment that was looked at; None for one that was skipped, which says nothing."""
    if not isinstance(result, Answered):
        return ""
    return None if isinstance(result.answer, SegmentScore) else result.answer.headers["kind"]
