"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from streams.errors import SettingsError
from streams.setting_fields import GROUPS
from streams.settings import Settings, Source, load_settings
from streams.settings_page import reference

pytestmark = pytest.mark.usefixtures("no_settings")

CONTRACT = """
broker: str | None = None
group: str = fvq min_length=1
topic_prefix: str = 
session_timeout: float = 10.0 ge=6 le=300
kafka_security: Literal['PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL'] = PLAINTEXT
kafka_sasl: Literal['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] = SCRAM-SHA-512
kafka_user: str | None = None
kafka_password: SecretStr | None = None
kafka_password_file: Path | None = None
kafka_ca_file: Path | None = None
kafka_cert_file: Path | None = None
kafka_key_file: Path | None = None
media_roots: list[Path] = made
fetch_hosts: list[str] = made
fetch_private: bool = False
fetch_timeout: float = 15.0 gt=0 le=1000000
fetch_max_mb: int = 256 ge=1
push_max_mb: int = 1024 ge=16
ingest_hours: float = 24.0 ge=0 le=876600
inbox_hours: float = 1.0 gt=0 le=876600
live_window: float | None = 60.0 gt=0 le=1000000
batch_size: int = 8 ge=1 le=256
batch_wait: float = 0.25 gt=0 le=10
flood_share: float | None = 0.9 gt=0 le=1
flood_window: float = 60.0 gt=0 le=1000000
sampler_workers: int = made ge=1
sample_timeout: float = 30.0 gt=0 le=1000000
sample_memory_mb: int = 2048 ge=512
tiers: Literal['off', 'on'] = off
pictures: float | None = 10.0 ge=1 le=1000000
pictures_faces: Literal['show', 'blur'] = show
model: str = nano
device: Literal['auto', 'cpu', 'cuda'] = auto
second_model: str | None = None
deep_model: str | None = None
deep_url: str | None = None
deep_share: float = 0.05 ge=0 le=1
deep_low: float = 40.0 ge=0 le=100
deep_uncertain: float = 13.0 ge=0
deep_timeout: float = 5.0 gt=0 le=60
scorer_url: str | None = None
scorer_token: SecretStr | None = None
scorer_token_file: Path | None = None
scorer_timeout: float = 30.0 gt=0 le=120
scorer_fallback: str | None = None
registry: str | None = None
serve_host: str = 127.0.0.1
serve_port: int = 8070 ge=0 le=65535
serve_batch: int = 16 ge=1 le=256
serve_queue: int = 256 ge=1 le=100000
alerts: bool = True
alert_policy: Path | None = None
web_url: str | None = None
wall_host: str | None = None
wall_port: int = 8060 ge=0 le=65535
web_tokens_file: Path | None = None
web_token: SecretStr | None = None
web_token_file: Path | None = None
web_user_header: str | None = None
web_trusted_proxies: list[str] = made
web_origins: list[str] = made
wall_picture_hours: float = 24.0 gt=0 le=876600
rate_host: str | None = None
rate_url: str | None = None
harvest: bool = True
harvest_per_hour: int = 4 ge=1
harvest_score: float = 40.0 ge=0 le=100
harvest_uncertainty: float = 13.0 ge=0
harvest_disagreement: float = 15.0 ge=0
clip_store: str | None = None
clip_days: float = 30.0 ge=0 le=36525
export_days: float = 365.0 ge=0 le=36525
store_days: float = 30.0 ge=0 le=36525
influx_url: str | None = None
influx_token: SecretStr | None = None
influx_token_file: Path | None = None
influx_org: str = fvq
influx_bucket: str = fvq
influx_retention_days: int = 30 ge=0 le=36525
influx_hourly_days: int = 400 ge=0 le=36525
web_host: str = 127.0.0.1
web_port: int = 8080 ge=0 le=65535
worst_streams: int = 0 ge=0 le=1000
ingest_host: str | None = None
ingest_port: int = 8071 ge=0 le=65535
log_level: Literal['debug', 'info', 'warning', 'error'] = info
log_format: Literal['text', 'json'] = text
data_dir: Path = fvq-data
"""
"""Names, types, defaults and bounds: scripts and deployments rely on them. Add lines; change none."""


