"""The fleet's pulse: scores a second, skipped share, dead letters, and the median by which a model's change is judged."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from streams.events import ModelUpdate

WINDOW_SECONDS = 60
"""Time over which rates and shares are taken."""

KEPT_SECONDS = 3600
"""How long the fleet's median is kept."""

SHIFT_SECONDS = 120.0
"""Before and after a model's change, the fleet's median is taken over this time."""

KEPT_UPDATES = 50


@dataclass(frozen=True)
class Shift:
    """A model's change, and the fleet's median score before and after it, points; None where that is not known."""

    update: ModelUpdate
    before: float | None
    after: float | None


class Pulse:
    """Counts by second. Times in seconds since 1970."""

    def __init__(self) -> None:
        self._counts: deque[list[int]] = deque(maxlen=2 * WINDOW_SECONDS)  # second, scored, skipped
        self._medians: deque[tuple[float, float]] = deque(maxlen=KEPT_SECONDS)
        self._letters: deque[tuple[float, int]] = deque(maxlen=2 * WINDOW_SECONDS)
        self._updates: deque[ModelUpdate] = deque(maxlen=KEPT_UPDATES)

    def count(self, at: float, skipped: bool) -> None:
        """Count one score that was written at this time."""
        second = int(at)
        for entry in reversed(self._counts):
            if entry[0] == second:
                entry[1 + skipped] += 1
                return
            if entry[0] < second:
                break
        if not self._counts or self._counts[-1][0] < second:
            self._counts.append([second, int(not skipped), int(skipped)])

    def note_median(self, at: float, value: float | None) -> None:
        """Note the fleet's median score, once a second."""
        if value is not None:
            self._medians.append((at, value))

    def note_letters(self, at: float, written: int) -> None:
        """Note how many dead letters were ever written."""
        self._letters.append((at, written))

    def note_update(self, update: ModelUpdate) -> None:
        """Note a model's change, once."""
        if update not in self._updates:
            self._updates.append(update)

    def rates(self, now: float) -> tuple[float, float | None]:
        """Scored segments a second, and the share of segments that were skipped; None without any segment."""
        recent = [entry for entry in self._counts if now - WINDOW_SECONDS <= entry[0] < int(now)]
        scored, skipped = sum(entry[1] for entry in recent), sum(entry[2] for entry in recent)
        seconds = min(WINDOW_SECONDS, int(now) - recent[0][0]) if recent else 1
        return scored / max(1, seconds), skipped / (scored + skipped) if scored + skipped else None

    def letters_per_minute(self, now: float) -> float | None:
        """Dead letters of the last minute; None where they are not known."""
        recent = [entry for entry in self._letters if entry[0] >= now - WINDOW_SECONDS - 5]
        if len(recent) < 2:
            return None
        (first_at, first), (last_at, last) = recent[0], recent[-1]
        return max(0, last - first) * 60 / max(1.0, last_at - first_at)

    def shifts(self) -> list[Shift]:
        """The changes of models, newest first, with the fleet's median around each."""
        return [self._shift(update) for update in reversed(self._updates)]

    def _shift(self, update: ModelUpdate) -> Shift:
        at = update.time.timestamp()
        before = [value for time, value in self._medians if at - SHIFT_SECONDS <= time < at]
        # Streams are smoothed over seconds: what they were before the change is left out.
        after = [value for time, value in self._medians if at + 10 <= time <= at + SHIFT_SECONDS]
        return Shift(update, median(before) if before else None, median(after) if after else None)
