"""The name that someone meant who wrote one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.6
"""From which likeness on, 0-1 as difflib counts it, a name is offered. Below, the offer would be a guess."""

LONGEST = 200
"""Characters of a name that is compared: the work grows with its square."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a name, in any case of letters; None where none resembles it."""
    matches = difflib.get_close_matches(name[:LONGEST].lower(), list(known), 1, CUTOFF)
    return matches[0] if matches else None


def no_such_setting(name: str, known: Iterable[str]) -> str:
    """`no such setting: did you mean broker?`."""
    offered = nearest(name, known)
    return "no such setting" if offered is None else f"no such setting: did you mean {offered}?"
