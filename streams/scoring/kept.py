"""The fetched files of segments that wait for their answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from streams.media.fetch import LocalMedia


class KeptMedia:
    """Files that are deleted when nobody needs them any more."""

    def __init__(self) -> None:
        self._kept: set[LocalMedia] = set()
        self._holders: Counter[LocalMedia] = Counter()

    def keep(self, media: LocalMedia) -> None:
        """Take a file in."""
        self._kept.add(media)

    def hold_for(self, task: asyncio.Future[Any], media: LocalMedia) -> None:
        """Keep a file, after its segment is answered too, until this task is over, and all others for which it is held."""
        self._holders[media] += 1
        task.add_done_callback(lambda _: self._release(media))

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

    def _release(self, media: LocalMedia) -> None:
        self._holders[media] -= 1
        if not self._holders[media]:
            del self._holders[media]
            self.discard(media)
