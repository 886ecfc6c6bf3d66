"""The pictures that the wall keeps of each stream: the last, the last good, the first bad one, and the good one before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Picture:
    """One small picture. jpeg: its bytes. start: of its segment, seconds since 1970. score: points, None for none.

    written: when its message was written, seconds since 1970, infinity where that is not known. A packager's clock may be ahead.
    """

    jpeg: bytes
    segment_id: str
    start: float
    score: float | None
    width: int
    height: int
    rendition: str | None = None
    written: float = math.inf

    @property
    def taken(self) -> float:
        """When it was taken, as far as it can be: not after it was written."""
        return min(self.start, self.written)


@dataclass(frozen=True, slots=True)
class Pictures:
    """A stream's pictures. first_bad: the first one of the present or the last bad stretch. good_before: the last good one before
    that stretch, which is shown beside it also when the stream is good again."""

    last: Picture | None = None
    last_good: Picture | None = None
    first_bad: Picture | None = None
    good_before: Picture | None = None

    def with_picture(self, picture: Picture, good: bool, latest: float = math.inf) -> Pictures:
        """These with one more picture; one that is not newer than the last is left out, unless the last was of a time to come.

        good: whether the stream was good at its segment. latest: no segment starts later by now, seconds since 1970.
        """
        if self.last is not None and picture.start <= self.last.start <= min(picture.written, latest):
            return self
        if good:
            return replace(self, last=picture, last_good=picture)
        bad_since_good = self.last is not None and self.last is not self.last_good
        if bad_since_good and self.first_bad is not None:
            return replace(self, last=picture)
        return replace(self, last=picture, first_bad=picture, good_before=self.last_good)

    def since(self, oldest: float) -> Pictures:
        """Those of them that are not older. oldest: seconds since 1970. The same object where all are."""
        names = ("last", "last_good", "first_bad", "good_before")
        kept = {name: getattr(self, name) for name in names}
        old = [name for name, picture in kept.items() if picture is not None and picture.taken < oldest]
        return replace(self, **dict.fromkeys(old)) if old else self

    def around(self, at: float) -> tuple[Picture | None, Picture | None]:
        """The good picture before a time and the bad one from it on. at: seconds since 1970."""
        good = next((kept for kept in (self.last_good, self.good_before) if kept is not None and kept.start < at), None)
        candidates = (kept for kept in (self.first_bad, self.last) if kept is not None and kept is not self.last_good)
        return good, next((kept for kept in candidates if kept.start >= at), None)

    def of_segment(self, segment_id: str) -> Picture | None:
        """The picture of a segment, where it is one of these."""
        kept = (self.last, self.last_good, self.first_bad, self.good_before)
        return next((picture for picture in kept if picture is not None and picture.segment_id == segment_id), None)
