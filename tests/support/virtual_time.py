"""An event loop whose clock jumps to the next timer: hours of waiting pass at once, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jump(selectors.SelectSelector):
    """Does not wait for files: it moves the clock on by the time that the loop would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for something that no timer brings")
        self.now += timeout
        return []


def run_in_virtual_time(main: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result. It may wait for timers and for other tasks of its loop, not for threads or files."""
    selector = _Jump()
    loop = asyncio.SelectorEventLoop(selector)
    # A timer that is due within the clock's resolution runs: without this, rounding would make the loop wait for 0 s for ever.
    loop._clock_resolution = 1e-9  # type: ignore[attr-defined]
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
