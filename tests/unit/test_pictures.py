"""Pictures of streams as messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import EventError
from streams.pictures import JPEG_START, MOST_BYTES, StreamPicture

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


def picture(**changes: Any) -> StreamPicture:
    fields: dict[str, Any] = {
        "stream_id": "studio/7", "segment_id": "s/1", "start": datetime(2026, 1, 31, 20, 15, 4, 120_000, UTC), "score": 61.5,
        "width": 160, "height": 90, "kind": "routine", "rendition": None, "jpeg": JPEG_START + b"...",
    }  # fmt: skip
    return StreamPicture(**(fields | changes))


@given(TEXT, TEXT, st.none() | TEXT, st.floats(0, 100), st.sampled_from(["routine", "changed"]))
def test_a_message_is_the_picture_that_was_sent(
    stream: str, segment: str, rendition: str | None, score: float, kind: str
) -> None:
    sent = picture(stream_id=stream, segment_id=segment, rendition=rendition, score=round(score, 2), kind=kind)
    assert StreamPicture.from_message(sent.key, sent.jpeg, list(sent.headers().items())) == sent


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("kind", b"other"), ("kind", None), ("score", b"nan"), ("score", b"101"), ("score", b""), ("width", b"0"),
        ("height", b"99999999999"), ("start", b"2026-01-31T20:15:04"), ("start", b"soon"), ("segment_id", b""),
        ("segment_id", b"x" * 2000), ("rendition", b""),
    ],
)  # fmt: skip
def test_a_damaged_header_is_named(header: str, value: bytes | None) -> None:
    sent = picture()
    with pytest.raises(EventError) as error:
        StreamPicture.from_message(sent.key, sent.jpeg, [*sent.headers().items(), (header, value)])
    assert error.value.field == header


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, JPEG_START),
        (b"", JPEG_START),
        (b"s", b"<html>"),
        (b"s", b""),
        (b"s", JPEG_START.ljust(MOST_BYTES + 1)),
    ],
)
def test_what_is_no_picture_is_refused(key: bytes | None, value: bytes) -> None:
    with pytest.raises(EventError):
        StreamPicture.from_message(key, value, list(picture().headers().items()))


@given(st.lists(st.tuples(st.sampled_from([*picture().headers(), "rendition", "else"]), st.none() | st.binary(max_size=40))))
def test_any_headers_are_a_picture_or_an_error(headers: list[tuple[str, bytes | None]]) -> None:
    for known in ((), picture().headers().items()):
        try:
            made = StreamPicture.from_message(b"s", JPEG_START, [*known, *headers])
        except EventError:
            continue
        assert 0 <= made.score <= 100
        assert made.start.tzinfo is not None
