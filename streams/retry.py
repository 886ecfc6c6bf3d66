"""Repeats a call that fails, after longer and longer pauses, until it works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams import metrics
from streams.errors import ScorerError, SinkError
from streams.outages import KAFKA, outage_of
from streams.refusals import is_refusal, words

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
"""Seconds before the first repetition, and the most seconds before any; each wait is twice the one before."""

LONGEST_ASKED = 60.0
"""The most seconds that a server's Retry-After may ask for: a wrong header must not stop a worker for a day."""

T = TypeVar("T")


async def retried(what: str, attempt: Callable[[], Awaitable[T]], may_pass: Callable[[Exception], bool] = lambda _: True) -> T:
    """The result of the first attempt that works, however long that takes.

    what: the name in the log and the metric. may_pass: whether a later attempt may work after this error; if not, the error is
    raised at once.
    """
    wait = FIRST_WAIT
    while True:
        try:
            result = await attempt()
        except Exception as error:
            if not may_pass(error):
                raise
            asked = min(error.retry_after, LONGEST_ASKED) if isinstance(error, SinkError | ScorerError) else 0.0
            # A remote scorer waits longer and longer for each address by itself, and knows when one may be asked again.
            pause = asked if isinstance(error, ScorerError) else max(wait, asked)
            metrics.RETRIES.labels(what).inc()
            reason = words(error, "Write") if is_refusal(error) else error
            (KAFKA if what == "kafka" and KAFKA.lasts else outage_of(what)).failed(reason)
            await asyncio.sleep(pause)
            wait = min(LONGEST_WAIT, wait * 2)
        else:
            outage_of(what).works()
            return result
