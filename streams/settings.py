"""All settings: one model, read from `FVQ_<NAME>` in the environment or `<name>` in the TOML file `FVQ_CONFIG`.

Every field says what it means and in which unit; `docs/settings.md` is generated from here
(`python -m streams.settings > docs/settings.md`).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from streams.errors import SettingsError


class Settings(BaseSettings):
    """Everything that can be set. The defaults run on one machine without any server."""

    model_config = SettingsConfigDict(env_prefix="FVQ_", extra="ignore", validate_default=True)

    broker: str | None = Field(
        None, description="Kafka bootstrap servers, `host:port[,host:port]`. `fvq up` starts an embedded broker without it."
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How the brokers are spoken to: Kafka's `security.protocol`; SSL means TLS, SASL a user."
    )
    kafka_sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the user proves who it is: Kafka's `sasl.mechanism`."
    )
    kafka_user: str | None = Field(None, description="Kafka user, for SASL.")
    kafka_password: SecretStr | None = Field(None, description="Its password.")
    kafka_password_file: Path | None = Field(None, description="File that holds its password.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authorities that sign the brokers' certificates. Without it: the system's."
    )
    kafka_cert_file: Path | None = Field(None, description="PEM file of this client's certificate, where brokers ask for one.")
    kafka_key_file: Path | None = Field(None, description="PEM file of its key.")
    data_dir: Path = Field(
        Path("fvq-data"), description="Folder for everything that this process keeps on disk: scores, clips, tables."
    )
    media_roots: Annotated[list[Path], NoDecode] = Field(
        default_factory=list, description="Folders that `file:` URIs may point into, `:`-separated. None: `file:` is refused."
    )
    model: str = Field("nano", description="The model: a shipped name, a directory, or `name@version` from the registry.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the in-process model runs.")
    registry: str | None = Field(
        None, description="The model registry: a folder, or an address as s3://bucket/models. Without it: `models` in `data_dir`."
    )
    scorer_url: str | None = Field(
        None, description="Address of a remote scorer. Without it the model runs in the worker's process."
    )

    influx_url: str | None = Field(
        None, description="InfluxDB 2.x server. Without it scores go to the SQLite store in `data_dir`."
    )
    influx_token: SecretStr | None = Field(None, description="InfluxDB API token.")
    influx_token_file: Path | None = Field(None, description="File that holds the InfluxDB API token.")
    influx_org: str = Field("fvq", description="InfluxDB organisation.")
    influx_bucket: str = Field("fvq", description="InfluxDB bucket; hourly values are in `<bucket>_hourly`.")
    influx_retention_days: int = Field(
        30, ge=0, description="Days that `fvq doctor --setup` lets the bucket keep scores; 0 for ever."
    )
    influx_hourly_days: int = Field(400, ge=0, description="Days that it lets the bucket keep hourly values; 0 for ever.")

    live_window: float | None = Field(
        60.0, gt=0, description="Seconds after which a waiting segment is answered `skipped`; `off` scores every one."
    )
    alerts: bool = Field(True, description="Whether the worker raises alerts.")
    alert_policy: Path | None = Field(
        None, description="YAML file of the alerts' limits and receivers (docs/alerts.md). Without it: the defaults, no receiver."
    )
    harvest: bool = Field(
        True, description="Whether the worker stores clips that the model finds hard, to be rated. Off: no clip is ever stored."
    )
    clip_store: str | None = Field(
        None, description="The clip store: a folder, or an address as s3://bucket/clips. Without it: `clips` in `data_dir`."
    )
    clip_days: float = Field(30.0, ge=0, description="Days that a clip is stored; 0 for ever.")
    harvest_per_hour: int = Field(4, ge=1, description="Clips of one stream that are stored in an hour at most.")
    harvest_score: float = Field(40.0, ge=0, le=100, description="A segment with a lower score is stored, points.")
    harvest_uncertainty: float = Field(15.0, ge=0, description="A segment with a higher uncertainty is stored, points.")
    harvest_disagreement: float = Field(
        15.0, ge=0, description="A segment on which the second model differs by more is stored, points."
    )
    second_model: str | None = Field(
        None, description="A second model that scores every segment too; where they differ is worth a rating. Doubles the work."
    )
    web_host: str = Field("127.0.0.1", description="Address that the page, `/metrics`, `/healthz` and `/readyz` listen on.")
    web_port: int = Field(8080, ge=0, le=65535, description="Port of the same; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line that is written.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")

    batch_size: int = Field(8, ge=1, le=256, description="Segments scored together at most.")
    batch_wait: float = Field(0.25, gt=0, le=10, description="Seconds that a batch waits for more segments.")
    sampler_workers: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1), ge=1, description="Child processes that decode and sample."
    )
    sample_timeout: float = Field(30.0, gt=0, description="Seconds that decoding and sampling one segment may take.")
    sample_memory_mb: int = Field(2048, ge=512, description="Memory that one sampling child may allocate, MiB.")
    fetch_timeout: float = Field(15.0, gt=0, description="Seconds that fetching one segment may take.")
    fetch_max_mb: int = Field(256, ge=1, description="Largest segment that is fetched, MiB.")
    fetch_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Hosts that http(s) URIs may name, `,`-separated, `*` as wildcard. None: every public host.",
    )
    fetch_private: bool = Field(
        False, description="Whether http(s) URIs may resolve to private, loopback or link-local addresses."
    )
    group: str = Field("fvq", min_length=1, description="Kafka consumer group of the workers; also the Faust app's id.")
    session_timeout: float = Field(
        10.0,
        ge=6,
        le=300,
        description="Seconds after which a silent worker's partitions go to others; brokers refuse less than 6.",
    )

    @field_validator("media_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("fetch_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("live_window", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if isinstance(value, str) and value.lower() == "off" else value

    @field_validator("kafka_security", "kafka_sasl", mode="before")
    @classmethod
    def _capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator(
        "broker",
        "registry",
        "clip_store",
        "second_model",
        "scorer_url",
        "influx_url",
        "influx_token",
        "influx_token_file",
        "alert_policy",
        "kafka_user",
        "kafka_password",
        "kafka_password_file",
        "kafka_ca_file",
        "kafka_cert_file",
        "kafka_key_file",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _token_for_influx(self) -> Settings:
        if self.influx_url and self.influx_token is None and self.influx_token_file is None:
            raise ValueError("influx_url is set: influx_token or influx_token_file must be set too")
        return self

    @model_validator(mode="after")
    def _user_for_sasl(self) -> Settings:
        if not self.kafka_security.startswith("SASL"):
            return self
        if self.kafka_user is None:
            raise ValueError(f"kafka_security is {self.kafka_security}: kafka_user must be set too")
        if self.kafka_password is None and self.kafka_password_file is None:
            raise ValueError("kafka_user is set: kafka_password or kafka_password_file must be set too")
        return self

    def influx_secret(self) -> str:
        """The InfluxDB token, from the environment or its file; raises `SettingsError` where there is none."""
        return _secret("FVQ_INFLUX_TOKEN", self.influx_token, self.influx_token_file)

    def kafka_secret(self) -> str:
        """The Kafka user's password, from the environment or its file; raises `SettingsError` where there is none."""
        return _secret("FVQ_KAFKA_PASSWORD", self.kafka_password, self.kafka_password_file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if config := os.environ.get("FVQ_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(config)))
        return tuple(sources)


def _secret(name: str, value: SecretStr | None, file: Path | None) -> str:
    if value is not None:
        secret = value.get_secret_value()
    elif file is not None:
        name = f"{name}_FILE"
        try:
            secret = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(name, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    else:
        raise SettingsError(name, f"is not set, nor is {name}_FILE")
    # Files and secret stores like to end with a newline. Inside it would be an error of whoever sends it, with the secret in it.
    secret = secret.strip()
    if not secret:
        raise SettingsError(name, "is empty")
    if not secret.isprintable():
        raise SettingsError(name, "has a character in it that is not printable")
    return secret


def load_settings(**overrides: Any) -> Settings:
    """The effective settings: overrides (command line), then environment, then the TOML file, then defaults.

    Raises `SettingsError` that names the first wrong setting the way the user wrote it.
    """
    config = os.environ.get("FVQ_CONFIG")
    if config:
        try:
            unknown = set(tomllib.loads(Path(config).read_text())) - set(Settings.model_fields)
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError("FVQ_CONFIG", f"{config} cannot be read: {error}") from error
        if unknown:
            raise SettingsError(f"{config}: {sorted(unknown)[0]}", "no such setting")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        path = f"FVQ_{name.upper()}" if f"FVQ_{name.upper()}" in os.environ else name
        raise SettingsError(path, first["msg"]) from None


def reference() -> str:
    """The settings' reference page, Markdown."""
    lines = ["# Settings", "", "Made by `python -m streams.settings > docs/settings.md`.", ""]
    lines += ["| environment | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name == "sampler_workers":
            default = "the number of cores"
        else:
            value = field.get_default(call_default_factory=True)
            default = "" if value is None or value == [] else f"`{value}`"
        lines.append(f"| `FVQ_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