def as_contract(name: str, field: FieldInfo) -> str:
    """A setting's name, type, default (`made` by a function) and bounds, in one line."""
    plain = isinstance(field.annotation, type) and not hasattr(field.annotation, "__args__")
    named = re.sub(r"(typing|pathlib(\._local)?|pydantic\.types)\.", "", str(field.annotation))
    kind = field.annotation.__name__ if plain else named
    default = "made" if field.default_factory else field.default
    keys = ("ge", "gt", "le", "lt", "min_length")
    bounds = [f" {key}={getattr(limit, key)}" for limit in field.metadata for key in keys if hasattr(limit, key)]
    return f"{name}: {kind} = {default}{''.join(bounds)}"


def test_names_types_defaults_and_bounds_are_a_contract() -> None:
    assert [as_contract(name, field) for name, field in Settings.model_fields.items()] == CONTRACT.strip().splitlines()
    assert Settings.model_config["env_prefix"] == "FVQ_"


def test_every_setting_has_a_group_and_the_groups_are_in_order() -> None:
    groups = [field.json_schema_extra["group"] for field in Settings.model_fields.values()]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    assert groups == sorted(groups, key=list(GROUPS).index), "settings of a group stand together"
    assert all(field.description for field in Settings.model_fields.values())


def test_the_defaults_need_no_server() -> None:
    settings = load_settings()
    assert settings.broker is None
    assert settings.influx_url is None
    assert settings.model == "nano"
    assert settings.live_window == 60
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8080)
    assert settings.media_roots == []


def test_each_page_listens_at_its_own_address_or_where_the_worker_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_WEB_HOST", "192.0.2.1")
    settings = load_settings()
    assert [settings.host_of(listener) for listener in ("wall", "rate", "ingest")] == ["192.0.2.1"] * 3
    monkeypatch.setenv("FVQ_WALL_HOST", "192.0.2.2")
    monkeypatch.setenv("FVQ_RATE_HOST", "192.0.2.3")
    monkeypatch.setenv("FVQ_INGEST_HOST", "")
    settings = load_settings()
    assert [settings.host_of(listener) for listener in ("wall", "rate", "ingest")] == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]
    assert settings.web_host == "192.0.2.1", "who opens the wall does not open the worker's pages"


