"""What the ratings file keeps, as values: a rater, a clip shown to a rater, a rating, and how far a rater is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streams.rating.order import Key

Scale = Literal["acr", "slider"]
"""acr: five levels (ITU-T P.910). slider: 0-100."""


@dataclass(frozen=True)
class Rater:
    """A person who rates clips.

    seed: decides this rater's order of clips. It is secret, like the token. The file keeps only a hash of the token.
    active: whether the token is valid. created: ISO 8601, UTC.
    """

    id: int
    name: str
    seed: str
    active: bool
    created: str


@dataclass(frozen=True)
class Presentation:
    """A clip that is shown to a rater. id: random; the only thing that a browser learns about the clip."""

    id: str
    key: Key
    clip_uri: str


@dataclass(frozen=True)
class Rating:
    """One opinion of one rater.

    number: 1 for the rater's first rating of this clip, 2 for the repeat. points: 0-100. seconds: time that the rater took
    to decide. time: ISO 8601, UTC. factor: how large the clip was, in screen pixels per clip pixel; None where it is not known.
    """

    rater: str
    key: Key
    number: int
    points: float
    scale: Scale
    seconds: float
    time: str
    factor: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a rater is.

    done: presentations that are rated. left: presentations that are still to come. can_undo: whether the last rating can be
    taken back. away: presentations that wait, because their clips could not be read. seconds: about how long those that are
    still to come will take.
    """

    done: int
    left: int
    can_undo: bool
    away: int
    seconds: float
