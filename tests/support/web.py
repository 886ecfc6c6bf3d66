"""Asks a wall's API in tests."""

from __future__ import annotations

from typing import Any

from aiohttp.test_utils import TestClient

ROOT = "/api/v1"


async def get(client: TestClient, path: str, status: int = 200, **headers: str) -> Any:
    """The JSON of an answer, which must have this status."""
    answer = await client.get(ROOT + path, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json()
