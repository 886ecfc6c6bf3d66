"""What `fvq dead-letters replay` prints of letters that are there, and of those that are not."""

from __future__ import annotations

from typing import Any, Self

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.dead_letters import topic
from streams.dead_letters.kept import Selection
from streams.dead_letters.topic import Replayed
from streams.errors import SettingsError


@pytest.mark.parametrize("command", ["ls", "replay", "rm"])
def test_a_kind_that_no_letter_can_have_is_refused_before_a_broker_is_asked(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVQ_BROKER", "nowhere:9092")
    with pytest.raises(SettingsError) as refused:
        CliRunner().invoke(app, ["dead-letters", command, "--kind", "empty", "--kind", "nofound"], catch_exceptions=False)
    assert str(refused.value).startswith("--kind: 'nofound' is none of unreadable, event, ")
    assert "not-found" in str(refused.value)


class Letters:
    """Stands for `DeadLetters` on a topic with one letter, `video-segments/0/1`, that was not sent again before."""

    def __init__(self, _: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def replay(self, selection: Selection, again: bool) -> Replayed:
        return Replayed(1 if not selection.ids or "video-segments/0/1" in selection.ids else 0, 0, {})


@pytest.mark.parametrize(
    ("named", "printed", "errors", "code"),
    [
        (["nosuch"], "", "fvq: 1 named letter is not there\n", 1),
        (["nosuch", "nor-this"], "", "fvq: 2 named letters are not there\n", 1),
        (
            ["nosuch", "video-segments/0/1"],
            "1 letter sent again, 0 left out, sent before\n",
            "fvq: 1 named letter is not there\n",
            1,
        ),
        (["--all"], "1 letter sent again, 0 left out, sent before\n", "", 0),
    ],
)
def test_a_summary_stands_only_where_a_letter_was_meant(
    named: list[str], printed: str, errors: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic, "DeadLetters", Letters)
    monkeypatch.setenv("FVQ_BROKER", "nowhere:9092")
    result = CliRunner().invoke(app, ["dead-letters", "replay", *named])
    assert (result.stdout, result.stderr, result.exit_code) == (printed, errors, code)
