"""Wait until a condition holds, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_for(expected: str, reached: Callable[[], bool], seconds: float, every: float = 0.2) -> float:
    """Seconds until `reached()` returned True; at the deadline the test fails with a message that names `expected`."""
    start = time.monotonic()
    if not holds_within(seconds, reached, every):
        pytest.fail(f"{expected}: not within {seconds:.0f} s")
    return time.monotonic() - start


def holds_within(seconds: float, reached: Callable[[], bool], every: float = 0.2) -> bool:
    """Whether `reached()` returned True before the deadline; called every `every` seconds."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > seconds:
            return False
        time.sleep(every)
    return True
