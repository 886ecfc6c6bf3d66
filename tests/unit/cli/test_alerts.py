"""`fvq alerts`: what its commands say of a policy that is not there."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.errors import SettingsError

run = CliRunner().invoke


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["check", "--policy", "none.yaml"], "--policy"),
        (["check", "--policy", "none.yaml", "--diff"], "--policy"),
        (["evaluate", "--policy", "none.yaml"], "--policy"),
        (["send-test", "hook", "--policy", "none.yaml"], "--policy"),
        (["backtest", "none.yaml"], "POLICY"),
        (["backtest", "none.yaml", "--against", "other.yaml"], "--against"),
        (["check"], "FVQ_ALERT_POLICY"),
    ],
)
def test_an_error_names_what_named_the_policy(monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str) -> None:
    if "--policy" not in arguments and "backtest" not in arguments:
        monkeypatch.setenv("FVQ_ALERT_POLICY", "none.yaml")
    error = run(app, ["alerts", *arguments]).exception
    assert isinstance(error, SettingsError)
    assert error.path == named
    assert "cannot be read: No such file or directory" in error.reason
