"""When an address may be asked again after it failed. Pure: the caller says what time it is.

A scorer that is away must not cost a time-out for each batch, and one that comes back must not be met by every worker at once.
So after each failure in a row an address is left alone for twice as long as before; then one request tries it.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds that an address is left alone after its first failure, and the most after any. A trial is one small question."""

OTHER_SPEC_PAUSE = 1.0
"""Seconds until an address that takes clips by another specification is asked again which one it takes."""

LONGEST_ASKED = 60.0
"""The most seconds that a server's Retry-After may ask for: a wrong header must not stop a worker for a day."""


@dataclass(frozen=True)
class Circuit:
    """The state of one address. failures: how many in a row. until: monotonic seconds up to which it is left alone."""

    failures: int = 0
    until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the address may be asked; 0 where it may be asked now."""
        return max(0.0, self.until - now)

    def failed(self, now: float, at_least: float = 0.0) -> Circuit:
        """The state after a failure. at_least: seconds to leave the address alone, where its failure says so."""
        failures = self.failures + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
        return Circuit(failures, now + max(pause, min(at_least, LONGEST_ASKED)))

    def asked_to_wait(self, now: float, seconds: float) -> Circuit:
        """The state after an answer that asks to wait, which is no failure: the server is there."""
        return Circuit(0, now + min(max(seconds, FIRST_PAUSE), LONGEST_ASKED))

    def answered(self) -> Circuit:
        """The state after an answer."""
        return Circuit()
