import io

import pytest

from training.data import progress
from training.data.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Each look at it is `seconds` after the last one."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now = seconds, 100.0

    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now


def test_a_log_gets_a_line_every_half_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "time", Clock(10.0))
    steps = Progress(range(4, 10), "stage II, steps", done=4)
    for step in steps:
        steps.note = f"loss 0.{step}"
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "stage II, steps: 7 of 10, loss 0.6, 00:30 so far, 00:30 left",
        "stage II, steps: 10 of 10, loss 0.9, 01:00 so far, 00:00 left",
    ]
    assert captured.out == ""


def test_short_work_says_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Progress(iter("abc"), "sampling", total=3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    steps = Progress(range(3), "sampling")
    for _ in steps:
        steps.note = "loss 0.5"
    assert "\rsampling: 100%" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()


def test_what_is_not_to_be_shown_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    assert list(Progress("ab", "stage I", shows=False)) == ["a", "b"]
    assert capsys.readouterr().err == ""
