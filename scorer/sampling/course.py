"""The frames of a video as they are decoded, and the decoder of the file that was sampled last, where it stands.

A sampling child gets the parts of a file one after the other. Where key frames are far apart, or where a file cannot be searched,
a new decoder would decode all pictures before each part again. The one that has decoded the last part goes on instead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

from scorer.sampling.facts import EPSILON


class Timed(NamedTuple):
    """A frame: its seconds, the `av.VideoFrame`, whether the seconds are a guess, because its own stamp did not tell, and the
    width of a pixel divided by its height, None where nobody says."""

    seconds: float
    frame: Any
    is_guessed: bool
    pixel_aspect: Fraction | None


class Course:
    """The frames of a video from a key frame on.

    frames: in the order of time.
    """

    def __init__(self, frames: Iterator[Timed]) -> None:
        self._frames = frames
        self._first, self._damaged = math.inf, -math.inf
        """Seconds of the frame that was decoded first, and of the latest one that is damaged."""
        self._last: deque[Timed] = deque(maxlen=2)
        """The frames that were decoded last: the one that is shown where the next part begins may be the one before the last."""

    @property
    def reached(self) -> float:
        """Seconds of the earliest frame that can still be given; infinite where no frame was decoded."""
        return self._last[0].seconds if self._last else math.inf

    def is_as_new(self, began: float) -> bool:
        """Whether a new course that begins at `began`, s, would give the same frames.

        A decoder fills what is damaged in a picture from those before it, which a new one has not decoded.
        """
        return began <= self.reached and (self._damaged < began - EPSILON or began <= self._first + EPSILON)

    def frames(self, start: float) -> Iterator[Timed]:
        """Every frame from `start` on, which is not before `reached` when this is called again.

        Where no frame starts at `start`, the one that is shown at that moment comes first, with its own time.
        """
        before: Timed | None = None
        for timed in chain(tuple(self._last), self._decoded()):
            if timed.seconds < start - EPSILON:
                before = timed
                continue
            if before is not None and timed.seconds > start + EPSILON:
                yield before
            before = None
            yield timed

    def _decoded(self) -> Iterator[Timed]:
        for timed in self._frames:
            self._last.append(timed)
            self._first = min(self._first, timed.seconds)
            if timed.frame.is_corrupt:
                self._damaged = timed.seconds
            yield timed


@dataclass(frozen=True)
class Key:
    """Tells a video, and the way in which it is read, from others. file: see `keyframes.identity_of`."""

    file: Hashable
    references_only: bool
    longest_gap: float


@dataclass(frozen=True)
class _Kept:
    """opened: closes the course."""

    key: Key
    course: Course
    opened: ExitStack


_kept: list[_Kept] = []
"""At most one: its decoder holds many pictures."""


def keep(key: Key, course: Course, opened: ExitStack) -> None:
    """Let a course wait for the next part of its file. opened: what it needs to be open."""
    _kept.append(_Kept(key, course, opened.pop_all()))


def kept_course(key: Key, began: float, start: float, opened: ExitStack) -> Course | None:
    """The course that waits, if it is of this video, nearer to `start` than a new one that begins at `began`, s, and as good.

    opened: gets what it needs to be open. A course that does not fit is closed.
    """
    while _kept:
        kept = _kept.pop()
        if kept.key == key and kept.course.reached <= start + EPSILON and kept.course.is_as_new(began):
            opened.enter_context(kept.opened)
            return kept.course
        kept.opened.close()
    return None


def forget_others(file: Hashable) -> None:
    """Close the course that waits, if it is of another file: its pictures take memory."""
    if _kept and _kept[0].key.file != file:
        _kept.pop().opened.close()
