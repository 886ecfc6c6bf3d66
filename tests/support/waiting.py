"""Wait until something is true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_for(what: str, reached: Callable[[], bool], seconds: float, every: float = 0.2) -> float:
    """Seconds it took until `reached()`; fails the test with `what` when it is not in time."""
    begin = time.monotonic()
    if not comes(reached, seconds, every):
        pytest.fail(f"{what}: not within {seconds:.0f} s")
    return time.monotonic() - begin


def comes(reached: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Whether `reached()` within the time."""
    begin = time.monotonic()
    while not reached():
        if time.monotonic() - begin > seconds:
            return False
        time.sleep(every)
    return True
