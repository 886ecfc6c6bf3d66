"""When a worker asks an address that it had to leave whether it can go back. Pure: the caller says what time it is.

An address may answer one small question and fail for whole batches, which costs the time-out of a request each time the worker
goes back. So after each return that failed it is left alone for twice as long as before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

RETURN_SECONDS, LONGEST_AWAY = 60.0, 900.0
"""Seconds that a worker stays with another address before it asks whether it can go back, at first and at most."""


@dataclass(frozen=True)
class Comeback:
    """What became of the returns to one address.

    failures: how many returns in a row failed. until: monotonic seconds up to which the worker does not ask to go back.
    asked: when it last asked, None where that return has failed or has proved to be right.
    """

    failures: int = 0
    until: float = 0.0
    asked: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether the worker may ask to go back."""
        return now >= self.until

    def tried(self, now: float) -> Comeback:
        """The state when the worker asks."""
        return replace(self, asked=now)

    def failed(self, now: float) -> Comeback:
        """The state after a failure of the address, which counts where the worker had asked to go back, or has gone back."""
        if self.asked is None:
            return self
        failures = self.failures + 1
        return Comeback(failures, now + min(LONGEST_AWAY, RETURN_SECONDS * 2.0 ** min(failures, 16)))

    def answered(self, now: float) -> Comeback:
        """The state after an answer: a return is right when the address still answers a minute later."""
        return Comeback() if self.asked is not None and now - self.asked >= RETURN_SECONDS else self
