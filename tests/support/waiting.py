"""Wait until a condition holds, with a deadline."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

SLEEP_SECONDS = 0.2


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


@contextmanager
def lost_time(cores: Collection[int] = ()) -> Iterator[Callable[[], float]]:
    """A function that says for how many seconds the machine has stood still since the context began.

    They are what a thread that only sleeps was woken too late, all in all. Where a test asserts a limit of time, it adds them:
    a machine that stands still is no fault of the program. cores: on which that thread sleeps; without any, on all.
    """
    stop = threading.Event()
    lost = 0.0

    def sleep() -> None:
        nonlocal lost
        if cores:
            os.sched_setaffinity(0, cores)  # of this thread alone
        while not stop.is_set():
            began = time.monotonic()
            time.sleep(SLEEP_SECONDS)
            lost += time.monotonic() - began - SLEEP_SECONDS

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    try:
        yield lambda: lost
    finally:
        stop.set()
        thread.join()
