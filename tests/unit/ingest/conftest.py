"""A scripted origin, and the reader that loads from it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streams.media.read import Reader
from tests.support.origin import Origin


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as running:
        yield running


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    async with Reader(private=True) as opened:
        yield opened
