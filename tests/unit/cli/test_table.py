"""Tables for people: what is copied from them is whole."""

from __future__ import annotations

import re
import sys

import pytest

from streams.cli.table import print_table

LONG = "studio-7/" + "0123456789" * 8


@pytest.fixture(params=["terminal of 80 columns", "pipe"])
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    if request.param != "pipe":
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.usefixtures("output")
def test_an_id_is_neither_cut_nor_broken(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{LONG}{number}", "a reason " * 20, "event") for number in range(3)]
    print_table(("id", "reason", "kind"), rows, title="3 letters", whole=("id",))
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].rstrip() == "3 letters"
    for number in range(3):
        assert f"{LONG}{number} " in printed
    assert printed.count("reason") == 1 + 3 * 20, "other columns lose nothing either"


def test_short_rows_fit_into_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("id", "reason"), [("studio-7", "the file cannot be opened " * 5)], whole=("id",))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) == 80


def test_a_pipe_gets_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "reason"), [("a", "x" * 500), ("b", "y")], whole=("id",))
    assert any("x" * 500 in line for line in capsys.readouterr().out.splitlines())


def test_without_rows_there_is_only_the_title(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id",), [], title="0 letters\n")
    assert capsys.readouterr().out == "0 letters\\n\n"
