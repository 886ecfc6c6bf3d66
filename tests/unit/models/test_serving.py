"""`fvq models serving`, against real servers."""

from __future__ import annotations

import json

import pytest
import typer

from streams.cli.models import models_serving
from streams.errors import SettingsError
from streams.models.serving import ServedRow, ask_all
from streams.ports import free_port
from tests.support.served import HeldModel, HeldScorer, running_server


def test_each_address_says_what_it_serves_and_a_dead_one_is_named() -> None:
    dead = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    with running_server(HeldModel(), "secret") as first, running_server(HeldModel(HeldScorer("2")), "other") as second:
        rows = ask_all([first.url, dead, second.url], "secret")
    assert rows[0] == ServedRow(first.url, "brightness", "1", 16)
    assert rows[1].url == dead
    assert "ConnectionRefusedError" in rows[1].problem
    assert rows[2].problem.startswith("status 401: this server takes requests with its bearer token only")


def test_the_command_prints_json_and_its_code_says_whether_all_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_server(HeldModel()) as server:
        monkeypatch.setenv("FVQ_SCORER_URL", server.url)
        models_serving(as_json=True)
        assert json.loads(capsys.readouterr().out) == [
            {"url": server.url, "name": "brightness", "version": "1", "most_clips": 16, "problem": ""}
        ]
        models_serving()
        assert "brightness" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as ended:
        models_serving()
    assert ended.value.exit_code == 1
    assert "ConnectionRefusedError" in capsys.readouterr().out.replace("\n", "")


def test_without_an_address_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FVQ_SCORER_URL", raising=False)
    with pytest.raises(SettingsError, match="FVQ_SCORER_URL, FVQ_DEEP_URL: are not set"):
        models_serving()
