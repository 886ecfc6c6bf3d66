"""Positions on their topic: written, read, damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import EventError
from streams.events import SegmentEvent
from streams.ingest.base import Clocks, Position, SavedPosition, Stream
from streams.ingest.positions import from_bytes, key_of, restored, to_bytes

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LAST = SegmentEvent(stream_id="news", segment_id="news/1", sequence=8, uri="http://o.example/8.ts?sig=1", start=NOW, duration=2.0)
POSITION = Position(
    epoch=1, number=17, sequence=8, clocks=Clocks(NOW, None, NOW, NOW), ended=True,
    discontinuity=2, name="8.ts", first=15, length=3, last=LAST, anchor=NOW
)  # fmt: skip
STREAM = Stream("news", "720p")


def test_a_position_comes_back_as_it_was() -> None:
    saved = SavedPosition(POSITION, "http://o.example/a.m3u8")
    assert from_bytes(to_bytes(STREAM, saved, NOW)) == (("news", "720p"), saved)
    far = SavedPosition(replace(POSITION, number=2**64 + 3, first=2**64 - 1), "")
    assert from_bytes(to_bytes(STREAM, far, NOW))[1] == far
    fresh = SavedPosition(Position(), "http://o.example/a.m3u8")
    assert from_bytes(to_bytes(Stream("news"), fresh, NOW)) == (("news", None), fresh)


@pytest.mark.parametrize("state", ["paused", {"state": "paused", "since": "2026-01-31T12:00:00Z"}, {"state": "live"}, 7])
def test_a_state_that_a_later_version_wrote_loses_no_position(state: Any) -> None:
    record = json.loads(to_bytes(STREAM, SavedPosition(POSITION, ""), NOW)) | {"state": state}
    assert from_bytes(json.dumps(record).encode()) == (("news", "720p"), SavedPosition(POSITION, ""))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "x"), ("number", -1), ("sequence", -2), ("sequence", 2**63), ("epoch", None), ("last", {"stream_id": 3}),
        ("clocks", {"dates": "2026-01-31T12:00:00"}), ("clocks", {"arrival": "9999-01-31T12:00:00Z"}), ("clocks", 3),
        ("first", -1), ("number", 2**66), ("anchor", "2026-01-31T12:00:00"), ("anchor", "9999-01-31T12:00:00Z"),
    ],
)  # fmt: skip
def test_a_damaged_one_is_an_error(field: str, value: Any) -> None:
    record = json.loads(to_bytes(STREAM, SavedPosition(POSITION, ""), NOW))
    record["position"][field] = value
    with pytest.raises(EventError):
        from_bytes(json.dumps(record).encode())


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.sampled_from(["version", "stream_id", "source", "saved", "position"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_else_is_raised(value: bytes) -> None:
    with pytest.raises(EventError):
        from_bytes(value)


def test_the_last_of_each_rendition_counts_and_a_damaged_one_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    old, new = (to_bytes(STREAM, SavedPosition(Position(number=number), ""), NOW) for number in (1, 2))
    other = to_bytes(Stream("news"), SavedPosition(Position(number=3), ""), NOW)
    key, other_key = key_of(STREAM), key_of(Stream("news"))
    messages = [(key, old), (other_key, other), (key, new), (b"gone", old), (b"gone", None), (b"bad", b"{}"), (None, b"")]
    positions = restored(messages)
    assert {name: saved.position.number for name, saved in positions.items()} == {("news", "720p"): 2, ("news", None): 3}
    assert caplog.text.count("is damaged and is left out") == 2


def test_a_slash_in_a_name_makes_no_two_keys_alike() -> None:
    assert key_of(Stream("a/b")) != key_of(Stream("a", "b"))
