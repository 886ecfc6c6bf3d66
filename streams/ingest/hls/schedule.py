"""When a playlist is loaded next: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

SHORTEST = 0.5
"""Seconds between the beginnings of two loads, at least."""

LONGEST = 60.0
"""Seconds between two loads, at most, whatever target duration a playlist names."""

PATIENCE = 30.0
"""Seconds for which a playlist that cannot be loaded is asked for as often as one that has not changed."""

LONGEST_PAUSE = 10.0
"""Seconds between two loads of a playlist that cannot be loaded for long, or that is complete."""

LONGEST_LOAD = 10.0
"""Seconds that a load may take, at most."""

SEARCHES = 4
"""Loads after joining that may be put off to find out when new segments appear."""

SEARCH_WINDOW = 4
"""Segments that a playlist must have for that: none may leave it meanwhile."""

Outcome = Literal["changed", "unchanged", "failed", "ended"]
"""What a load brought: new segments, none, no playlist, or a playlist that is complete."""


def next_load(
    outcome: Outcome,
    target: float,
    newest: float | None = None,
    failing: float = 0.0,
    retry_after: float = 0.0,
    chance: float = 1.0,
    stay: float = LONGEST,
) -> float:
    """Seconds until the next load begins: after the beginning of the last one; after its end where it failed.

    target: target duration, s. newest: duration of the newest segment, s. failing: seconds since the first failure in a row.
    retry_after: seconds that the server asked for. chance: 0 to 1, spreads the loads of many sources of an origin that failed.
    stay: how long a segment is in the playlist, s, as `stay_of` says.
    """
    half = min(max(target / 2, SHORTEST), LONGEST)
    if outcome == "ended":
        return LONGEST_PAUSE
    if outcome == "unchanged":
        return max(min(half, stay / 2), SHORTEST)
    if outcome == "changed":
        interval = target if newest is None else min(target, newest)
        return min(max(min(interval, stay / 2), SHORTEST), LONGEST)
    pause = half
    if failing > PATIENCE:
        # One doubling for each further time of patience: 2 s become 4 s after 30 s, 8 s after 60 s.
        pause = min(half * 2 ** min(int(failing / PATIENCE), 10), max(half, LONGEST_PAUSE))
    return max(pause * (0.75 + 0.25 * chance), SHORTEST, retry_after)


def stay_of(durations: Sequence[float]) -> float:
    """Seconds for which a segment is in a playlist that has segments of these durations, s, as far as they tell.

    Where key frames are irregular, or the target duration is far above the segments', the target says nothing of it: three
    segments of 1 s after one of 8 s, in a playlist of three, would come and go between two loads.

    Segments under `SHORTEST` are what remains before a break, and come singly: as many again may come with the others.
    """
    whole = [duration for duration in durations if duration >= SHORTEST]
    usual = 2 * len(whole) - len(durations)
    if usual > 0:
        return usual * min(whole)
    return len(durations) * min(durations) if durations else LONGEST


def search(tries: int, outcome: Outcome, new: int, window: int) -> tuple[int, float]:
    """Tries that are left, and by what the pause before the next load is to be multiplied: 1 to 1.75.

    A source whose loads come just before its segments would see each a whole target duration late, for ever. A pause of one and a
    half moves the loads by half of it. If it brings two segments, the loads are now less than half of it late; if not, they were,
    and a second such pause moves them back. Then the same with three quarters and a quarter: less than a quarter late.

    tries: `SEARCHES` at the start. new: segments that the load brought. window: segments in the playlist.
    """
    if outcome == "failed":
        return SEARCHES, 1.0
    if outcome == "ended":
        return 0, 1.0
    if outcome == "unchanged":
        return min(tries, 2), 1.0  # the next load, after half of it, is less than half of it late
    if tries == 0 or window < SEARCH_WINDOW:
        return tries, 1.0
    if tries == 4:
        return 3, 1.5
    if tries == 3 and new < 2:
        return 2, 1.5
    if tries >= 2:
        return 1, 1.75
    return 0, 1.0 if new >= 2 else 1.25


def longest_load(target: float) -> float:
    """Seconds that a load may take. target: target duration, s."""
    return min(max(3 * target, SHORTEST), LONGEST_LOAD)
