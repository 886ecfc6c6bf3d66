"""Secrets in settings: where they come from, what they may be, and that they never show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.errors import ModelError, SettingsError
from streams.parts import influx_bucket, registry
from streams.settings import load_settings

pytestmark = pytest.mark.usefixtures("no_settings")


def test_a_secrets_file_in_the_environment_comes_before_a_secret_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fvq.toml").write_text('scorer_token = "of the file"\n')
    (tmp_path / "token").write_text("of the environment\n")
    monkeypatch.setenv("FVQ_CONFIG", str(tmp_path / "fvq.toml"))
    assert load_settings().scorer_secret() == "of the file"
    monkeypatch.setenv("FVQ_SCORER_TOKEN_FILE", str(tmp_path / "token"))
    assert load_settings().scorer_secret() == "of the environment"
    monkeypatch.setenv("FVQ_SCORER_TOKEN", "here")
    assert load_settings().scorer_secret() == "here"


def test_a_secret_file_that_the_file_names_is_named_with_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text(f'influx_url = "http://influx:8086"\ninflux_token_file = "{tmp_path / "missing"}"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="cannot be read: No such file") as caught:
        load_settings().influx_secret()
    assert caught.value.path == f"{config}: influx_token_file"


def test_influx_needs_a_token_which_never_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FVQ_INFLUX_URL", "http://influx:8086")
    with pytest.raises(SettingsError, match="influx_token"):
        load_settings()
    monkeypatch.setenv("FVQ_INFLUX_TOKEN", "s3cret")
    settings = load_settings()
    assert settings.influx_secret() == "s3cret"
    assert "s3cret" not in repr(settings)
    monkeypatch.delenv("FVQ_INFLUX_TOKEN")
    file = tmp_path / "token"
    file.write_text("from-file\n")
    monkeypatch.setenv("FVQ_INFLUX_TOKEN_FILE", str(file))
    assert load_settings().influx_secret() == "from-file"
    monkeypatch.setenv("FVQ_INFLUX_TOKEN", "")
    assert load_settings().influx_secret() == "from-file", "empty means unset, as everywhere"
    file.unlink()
    with pytest.raises(SettingsError, match="FVQ_INFLUX_TOKEN_FILE"):
        load_settings().influx_secret()


def test_the_token_of_influx_is_read_again_from_where_it_came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fvq.toml").write_text('influx_url = "http://influx:8086"\ninflux_token = "of the file"\n')
    (tmp_path / "token").write_text("first\n")
    monkeypatch.setenv("FVQ_CONFIG", str(tmp_path / "fvq.toml"))
    bucket = influx_bucket(load_settings())
    assert bucket.read_token
    assert bucket.read_token() == bucket.token == "of the file", "what is in the settings does not change"
    monkeypatch.setenv("FVQ_INFLUX_TOKEN_FILE", str(tmp_path / "token"))
    bucket = influx_bucket(load_settings())
    assert bucket.token == "first"
    (tmp_path / "token").write_text("second\n")
    assert bucket.read_token
    assert bucket.read_token() == "second"


def test_addresses_of_scorers_are_checked_and_a_password_in_one_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_SCORER_URL", "http://gpu-1:8000/, https://scorer.example/fvq,http://gpu-1:8000")
    assert load_settings().scorer_url == "http://gpu-1:8000,https://scorer.example/fvq"
    monkeypatch.setenv("FVQ_SCORER_URL", "")
    assert load_settings().scorer_url is None
    for wrong, words in {
        "gpu-1:8000": "is no address: write http://host:port or https://host",
        "ftp://gpu-1": "is no address",
        "http://": "is no address",
        "http://gpu-1:port": "is no address",
        "http://gpu-1:99999": "is no address",
        "http://[::1": "is no address",
        ",": "names no address",
        "http://user:s3cret@gpu-1": "must hold no user and no password",
        "http://gpu-1/?token=s3cret": "must end with its host, its port or its path",
        "http://gpu-1/a b": "has a character in it that no address has",
    }.items():
        monkeypatch.setenv("FVQ_SCORER_URL", f"http://good:1,{wrong}" if wrong != "," else wrong)
        with pytest.raises(SettingsError, match=f"^FVQ_SCORER_URL: .*{re.escape(words)}") as caught:
            load_settings()
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["INFLUX_TOKEN", "KAFKA_PASSWORD"])
def test_a_secret_is_what_can_be_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("FVQ_KAFKA_USER", "fvq")

    def secret() -> str:
        settings = load_settings()
        return settings.influx_secret() if name == "INFLUX_TOKEN" else settings.kafka_secret()

    monkeypatch.setenv(f"FVQ_{name}", " s3cret\n")
    assert secret() == "s3cret", "secret stores like to add a newline"
    monkeypatch.setenv(f"FVQ_{name}", "s3\ncret")
    with pytest.raises(SettingsError, match=f"FVQ_{name}: has a character in it that is not printable") as wrong:
        secret()
    assert "cret" not in str(wrong.value)
    monkeypatch.delenv(f"FVQ_{name}")
    file = tmp_path / "secret"
    file.write_text("\n")
    monkeypatch.setenv(f"FVQ_{name}_FILE", str(file))
    with pytest.raises(SettingsError, match=f"FVQ_{name}_FILE: is empty"):
        secret()


def test_a_password_in_the_address_of_the_registry_is_in_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FVQ_REGISTRY", f"memory://key:s3cret@bucket/{tmp_path.name}")
    with pytest.raises(ModelError, match=f"^registry memory://bucket/{tmp_path.name}: there is no nano@3"):
        registry(load_settings()).manifest("nano", "3")
    monkeypatch.setenv("FVQ_REGISTRY", "models")
    with pytest.raises(ModelError, match="registry models: there is no nano@3"):
        registry(load_settings()).manifest("nano", "3")
