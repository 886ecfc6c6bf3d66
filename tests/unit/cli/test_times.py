"""Times in options: a wrong one names its option, exits with 2, and reaches no server."""

from __future__ import annotations

import sys

import pytest

from streams.cli.app import main


@pytest.mark.parametrize(
    ("command", "option", "text"),
    [
        (["history", "fill", "--from", "xx"], "--from", "'xx'"),
        (["history", "fill", "--from", "1h", "--to", "xx"], "--to", "'xx'"),
        (["history", "fill", "--from", "1h", "--to", ""], "--to", "''"),
        (["dead-letters", "ls", "--since", "xx"], "--since", "'xx'"),
        (["dead-letters", "rm", "--until", "yesterday"], "--until", "'yesterday'"),
        (["dead-letters", "replay", "--since", "1h", "--until", ""], "--until", "''"),
    ],
)
def test_a_wrong_time_is_a_wrong_option(
    command: list[str], option: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fvq", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert f"fvq: {option}: {text} is no time: write 2h" in capsys.readouterr().err
