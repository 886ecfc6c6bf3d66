"""The pictures that the wall keeps of each stream: the last, the last good, the first bad one, and the good one before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from streams.web.rendition import BEHIND_SECONDS


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
    that stretch, which is shown beside it also when the stream is good again. last_bad: the last one of the present bad stretch;
    None while the stream is good."""

    last: Picture | None = None
    last_good: Picture | None = None
    first_bad: Picture | None = None
    good_before: Picture | None = None
    last_bad: Picture | None = None

    def with_picture(self, picture: Picture, good: bool | None, latest: float = math.inf) -> Pictures:
        """These with one more picture; one that is not newer than the last is left out, unless the last was of a time to come.

        One of a rendition that is a little behind another one may be a good or bad one, but is not the last.

        good: whether the stream was good at its segment; None for a good picture of a stream that is bad in another rendition.
        latest: no segment starts later by now, seconds since 1970.
        """
        last = picture
        if self.last is not None and picture.start <= self.last.start <= min(picture.written, latest):
            # Renditions' segments start together, and their pictures come in any order.
            behind = 0.0 if picture.rendition == self.last.rendition else BEHIND_SECONDS
            if picture.start + behind <= self.last.start:
                return self
            last = self.last if picture.start < self.last.start else picture
        if good is None:
            return replace(self, last=last)
        if good:
            return replace(self, last=last, last_good=picture, last_bad=None)
        if self.last_bad is not None and self.first_bad is not None:
            return replace(self, last=last, last_bad=picture)
        return replace(self, last=last, first_bad=picture, good_before=self.last_good, last_bad=picture)

    def since(self, oldest: float) -> Pictures:
        """Those of them that are not older. oldest: seconds since 1970. The same object where all are."""
        names = ("last", "last_good", "first_bad", "good_before", "last_bad")
        kept = {name: getattr(self, name) for name in names}
        old = [name for name, picture in kept.items() if picture is not None and picture.taken < oldest]
        return replace(self, **dict.fromkeys(old)) if old else self

    def around(self, at: float) -> tuple[Picture | None, Picture | None]:
        """The good picture before a time and the bad one from it on. at: seconds since 1970."""
        good = next((kept for kept in (self.last_good, self.good_before) if kept is not None and kept.start < at), None)
        bad = next((kept for kept in (self.first_bad, self.last_bad) if kept is not None and kept.start >= at), None)
        return good, bad

    def of_segment(self, segment_id: str, rendition: str | None = None) -> Picture | None:
        """The picture of a segment, where it is one of these.

        rendition: "" for none, None for any; segments of several may share their id.
        """
        kept = (self.last, self.last_good, self.first_bad, self.good_before, self.last_bad)
        named = (picture for picture in kept if picture is not None and picture.segment_id == segment_id)
        return next((picture for picture in named if rendition in (None, picture.rendition or "")), None)
