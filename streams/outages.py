"""Outages of what a process depends on: one log line when one begins, and one when it is over.

While something is away it is tried again and again. Each attempt would be a line, and hide the two that a person looks for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache

log = logging.getLogger(__name__)


class Outage:
    """Whether one thing is away. Any thread may tell it what it sees. what: its name in the lines, as `sink`."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._lock = threading.Lock()
        self._began: float | None = None
        self._attempts = 0

    @property
    def lasts(self) -> bool:
        """Whether it is away now."""
        return self._began is not None

    def failed(self, reason: object) -> None:
        """An attempt failed. The first one is a warning, those that follow are for debugging."""
        with self._lock:
            begins = self._began is None
            if begins:
                self._began, self._attempts = self._clock(), 0
            self._attempts += 1
        if begins:
            log.warning("outage of %s begins, and is tried until it works: %s", self._what, reason, extra={"outage": self._what})
        else:
            log.debug("outage of %s goes on: %s", self._what, reason, extra={"outage": self._what})

    def works(self, since: float = 0.0) -> None:
        """An attempt worked. since: seconds for which it has worked already."""
        if self._began is None:
            return  # each score asks here: no lock where nothing is away
        with self._lock:
            began, attempts, self._began = self._began, self._attempts, None
        if began is not None:
            seconds = round(max(0.0, self._clock() - began - since), 1)
            told = {"outage": self._what, "seconds": seconds, "attempts": attempts}
            log.warning("outage of %s is over after %.0f s", self._what, seconds, extra=told)


@cache
def outage_of(what: str) -> Outage:
    """The one of this process by its name: several loops may use the same sink, and it is one outage for all of them."""
    return Outage(what)


KAFKA = Outage("Kafka")
"""Kafka for this process, as the agent `lag` sees it, which asks every 5 s. While it is away, every other loop fails as well:
their lines are for debugging then."""
