"""Fetching one URI in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.errors import MediaError
from streams.media.fetch import Fetcher, FetchLimits


def limits(**changes: Any) -> FetchLimits:
    return FetchLimits(**({"private": True, "seconds": 60, "megabytes": 1} | changes))


async def fetched(folder: Path, uri: str, init_uri: str | None = None, **changes: Any) -> bytes:
    async with Fetcher(limits(**changes), folder / "inbox") as fetcher:
        media = await fetcher.fetch(uri, init_uri)
        data = media.path.read_bytes()
        media.discard()
        assert media.path.exists() is not media.temporary
        return data


async def refused(folder: Path, uri: str, **changes: Any) -> MediaError:
    async with Fetcher(limits(**changes), folder / "inbox") as fetcher:
        with pytest.raises(MediaError) as caught:
            await fetcher.fetch(uri)
    assert not list((folder / "inbox").iterdir()), "a failed fetch leaves nothing"
    return caught.value
