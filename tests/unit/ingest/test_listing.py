"""What `fvq sources` lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.listing import item_of, newest
from streams.ingest.positions import key_of, to_bytes
from streams.ingest.states import SourceState

NOW = datetime(2026, 1, 31, 12, 0, 31, tzinfo=UTC)
LIVE = SourceState("live", NOW)
FAILING = SourceState("failing", NOW.astimezone(timezone(timedelta(hours=2))), "not-found", "not there (HTTP 404)")


def message(name: str, state: SourceState | None, rendition: str | None = None) -> tuple[bytes, bytes]:
    stream = Stream(name, rendition)
    saved = SavedPosition(Position(), "https://o.example/a.m3u8")
    return key_of(stream), to_bytes(stream, saved, NOW, state)


def test_the_newest_state_of_each_rendition_is_listed_in_order() -> None:
    messages = [message("b", LIVE), message("a", LIVE, "720p"), message("a", LIVE, "1080p"), message("b", FAILING)]
    listed = [(state.stream_id, state.rendition) for state in newest(messages)]
    assert listed == [("a", "1080p"), ("a", "720p"), ("b", None)]
    item = item_of(newest(messages)[-1])
    assert (item["state"], item["kind"], item["reason"]) == ("failing", "not-found", "not there (HTTP 404)")
    assert item["since"] == "2026-01-31T12:00:31+00:00", "times are UTC"
    assert item["source"] == "https://o.example/a.m3u8"


def test_what_is_deleted_or_damaged_is_left_out() -> None:
    key, value = message("a", LIVE)
    assert newest([(key, value), (key, None)]) == []
    assert [state.stream_id for state in newest([(b"x", b"{"), message("b", LIVE)])] == ["b"]


def test_a_source_without_a_state_is_unknown() -> None:
    item = item_of(newest([message("a", None)])[0])
    assert (item["state"], item["since"]) == ("unknown", None)
