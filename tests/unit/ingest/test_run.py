"""The process of a live ingester: what it has said when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from streams.events import INGEST_STATE_TOPIC
from streams.ingest import run
from streams.ingest.base import Stream
from streams.ingest.hls.source import SourcePlan
from streams.ingest.positions import PositionRecord
from streams.kafka.connection import Connection
from streams.media.read import Reader
from tests.support.origin import Origin
from tests.unit.ingest.test_hls_rendition import playlist
from tests.unit.ingest.test_publisher import MemorySender


async def test_with_once_the_last_state_is_sent_before_the_process_ends(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = MemorySender()

    def nothing(*_: Any, **__: Any) -> None:
        pass

    monkeypatch.setattr(run, "KafkaSender", lambda _: sender)
    monkeypatch.setattr(run, "read_positions", lambda _: {})
    for name in ("check_rights", "_end_after"):
        monkeypatch.setattr(run, name, nothing)
    origin.script("/a.m3u8", playlist(1, 2, "#EXT-X-ENDLIST"))
    sources = {"news": origin.url("/a.m3u8")}
    plan = lambda name, url: SourcePlan(Stream(name), url, once=True)  # noqa: E731
    await run.run_live(run.LiveOptions(Connection("none:1"), sources, plan, "127.0.0.1", 0, once=True), Reader(private=True))
    states = [
        PositionRecord.from_bytes(value)
        for topic, messages in sender.sent
        if topic == INGEST_STATE_TOPIC
        for _, value in messages
    ]
    assert states[-1].state is not None
    assert states[-1].state.state == "ended"
    assert states[-1].position.ended
