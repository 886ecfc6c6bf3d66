"""`fvq web`: its tokens, and what it says where it cannot start."""

from __future__ import annotations

import json
from pathlib import Path
from socket import gethostname

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.errors import FvqError, SettingsError
from streams.web.access.tokens import Tokens

run = CliRunner().invoke


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "access" / "tokens.json"
    monkeypatch.setenv("FVQ_WEB_TOKENS_FILE", str(path))
    return path


def test_a_token_is_added_listed_and_removed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_WEB_URL", "https://wall.example")
    added = run(app, ["web", "token", "add", "kim", "--scope", "ack", "--scope", "read", "--label", "tier:premium"])
    assert added.exit_code == 0, added.output
    secret = added.output.split()[1]
    assert f"https://wall.example/#token={secret}" in added.output
    token = Tokens(file).find(secret)
    assert token is not None
    assert (token.name, token.scopes, token.labels) == ("kim", ("read", "ack"), {"tier": "premium"})
    assert json.loads(run(app, ["web", "token", "ls", "--json"]).output) == [
        {"name": "kim", "scopes": ["read", "ack"], "labels": {"tier": "premium"}}
    ]
    assert run(app, ["web", "token", "ls"]).output == "kim  read,ack  tier:premium\n"
    assert run(app, ["web", "token", "rm", "kim"]).exit_code == 0
    assert Tokens(file).find(secret) is None


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("wall.lan", "wall.lan"), ("::1", "[::1]"), ("0.0.0.0", gethostname()), ("::", gethostname())],
)
def test_a_link_names_a_host_that_others_can_open(file: Path, monkeypatch: pytest.MonkeyPatch, host: str, shown: str) -> None:
    monkeypatch.setenv("FVQ_WALL_HOST", host)
    added = run(app, ["web", "token", "add", "kim"])
    assert f"link   http://{shown}:8060/#token=" in added.output
    assert file.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "kim", "--scope", "everything"], "none of read"),
        (["add", "kim", "--label", "tier"], "NAME:VALUE"),
        (["add", ""], "at least 1"),
        (["rm", "kim"], "cannot be read"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(file: Path, arguments: list[str], words: str) -> None:
    result = run(app, ["web", "token", *arguments])
    assert isinstance(result.exception, SettingsError)
    assert words in str(result.exception)
    assert not file.exists()


def test_it_does_not_start_where_it_could_not_tell_who_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    for settings, words in (
        ({"FVQ_WEB_HOST": "0.0.0.0"}, "FVQ_WEB_TOKENS_FILE"),
        ({"FVQ_WALL_HOST": "0.0.0.0"}, "FVQ_WEB_TOKENS_FILE"),
        ({"FVQ_WEB_HOST": "0.0.0.0", "FVQ_WALL_HOST": "127.0.0.1"}, "no Kafka broker answers"),
        ({"FVQ_WEB_TOKENS_FILE": str(tmp_path / "none.json")}, "cannot be read"),
        ({"FVQ_WEB_USER_HEADER": "X-User"}, "FVQ_WEB_TRUSTED_PROXIES"),
        ({}, "no Kafka broker answers"),
    ):
        with monkeypatch.context() as context:
            for name, value in settings.items():
                context.setenv(name, value)
            result = run(app, ["web", "--port", "0"])
        assert isinstance(result.exception, FvqError)
        assert words in str(result.exception)
    monkeypatch.delenv("FVQ_BROKER")
    assert "FVQ_BROKER" in str(run(app, ["web"]).exception)
