"""Dead letters as values: what can be sent again, which are meant, and marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from streams.dead_letters.kept import KeptLetter, Mark, Selection, parse_time
from streams.letter import LETTER_KEY_BYTES, LETTER_VALUE_BYTES, Message, dead_letter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SEGMENTS = "staging.video-segments"
"""The topic of segments of an environment with a prefix."""


def kept(message: Message, kind: str = "event", offset: int = 5) -> KeptLetter:
    """The letter of a message, as it comes back from its topic."""
    letter = dead_letter(message, kind=kind, reason="because")
    return KeptLetter.of(
        SimpleNamespace(
            partition=2, offset=offset, key=letter.key, value=letter.value, headers=letter.header_bytes(), timestamp=0
        ),
        SEGMENTS,
    )  # fmt: skip


def message(value: bytes = b"{}", key: bytes | None = b"studio-7", topic: str = SEGMENTS) -> Message:
    return Message(key, value, topic, 1, 42)


def test_a_letter_is_named_by_the_place_of_its_message() -> None:
    letter = kept(message())
    assert letter.letter_id == "staging.video-segments/1/42"
    assert kept(message(), offset=6).letter_id == letter.letter_id, "an answer that was repeated after a kill"
    assert letter.stream_id == "studio-7"
    assert letter.obstacle() == ""


def test_a_letter_of_somebody_else_has_the_name_of_its_own_place() -> None:
    record = SimpleNamespace(partition=2, offset=5, key=None, value=None, headers=[("kind", None)], timestamp=1000)
    letter = KeptLetter.of(record, SEGMENTS)
    assert letter.letter_id == "letter/2/5"
    assert letter.time == datetime.fromtimestamp(1, UTC)
    assert letter.obstacle()


@pytest.mark.parametrize(
    ("letter", "reason"),
    [
        (kept(message(), kind="unreadable"), "no message"),
        (kept(message(b"x" * (LETTER_VALUE_BYTES + 1))), "cut"),
        (kept(message(key=b"x" * (LETTER_KEY_BYTES + 1))), "cut"),
        (kept(message(topic="model-updates")), SEGMENTS),
        (kept(message(topic="video-segments")), SEGMENTS),
    ],
)
def test_what_is_not_the_whole_message_is_not_sent_again(letter: KeptLetter, reason: str) -> None:
    assert reason in letter.obstacle()


@pytest.mark.parametrize(
    ("value", "field", "shown"),
    [
        (b'{"a": 1}', "event", {"a": 1}),
        (b"no json", "text", "no json"),
        (b"\xff", "base64", "/w=="),
        (b"[" * 9999, "text", "[" * 9999),
    ],
)
def test_any_value_can_be_shown(value: bytes, field: str, shown: object) -> None:
    assert kept(message(value)).whole("waiting")[field] == shown


@pytest.mark.parametrize(
    ("value", "stream"),
    [
        (b'{"stream_id": "studio-7"}', "studio-7"),
        (b'{"stream_id": 7}', ""),
        (b"[]", ""),
        (b"no json", ""),
        (b"\xff", ""),
        (b"[" * 9999, ""),
    ],
)
def test_a_letter_of_a_producer_without_keys_is_of_the_stream_that_its_message_names(value: bytes, stream: str) -> None:
    for key in (None, b""):
        letter = kept(message(value, key))
        assert letter.stream_id == stream
        assert Selection(streams=frozenset(["studio-7"])).takes(letter) == (stream == "studio-7")
    assert kept(message(value, b"studio-8")).stream_id == "studio-8", "a key goes before it"


@pytest.mark.parametrize("time", [b"", b"never", b"0001-01-01T00:00+23:59", b"\xff"])
@pytest.mark.parametrize("timestamp", [-1, 0, 2**62])
def test_any_time_of_a_letter_is_a_time(time: bytes, timestamp: int) -> None:
    record = SimpleNamespace(partition=0, offset=0, key=None, value=b"", headers=[("time", time)], timestamp=timestamp)
    assert KeptLetter.of(record, SEGMENTS).time >= datetime(1970, 1, 1, tzinfo=UTC)


def test_a_selection_combines_its_parts() -> None:
    letter = kept(message())
    assert Selection().everything
    assert Selection(kinds=frozenset(["event"]), streams=frozenset(["studio-7"])).takes(letter)
    assert not Selection(kinds=frozenset(["event"]), streams=frozenset(["studio-8"])).takes(letter)
    assert Selection(since=letter.time).takes(letter)
    assert not Selection(until=letter.time).takes(letter)
    assert not Selection(ids=frozenset(["staging.video-segments/1/43"])).takes(letter)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-01-30T10:00:00", datetime(2026, 1, 30, 10, tzinfo=UTC)),
        ("2026-01-30T10:00:00+02:00", datetime(2026, 1, 30, 8, tzinfo=UTC)),
    ],
)
def test_times_as_people_type_them(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize("text", ["2 h", "yesterday", "", "9999999d", "999999d", "-1h"])
def test_another_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write 2h"):
        parse_time(text, NOW)


def test_a_mark_comes_back_and_another_message_is_none() -> None:
    mark = Mark("replayed", NOW)
    assert Mark.from_bytes(mark.to_bytes()) == mark
    for data in (
        b"",
        b"[]",
        b"{}",
        b'{"state": "waiting", "until": "2026-01-31T12:00:00+00:00"}',
        b'{"state": "removed", "until": 3}',
    ):
        with pytest.raises(ValueError, match=r"mark|JSON|char"):
            Mark.from_bytes(data)
