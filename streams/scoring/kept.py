"""The fetched files of segments that wait for their answer."""

from __future__ import annotations

from collections import Counter

from streams.media.fetch import LocalMedia


class KeptMedia:
    """Files that are deleted when nobody needs them any more."""

    def __init__(self) -> None:
        self._kept: set[LocalMedia] = set()
        self._holders: Counter[LocalMedia] = Counter()

    def keep(self, media: LocalMedia) -> None:
        """Take a file in."""
        self._kept.add(media)

    def hold(self, media: LocalMedia) -> None:
        """Keep a file, after its segment is answered too, until each of its holders has released it."""
        self._holders[media] += 1

    def release(self, media: LocalMedia, _: object = None) -> None:
        """A holder needs the file no more; with the last of them it is deleted. _: the task that is over, if it is one."""
        self._holders[media] -= 1
        if not self._holders[media]:
            del self._holders[media]
            self.discard(media)

    def answered(self, media: LocalMedia) -> None:
        """Delete the file of an answered segment, if nobody holds it."""
        if media not in self._holders:
            self.discard(media)

    def discard(self, media: LocalMedia) -> None:
        """Delete a file now."""
        self._kept.discard(media)
        media.discard()

    def discard_all(self) -> None:
        """Delete all of them."""
        for media in list(self._kept):
            self.discard(media)
