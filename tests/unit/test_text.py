"""Text from outside, made fit for one line."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.text import aligned, counted, csv_path, csv_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("studio 7 [x].mp4", "studio 7 [x].mp4"),
        ("晚间 🎬.mp4", "晚间 🎬.mp4"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("a\u202egpm.exe", r"a\u202egpm.exe"),
        ("a\u2028b", r"a\u2028b"),
        (os.fsdecode(b"caf\xe9.mp4"), r"caf\xe9.mp4"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_what_is_not_seen_is_escaped_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_characters_can_be_kept() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_columns_stand_under_each_other_where_letters_are_wide() -> None:
    rows = [("stream", "score", "why"), ("東京 🎬", "22", "-"), ("news-7", "", "")]
    assert aligned(rows) == ["stream   score  why", "東京 🎬  22     -", "news-7"]


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_one_line_that_every_terminal_can_print(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_cell_is_no_formula(start: str) -> None:
    assert csv_path(f"{start}1+1.mp4") == f"./{start}1+1.mp4"
    assert csv_path(f"folder/{start}1.mp4") == f"folder/{start}1.mp4"
    assert csv_text(f"{start}1 cannot be read") == f"'{start}1 cannot be read"


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(count, "clip") for count in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [counted(count, "clip waits", "clips wait") for count in (1, 5)] == ["1 clip waits", "5 clips wait"]
