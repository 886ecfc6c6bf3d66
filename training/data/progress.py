"""How far the long work of training and the making of data is: on standard error, as remarks are.

A terminal has a bar. Else there is a line every half minute, for a person who follows a log file and for the log of a CI job;
work that takes less than that has none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Generic, TypeVar

from tqdm import tqdm

from training.data.remarks import remark

SECONDS = 30.0
"""Between two lines."""

Item = TypeVar("Item")


class Progress(Generic[Item]):
    """Gives the items of a long work one by one, and shows how many are done, since when, and how long the others will take.

    what: is done. total: number of items, where `items` does not know it. done: items that a run before this one did. shows:
    False shows nothing, as in all but one of several processes. `note` may be set meanwhile: what else is said, as the loss.
    """

    def __init__(self, items: Iterable[Item], what: str, *, total: int = 0, done: int = 0, shows: bool = True) -> None:
        self._items, self._what, self._done, self._shows = items, what, done, shows
        self._total = done + (len(items) if isinstance(items, Sized) else total)
        self.note = ""

    def __iter__(self) -> Iterator[Item]:
        if not self._shows:
            yield from self._items
        elif sys.stderr.isatty():
            with tqdm(self._items, desc=self._what, total=self._total, initial=self._done) as bar:
                for item in bar:
                    yield item
                    bar.set_postfix_str(self.note, refresh=False)
        else:
            yield from self._with_lines()

    def _with_lines(self) -> Iterator[Item]:
        begun = told = time.monotonic()
        for count, item in enumerate(self._items, start=1):
            yield item
            now = time.monotonic()
            if now - told >= SECONDS:
                told, done = now, self._done + count
                left = (now - begun) / count * (self._total - done)
                words = [f"{done} of {self._total}", self.note, f"{_minutes(now - begun)} so far, {_minutes(left)} left"]
                remark(f"{self._what}: " + ", ".join(filter(None, words)))


def _minutes(seconds: float) -> str:
    """A length of time as h:mm:ss, or mm:ss."""
    return str(tqdm.format_interval(seconds))