@pytest.mark.parametrize("name", ["model", "serve_host", "web_host", "data_dir"])
def test_an_empty_setting_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty host would be every address of the machine, without a token."""
    default = Settings.model_fields[name].default
    monkeypatch.setenv(f"FVQ_{name.upper()}", "")
    settings = load_settings()
    assert getattr(settings, name) == default
    assert getattr(load_settings(**{name: ""}), name) == default
    assert settings.host_of("ingest") == "127.0.0.1"


def test_infinity_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_SAMPLE_TIMEOUT", "inf")
    with pytest.raises(SettingsError, match=r"^FVQ_SAMPLE_TIMEOUT: .*inf.* is no finite number"):
        load_settings()


@pytest.mark.parametrize("name", ["sample_timeout", "clip_days", "inbox_hours"])
def test_a_time_that_no_clock_can_count_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FVQ_{name.upper()}", "999999999999")
    with pytest.raises(SettingsError, match=f"^FVQ_{name.upper()}: .* too large"):
        load_settings()


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


def test_a_file_from_an_editor_of_windows_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_bytes(b'\xef\xbb\xbfbroker = "a:1"\r\nweb_port = 1234\r\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    settings = load_settings()
    assert (settings.broker, settings.web_port) == ("a:1", 1234)


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


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        (
            "FVQ_FETCH_TIMEOUT",
            " without a unit (it counts in seconds), over 0, at most 1000000; for example FVQ_FETCH_TIMEOUT=15",
        ),
        ("FVQ_BATCH_SIZE", " without a unit (it counts in segments), at least 1, at most 256; for example FVQ_BATCH_SIZE=8"),
        (
            "FVQ_LIVE_WINDOW",
            " without a unit (it counts in seconds), over 0, at most 1000000; or off; for example FVQ_LIVE_WINDOW=60",
        ),
    ],
)
def test_a_number_with_a_unit_is_refused_with_what_to_write(name: str, unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "30s")
    with pytest.raises(SettingsError, match=f"^{name}: '30s' is no (whole )?number: write a (whole )?number{re.escape(unit)}$"):
        load_settings()


def test_an_unknown_key_in_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text('brokre = "a:1"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="brokre: no such setting: did you mean broker\\?"):
        load_settings()
    config.write_text('q = "a:1"\n')
    with pytest.raises(SettingsError, match=r"q: no such setting$"):
        load_settings()


@pytest.mark.parametrize("content", ["= 1", None])
def test_a_file_that_cannot_be_read_is_named(content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    if content is not None:
        config.write_text(content)
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="FVQ_CONFIG"):
        load_settings()


def test_a_pipe_in_place_of_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b'broker = "a:1"\n')
    os.close(write_end)
    monkeypatch.setenv("FVQ_CONFIG", f"/dev/fd/{read_end}")
    with os.fdopen(read_end), pytest.raises(SettingsError, match=rf"^FVQ_CONFIG: /dev/fd/{read_end} is a pipe"):
        load_settings()


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        (
            "web_port = 99999",
            "web_port",
            "99999 is too large: write a whole number, at least 0, at most 65535; for example web_port = 8080",
        ),
        ('device = "tpu"', "device", "'tpu' is none of the values: write one of auto, cpu, cuda; for example device = \"auto\""),
        ('influx_url = "http://influx:8086"', "influx_url", "influx_token or influx_token_file must be set too"),
        ('kafka_security = "SASL_SSL"', "kafka_security", "kafka_user must be set too"),
        (
            'kafka_security = "SASL_SSL"\nkafka_user = "fvq"',
            "kafka_user",
            "kafka_password or kafka_password_file must be set too",
        ),
    ],
)
def test_a_wrong_setting_in_the_file_is_named_with_the_file(
    line: str, name: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text(f"{line}\n")
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match=reason) as caught:
        load_settings()
    assert caught.value.path == f"{config}: {name}"


def test_a_wrong_setting_is_named_where_it_is_in_effect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text("web_port = 1234\n")
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    monkeypatch.setenv("fvq_web_port", "99999")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.path == "fvq_web_port", "environment variables are found in any case, and named as they are written"
    with pytest.raises(SettingsError) as caught:
        load_settings(web_port=70000)
    assert caught.value.path == "--web-port"


def test_where_each_setting_was_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text('broker = "a:1"\nweb_port = 1234\nmodel = "other"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    monkeypatch.setenv("FVQ_BROKER", "b:2")
    monkeypatch.setenv("FVQ_MODEL", "third")
    settings = load_settings(model="nano", device=None)
    assert settings.source("broker") == Source("environment", "FVQ_BROKER")
    assert settings.source("web_port") == Source("file", str(config))
    assert settings.source("model") == Source("command line", "--model")
    assert settings.source("device") == Source("default")


@pytest.mark.parametrize("name", ["web_url", "rate_url", "influx_url"])
def test_the_addresses_of_servers_are_checked_and_empty_means_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FVQ_INFLUX_TOKEN", "s3cret")
    monkeypatch.setenv(f"FVQ_{name.upper()}", "https://wall.example/fvq/")
    assert getattr(load_settings(), name) == "https://wall.example/fvq"
    monkeypatch.setenv(f"FVQ_{name.upper()}", "")
    assert getattr(load_settings(), name) is None
    for wrong, words in {
        "wall.example": "is no address",
        "https://kim:s3cret@wall": "no user",
        "http://wall/?a=1": "without `\\?`",
    }.items():
        with pytest.raises(SettingsError, match=words) as caught:
            load_settings(**{name: wrong})
        assert "s3cret" not in str(caught.value)


def test_settings_of_a_served_scorer_that_contradict_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is for workers of a served scorer: scorer_url must be set too") as caught:
        load_settings(scorer_fallback="nano")
    assert caught.value.path == "--scorer-fallback"
    monkeypatch.setenv("FVQ_SCORER_URL", "http://gpu-1:8000")
    assert load_settings(scorer_fallback="nano").scorer_fallback == "nano"
    monkeypatch.setenv("FVQ_SECOND_MODEL", "nano")
    with pytest.raises(SettingsError, match="FVQ_SECOND_MODEL: cannot be used with scorer_url"):
        load_settings()
    monkeypatch.setenv("FVQ_SCORER_TOKEN_FILE", str(tmp_path / "missing"))
    monkeypatch.delenv("FVQ_SECOND_MODEL")
    with pytest.raises(SettingsError, match=r"FVQ_SCORER_TOKEN_FILE: \S+ cannot be read"):
        load_settings().scorer_secret()


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == reference(), "run python -m streams.settings_page > docs/settings.md"


def test_there_is_one_large_model_here_or_served() -> None:
    with pytest.raises(SettingsError, match="deep_url"):
        load_settings(deep_model="large", deep_url="http://scorer:8090")
    with pytest.raises(SettingsError, match=r"(?i)deep.url"):
        load_settings(deep_url="scorer:8090")
    assert load_settings(deep_url="http://a:1, http://b:2/").deep_url == "http://a:1,http://b:2"
