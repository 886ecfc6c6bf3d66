"""A seeded fleet and a running wall on it, made once for the tests of a file."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streams.web.access.limits import WebLimits
from streams.web.server import make_app
from tests.support.fleet import Fleet, fleet_wall


@pytest.fixture(scope="module")
def seeded() -> Fleet:
    """120 streams with incidents. Tests that change it take back what they did.

    For each file anew: its incidents end with the time, and a file may play it into the future.
    """
    return Fleet(120)


@pytest.fixture
async def client(seeded: Fleet) -> AsyncIterator[TestClient]:
    """A client of the wall on the seeded fleet, whose clock stands still: on a slow machine, scores would become old."""
    seeded.play(time.time() - 1.8)
    wall = replace(fleet_wall(seeded, WebLimits(rate=1000, burst=10_000)), now=lambda: seeded.played + 2.0)
    async with TestClient(TestServer(make_app(wall))) as client:
        yield client
