"""The ingester's pages, and `fvq ingest status`, which asks one of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from streams.ingest.base import Status
from streams.ingest.pages import PageError, ask_status, make_app, start_pages, table_of

STATUSES = [
    Status("sport", "720p", "http://o.example/a.m3u8", "stale", "no new segment for 7.0 s", 2.0, 93.0, 12),
    Status("news\x1b[2J", None, "http://o.example/b.m3u8"),
]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    STATUSES[0].counts["lost"] = 3
    runner = await start_pages(make_app(lambda: STATUSES, lambda: None, lambda: 100.0), "127.0.0.1", 0)
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_status_lists_each_rendition_in_order(port: int) -> None:
    news, sport = await asyncio.to_thread(ask_status, "127.0.0.1", port)
    assert (news["stream"], news["state"], news["age_seconds"]) == ("news\x1b[2J", "starting", None)
    assert sport == {
        "stream": "sport", "rendition": "720p", "state": "stale", "reason": "no new segment for 7.0 s",
        "source": "http://o.example/a.m3u8", "age_seconds": 7.0, "target_seconds": 2.0, "announced": 12, "epoch": 0,
        "media_sequence": None, "sequence": -1, "clock_skew_seconds": None, "counts": {"lost": 3},
    }  # fmt: skip


async def test_the_table_is_for_people(port: int) -> None:
    lines = table_of(await asyncio.to_thread(ask_status, "127.0.0.1", port))
    assert len(lines) == 3
    assert lines[2].split() == ["sport", "720p", "stale", "7.0", "s", "12", "3", "no", "new", "segment", "for", "7.0", "s"]
    assert "\x1b" not in "".join(lines)


async def test_the_process_is_alive_and_has_metrics(port: int) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/healthz") as answer:
            assert json.loads(await answer.text()) == {"status": "alive", "sources": 2}
        async with session.get("/metrics") as answer:
            assert "fvq_ingest_loads_total" in await answer.text()


async def test_where_nobody_answers_the_error_says_what_to_do() -> None:
    with pytest.raises(PageError, match=r"no `fvq ingest` of live sources answers at http://127.0.0.1:1/status"):
        await asyncio.to_thread(ask_status, "127.0.0.1", 1)
