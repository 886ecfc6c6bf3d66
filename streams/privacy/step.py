"""What forgetting a stream did in one store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streams.errors import FvqError

Outcome = Literal["deleted", "would-delete", "nothing", "part", "failed"]
"""part: some of it cannot be reached from here. would-delete: with --dry-run."""


@dataclass(frozen=True)
class Found:
    """What a store had of a stream. count: number of things that went, or would go. text: a sentence, '' where there is nothing
    to add. remains: whether something stays that this cannot reach."""

    count: int
    text: str = ""
    remains: bool = False


@dataclass(frozen=True)
class Step:
    """A store and what became of it. store: its name. where: its place. count: what went, or would go. text: more about it."""

    store: str
    where: str
    outcome: Outcome
    count: int
    text: str


@dataclass(frozen=True)
class Part:
    """A store that may have something of a stream. forget: deletes it, or only counts it; raises what made it fail."""

    store: str
    where: str
    forget: Callable[[], Found]

    def run(self, dry_run: bool) -> Step:
        """Do it. What fails is told in the step, so that the other stores have their turn."""
        try:
            found = self.forget()
        except FvqError as error:
            return Step(self.store, self.where, "failed", 0, str(error))
        except Exception as error:
            # Not a few types alone: the clients of object stores raise their own.
            return Step(self.store, self.where, "failed", 0, f"{type(error).__name__}: {error}")
        outcome: Outcome = "part" if found.remains else "nothing"
        if found.count and not found.remains:
            outcome = "would-delete" if dry_run else "deleted"
        return Step(self.store, self.where, outcome, found.count, found.text)
