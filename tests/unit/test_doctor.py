"""`fvq doctor`: what it says of the settings. The checks themselves are in the end-to-end tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from streams import doctor
from streams.doctor import Check, run_doctor
from streams.ports import free_port
from streams.settings import Settings, load_settings
from tests.support.scripted_scorer import ScriptedScorer


@pytest.fixture(autouse=True)
def settings_of_three_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A broker and a secret in the environment, a port in the file; no check but one that fails. Returns the file."""
    for name in [name for name in os.environ if name.startswith("FVQ_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "fvq.toml"
    config.write_text('web_port = 1234\nkafka_password = "s3cret-in-file"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    monkeypatch.setenv("FVQ_BROKER", "b:2")
    monkeypatch.setenv("FVQ_INFLUX_TOKEN", "s3cret-in-environment")
    monkeypatch.setattr(doctor, "CHECKS", (lambda _: Check("model", False, "torch [cpu] is missing", "install fvq[serve]"),))
    return config


def test_json_says_where_each_setting_was_set(settings_of_three_sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(load_settings(device="cpu"), as_json=True) == 1
    output = capsys.readouterr().out
    report = json.loads(output)
    assert set(report["settings"]) == set(report["sources"]) == set(Settings.model_fields)
    assert {name: source for name, source in report["sources"].items() if source != "default"} == {
        "broker": "environment FVQ_BROKER",
        "influx_token": "environment FVQ_INFLUX_TOKEN",
        "web_port": f"file {settings_of_three_sources}",
        "kafka_password": f"file {settings_of_three_sources}",
        "device": "command line --device",
    }
    assert report["settings"]["web_port"] == "1234"
    assert report["settings"]["influx_token"] == report["settings"]["kafka_password"] == "set, not shown"
    assert "s3cret" not in output


def test_the_table_says_it_too(
    settings_of_three_sources: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run_doctor(load_settings(), as_json=False) == 1
    output = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip().startswith("FVQ_")}
    assert rows["FVQ_BROKER"] == ["b:2", "environment", "FVQ_BROKER"]
    assert rows["FVQ_WEB_PORT"] == ["1234", "file", str(settings_of_three_sources)]
    assert rows["FVQ_GROUP"] == ["fvq", "default"]
    assert "FAIL model: torch [cpu] is missing" in output
    assert "install fvq[serve]" in output, "brackets are text, not colours"
    assert "s3cret" not in output


def test_the_large_model_is_asked_where_it_is_served_and_loaded_where_it_is_not() -> None:
    with ScriptedScorer() as served:
        check = doctor._large_model(Settings(deep_url=served.url))
        assert check.ok, check
        assert "scripted@1" in check.detail
        served.behave(fault="nan")
        assert not doctor._large_model(Settings(deep_url=served.url)).ok
    away = doctor._large_model(Settings(deep_url=f"http://127.0.0.1:{free_port('127.0.0.1')}"))
    assert (away.ok, "FVQ_DEEP_URL" in away.fix) == (False, True)
    missing = doctor._large_model(Settings(deep_model="no-such-model"))
    assert (missing.ok, "FVQ_DEEP_MODEL" in missing.fix) == (False, True)
    assert doctor._large_model(Settings()).ok
