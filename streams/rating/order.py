"""Which clip a rater sees next: pure functions.

Every rater has an order of their own, by a hash of a secret seed and the clip's key: it does not follow from what others
saw, stays as it is when the page starts again, and takes a clip that joins the queue in at any place. About one in eight
presentations shows a clip again that the rater has rated, to tell how well they agree with themselves.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

Key = tuple[str, str]
"""(stream id, example id)."""

APART = 5
"""Presentations, at least, from a clip to its repeat: who saw it just before would repeat the vote and not the judgement."""

GAPS = (6, 7, 8)
"""New clips between two repeats, in a random order: on average one presentation in eight is a repeat, and none is foreseeable."""


def choose(seed: str, shown: Sequence[Key], queue: Collection[Key]) -> tuple[Key, bool] | None:
    """The next clip for a rater and whether it is a repeat; None when every clip of the queue was shown.

    seed: the rater's. shown: what they were shown before, in order, also what has left the queue since.
    """
    times = Counter(shown)
    fresh = [key for key in queue if key not in times]
    if not fresh:
        return None
    since, repeats = _run(shown)
    if since >= _gap(seed, repeats):
        far = shown[: len(shown) - APART + 1]
        again = [key for key in dict.fromkeys(far) if times[key] == 1 and key in queue]
        if again:
            return min(again, key=lambda key: _place(seed, "again", *key)), True
    return min(fresh, key=lambda key: _place(seed, "new", *key)), False


def remaining(seed: str, shown: Sequence[Key], queue: Collection[Key]) -> int:
    """Presentations that are to come, if the queue stays as it is."""
    fresh = len(set(queue) - set(shown))
    since, repeats = _run(shown)
    count = 0
    while fresh:
        count += 1
        if since >= _gap(seed, repeats):
            since, repeats = 0, repeats + 1
        else:
            since, fresh = since + 1, fresh - 1
    return count


def _run(shown: Sequence[Key]) -> tuple[int, int]:
    """(new clips since the last repeat, repeats so far)."""
    since = repeats = 0
    seen: set[Key] = set()
    for key in shown:
        since, repeats = (0, repeats + 1) if key in seen else (since + 1, repeats)
        seen.add(key)
    return since, repeats


def _gap(seed: str, repeats: int) -> int:
    return GAPS[_place(seed, "gap", str(repeats)) % len(GAPS)]


def _place(seed: str, *parts: str) -> int:
    # The lengths keep ("a", "b/c") and ("a/b", "c") apart.
    text = seed + "".join(f"/{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
