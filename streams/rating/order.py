"""Which clip a rater sees next: pure functions.

Each rater has an order of their own, by a hash of a secret seed and the clip's key. So nobody can predict it from the order
of another rater, it stays the same when the server restarts, and a new clip on the queue gets a random place in it. About one
in eight presentations is a repeat: a clip that the rater has rated before. It shows how well raters agree with themselves.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

Key = tuple[str, str]
"""(stream id, example id)."""

APART = 5
"""Least distance between a clip and its repeat, in presentations: otherwise raters would remember and repeat their vote."""

GAPS = (6, 7, 8)
"""Numbers of new clips between two repeats, chosen at random: on average one presentation in eight is a repeat, and raters
cannot predict which."""


def choose(seed: str, shown: Sequence[Key], queue: Collection[Key]) -> tuple[Key, bool] | None:
    """The next clip for a rater and whether it is a repeat; None when every clip of the queue was shown.

    seed: the rater's secret. shown: all clips that this rater was shown, in order, even those that have left the queue.
    """
    times = Counter(shown)
    new = [key for key in queue if key not in times]
    if not new:
        return None
    since, repeats = _since_repeat(shown)
    if since >= _gap(seed, repeats):
        earlier = shown[: len(shown) - APART + 1]
        repeatable = [key for key in dict.fromkeys(earlier) if times[key] == 1 and key in queue]
        if repeatable:
            return min(repeatable, key=lambda key: _place(seed, "again", *key)), True
    return min(new, key=lambda key: _place(seed, "new", *key)), False


def remaining(seed: str, shown: Sequence[Key], queue: Collection[Key]) -> int:
    """The number of presentations that are still to come if the queue does not change; parameters as for `choose`."""
    new = len(set(queue) - set(shown))
    since, repeats = _since_repeat(shown)
    count = 0
    while new:
        count += 1
        if since >= _gap(seed, repeats):
            since, repeats = 0, repeats + 1
        else:
            since, new = since + 1, new - 1
    return count


def _since_repeat(shown: Sequence[Key]) -> tuple[int, int]:
    """(new clips since the last repeat, repeats so far)."""
    since = repeats = 0
    seen: set[Key] = set()
    for key in shown:
        since, repeats = (0, repeats + 1) if key in seen else (since + 1, repeats)
        seen.add(key)
    return since, repeats


def _gap(seed: str, repeats: int) -> int:
    """How many new clips are shown before the next repeat."""
    return GAPS[_place(seed, "gap", str(repeats)) % len(GAPS)]


def _place(seed: str, *parts: str) -> int:
    """A random number for these parts, always the same for the same seed."""
    # The lengths make the text different for ("a", "b/c") and ("a/b", "c").
    text = seed + "".join(f"/{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
