"""Servers that stand in for each other (several `BaseURL`): the init segment, a few kB, shows which of them answer.

The media itself is not loaded, so without this nobody would notice that the addresses in the events are those of a dead server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from streams.ingest.base import Services
from streams.ingest.dash.values import Addressing
from streams.media.read import ReadError
from streams.media.shown import without_secrets

log = logging.getLogger(__name__)

LOOK_EVERY, LOOK_SECONDS = 10.0, 2.0
"""Seconds between two looks at the servers, and that one may take: the segments wait for it."""

MOST_AWAY = 8
"""Servers that are remembered as away: where each manifest signs its `BaseURL` anew, an old one is of no use."""

MOST_FAILURES = 3
"""In a row, from which a server is away."""


class Servers:
    """What is known of the servers of one source. name: of the source, for logs."""

    def __init__(self, name: str, services: Services) -> None:
        self._name, self._services = name, services
        self._failures: Counter[str] = Counter()
        self._away: dict[str, str] = {}
        self._looked: float | None = None

    def allows(self, address: str) -> bool:
        """Whether media may be fetched from an address, and its server is not away."""
        return self._services.allowed(address) and not any(address.startswith(base) for base in self._away)

    def forget(self) -> bool:
        """Take all servers as they are again, where the ones that are left give nothing; whether any was away."""
        was_away = bool(self._away)
        self._away.clear()
        return was_away

    async def look(self, used: Iterable[Addressing]) -> bool:
        """Ask the servers that are used, and those that are away, every `LOOK_EVERY` seconds; whether to use others now."""
        now = self._services.times.monotonic()
        if self._looked is not None and now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        if len(self._away) > MOST_AWAY:
            self._away.clear()
        asked = self._away | {addressing.base: addressing.init.uri for addressing in used if addressing.init is not None}
        self._failures = Counter({base: count for base, count in self._failures.items() if base in asked})
        answers = await asyncio.gather(*(self._answers(address) for address in asked.values()))
        changed = False
        for (base, address), answers_now in zip(asked.items(), answers, strict=True):
            self._failures[base] = 0 if answers_now else self._failures[base] + 1
            if answers_now and base in self._away:
                del self._away[base]
                changed = True
            elif self._failures[base] >= MOST_FAILURES and base not in self._away:
                self._away[base] = address
                changed = True
                log.warning("%s: %s does not answer, another server stands in for it", self._name, without_secrets(base))
        return changed

    async def _answers(self, address: str) -> bool:
        try:
            await self._services.read(address, LOOK_SECONDS)
        except ReadError as error:
            return error.kind == "too-large"
        return True
