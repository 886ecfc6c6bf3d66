"""Which files of a folder are complete, and which are known: pure, so every order of events can be tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import EventError
from streams.ingest import positions
from streams.ingest.base import Position, SavedPosition, Stream
from streams.ingest.folder.completion import LONGEST_SILENCE, Completion
from streams.ingest.known import MOST_RECENT, FileState, KnownFiles

SETTLE = 5.0


def file(name: str, changed: int = 1, size: int = 10) -> FileState:
    return FileState(changed, name, modified=changed, size=size)


def test_a_closed_file_is_complete_at_once_and_only_once() -> None:
    completion = Completion(SETTLE)
    completion.opened("a.ts")
    assert completion.listed([file("a.ts")], 0.0) == []
    assert completion.closed([file("b.ts", 2), file("a.ts", 1)]) == [file("a.ts", 1), file("b.ts", 2)]
    completion.done(file("a.ts", 1))
    assert completion.closed([file("a.ts", 1)]) == []
    assert completion.listed([file("a.ts", 1)], 100.0) == []


def test_a_file_that_is_open_is_not_complete_however_long_its_writer_pauses() -> None:
    completion = Completion(SETTLE)
    completion.opened("a.ts")
    for second in range(int(LONGEST_SILENCE)):
        assert completion.listed([file("a.ts")], float(second)) == []
    assert completion.listed([file("a.ts")], LONGEST_SILENCE) == [file("a.ts")]


def test_a_file_of_which_nothing_was_heard_is_complete_when_it_rests() -> None:
    completion = Completion(SETTLE)
    assert completion.listed([file("a.ts", size=1)], 0.0) == []
    assert completion.listed([file("a.ts", size=2)], 4.0) == []
    assert completion.listed([file("a.ts", size=2)], 8.9) == []
    assert completion.listed([file("a.ts", size=2)], 9.0) == [file("a.ts", size=2)]


def test_a_linked_file_needs_no_close() -> None:
    completion = Completion(SETTLE)
    completion.opened("a.ts")
    linked = replace(file("a.ts"), links=2)
    assert completion.listed([linked], 0.0) == []
    assert completion.listed([linked], SETTLE) == [linked]


def test_after_lost_events_every_file_has_to_rest() -> None:
    completion = Completion(SETTLE)
    completion.opened("a.ts")
    completion.events_were_lost()
    assert completion.listed([file("a.ts")], 0.0) == []
    assert completion.listed([file("a.ts")], SETTLE) == [file("a.ts")]


def test_a_file_written_anew_is_another_segment() -> None:
    completion = Completion(SETTLE)
    completion.done(file("000.ts", 1))
    assert completion.closed([file("000.ts", 7)]) == [file("000.ts", 7)]
    assert file("000.ts", 1).digest != file("000.ts", 7).digest


def test_a_change_of_rights_makes_no_new_segment() -> None:
    completion = Completion(SETTLE)
    completion.done(file("a.ts", 1))
    assert completion.closed([replace(file("a.ts", 1), changed=9)]) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 400)), unique_by=lambda pair: pair[1], max_size=300))
def test_what_was_added_is_known_and_what_is_newer_is_not(listed: list[tuple[int, int]]) -> None:
    known = KnownFiles()
    files = sorted(file(f"{number}.ts", changed) for changed, number in listed)
    for each in files:
        assert (each in known) <= (each.changed <= known.floor)
        known += each
    assert all(each in known for each in files)
    assert len(known.recent) <= MOST_RECENT
    assert file("new.ts", 51) not in known
    if len(files) <= MOST_RECENT:
        assert file("late.ts", 50) not in known, "completed in the same tick of the clock as one that is known"


def test_known_files_come_back_from_their_message() -> None:
    known = KnownFiles(3) + file("a.ts", 9)
    saved = SavedPosition(Position(sequence=4), "/srv/cam", known)
    message = positions.to_bytes(Stream("cam"), saved, datetime.now(UTC))
    assert positions.from_bytes(message) == (("cam", None), saved)


def test_a_message_with_too_many_files_is_damaged() -> None:
    many = KnownFiles(0, tuple((number, "0" * 16) for number in range(MOST_RECENT + 1)))
    message = positions.to_bytes(Stream("cam"), SavedPosition(known=many), datetime.now(UTC))
    with pytest.raises(EventError, match="too many files"):
        positions.from_bytes(message)
