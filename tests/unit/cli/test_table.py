"""Tables for people: what is copied from them is whole. How far a long command is, in a terminal and in a log file."""

from __future__ import annotations

import re
import sys
import time

import pytest
from rich.table import Table

from streams.cli.table import LINE_SECONDS, output, print_table, progress_shown

LONG = "studio-7/" + "0123456789" * 8
WIDE = "東京第一スタジオ主映像"
"""Letters that take two cells of a terminal each."""


def print_to_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test print to a terminal of 80 columns. Not in a fixture: pytest replaces `sys.stdout` before it calls the test."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def without_styles(printed: str) -> str:
    """What was printed, without the escape sequences of bold letters."""
    return re.sub(r"\x1b\[[0-9;]*m", "", printed)


@pytest.mark.parametrize("terminal", [True, False])
def test_an_id_is_neither_cut_nor_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    if terminal:
        print_to_terminal(monkeypatch)
    rows = [(f"{LONG}{number}", "a reason " * 20, "event") for number in range(3)]
    print_table(("id", "reason", "kind"), rows, title="3 letters", whole=("id",))
    printed = without_styles(capsys.readouterr().out)
    assert printed.splitlines()[0].rstrip() == "3 letters"
    for number in range(3):
        assert f"{LONG}{number} " in printed
    assert printed.count("reason") == 1 + 3 * 20, "other columns lose nothing either"


def test_wide_letters_cost_no_column_its_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    print_to_terminal(monkeypatch)
    columns = ("alert", "stream", "kind", "since", "until", "seen by", "summary")
    for stream in (WIDE[:8], WIDE, WIDE * 4):
        row = ("0123456789abcdef", stream, "black", "2026-03-01T12:00:00Z", "", "", "picture is black: 100%")
        print_table(columns, [row], whole=("alert", "stream"))
        printed = capsys.readouterr().out
        assert f" {stream} " in printed
        assert "0123456789abcdef" in printed
        assert "pictur" in printed


def test_short_rows_fit_into_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    print_to_terminal(monkeypatch)
    print_table(("id", "reason"), [("studio-7", "the file cannot be opened " * 5)], whole=("id",))
    printed = without_styles(capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) == 80


def test_a_pipe_gets_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "reason"), [("a", "x" * 500), ("b", "y")], whole=("id",))
    assert any("x" * 500 in line for line in capsys.readouterr().out.splitlines())


def test_without_rows_there_is_only_the_title(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id",), [], title="0 letters\n")
    assert capsys.readouterr().out == "0 letters\\n\n"


def test_a_table_with_many_columns_keeps_its_lines_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"figure-{place:02}" for place in range(20)]
    table = Table(*names, title="agreement")
    table.add_row(*("0.123" for _ in names))
    output().print(table)
    assert [line for line in capsys.readouterr().out.splitlines() if all(name in line for name in names)]


def test_a_log_file_has_a_line_about_progress_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress_shown() as show:
        for number in range(100):
            show(f"stream {number}")
            now += LINE_SECONDS / 40
    assert capsys.readouterr().err == "stream 40\nstream 80\n"


def test_a_terminal_has_the_newest_line_until_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt), progress_shown() as show:  # noqa: PT012 - what was shown before it is taken away
        show("stream 1")
        show("stream 2")
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "\rstream 1\x1b[K\rstream 2\x1b[K\r\x1b[K"
