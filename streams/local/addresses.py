"""Videos that `fvq score` is given by their addresses: fetched as a worker fetches segments, scored, and deleted."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import MediaError
from streams.media.fetch import Fetcher, FetchLimits
from streams.media.shown import without_secrets

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(text: str) -> bool:
    """Whether an argument is an address, and no path."""
    return ADDRESS.match(text) is not None


def shown(address: str) -> str:
    """An address as it is named in records: without user, password and query, which may hold a signature."""
    return without_secrets(address)


@contextmanager
def fetched(address: str, limits: FetchLimits) -> Iterator[Path]:
    """The video at an address as a local file, which is deleted at the end.

    Raises `MediaError` where it is refused, too large, too slow or not there: limits are those of a worker.
    """

    async def fetch(folder: Path) -> Path:
        async with Fetcher(limits, folder, "TMPDIR") as fetcher:
            return (await fetcher.fetch(address)).path

    with tempfile.TemporaryDirectory(prefix="fvq-score-") as folder:
        try:
            path = asyncio.run(fetch(Path(folder)))
        except MediaError as error:
            # The record names the address already.
            reason = error.reason.removeprefix(f"{shown(address)}: ").removeprefix(f"{shown(address)} ")
            remedy = "; `fvq up --source` scores live streams" if "playlist" in reason else ""
            raise MediaError(f"{reason}{remedy}", kind=error.kind) from error
        yield path
