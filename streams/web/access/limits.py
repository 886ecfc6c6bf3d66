"""How much one client may ask: a token bucket for requests, and counts of what runs at the same time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from streams.remembered import remember

MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class WebLimits:
    """rate: requests a second of one client. burst: requests at once. pictures: how many times as many pictures it may ask for,
    of which a mosaic shows dozens. history: questions to the store at once, of all clients. history_seconds: within which one
    must be answered. sockets: of all clients. sockets_each: of one token. body: bytes of a request."""

    rate: float = 20.0
    burst: float = 60.0
    pictures: float = 5.0
    history: int = 4
    history_seconds: float = 10.0
    sockets: int = 500
    sockets_each: int = 8
    body: int = 16_384


DEFAULT_LIMITS = WebLimits()


class Buckets:
    """One bucket for each client: `burst` requests at once, refilled with `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Take one request out of a client's bucket; returns 0, or the seconds until there is one. now: monotonic seconds."""
        level, at = self._levels.get(client, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        wait = 0.0 if level >= 1.0 else (1.0 - level) / self._rate
        remember(self._levels, client, (level - 1.0 if wait == 0.0 else level, now), MOST_BUCKETS)
        return wait
