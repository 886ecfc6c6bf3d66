"""One check of `fvq doctor`: what it found, and how long that took."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Check:
    """What one check found. detail: what works, or why it does not. fix: what to do about a failure. seconds: what it took."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    seconds: float = 0.0


def attempt(name: str, act: Callable[[], str], fix: str, *errors: type[Exception]) -> Check:
    """The check that an act passes with its answer, or fails with one of these errors."""
    try:
        return Check(name, True, act())
    except errors as error:
        return Check(name, False, str(error), fix)


def timed(check: Callable[[], Check]) -> Check:
    """A check with the time that it took."""
    started = time.monotonic()
    done = check()
    return replace(done, seconds=round(time.monotonic() - started, 3))


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, libraries write no log line and no warning: a check says itself what is wrong."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
