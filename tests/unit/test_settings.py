"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import load_settings, reference


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FVQ_")]:
        monkeypatch.delenv(name)


def test_the_defaults_need_no_server() -> None:
    settings = load_settings()
    assert settings.broker is None
    assert settings.influx_url is None
    assert settings.model == "nano"
    assert settings.live_window == 60
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8080)
    assert settings.media_roots == []


def test_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text('broker = "a:1"\nweb_port = 1234\nmedia_roots = ["/x", "/y"]\nlive_window = "off"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    monkeypatch.setenv("FVQ_BROKER", "b:2,c:3")
    settings = load_settings()
    assert settings.broker == "b:2,c:3"
    assert settings.web_port == 1234
    assert settings.media_roots == [Path("/x"), Path("/y")]
    assert settings.live_window is None
    assert load_settings(broker="d:4").broker == "d:4"


def test_lists_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_MEDIA_ROOTS", "/media/a:/media/b:")
    monkeypatch.setenv("FVQ_FETCH_HOSTS", "cdn.example, *.origin.example")
    settings = load_settings()
    assert settings.media_roots == [Path("/media/a"), Path("/media/b")]
    assert settings.fetch_hosts == ["cdn.example", "*.origin.example"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FVQ_WEB_PORT", "99999"),
        ("FVQ_DEVICE", "tpu"),
        ("FVQ_LIVE_WINDOW", "-3"),
        ("FVQ_LOG_FORMAT", "xml"),
        ("FVQ_BATCH_SIZE", "0"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_written(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.path == name


def test_an_unknown_key_in_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text('brokre = "a:1"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="brokre"):
        load_settings()


@pytest.mark.parametrize("content", ["= 1", None])
def test_a_file_that_cannot_be_read_is_named(content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    if content is not None:
        config.write_text(content)
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="FVQ_CONFIG"):
        load_settings()


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


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == reference(), "run python -m streams.settings > docs/settings.md"
