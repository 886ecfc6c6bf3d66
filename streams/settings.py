"""The settings: read from `FVQ_<NAME>` in the environment or `<name>` in the TOML file that `FVQ_CONFIG` names, and checked.

The fields are in `streams/setting_fields.py`. The reference page is made from them:
`python -m streams.settings_page > docs/settings.md`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

from scorer.remote.url import checked_url
from streams.errors import SettingsError
from streams.nearest import no_such_setting
from streams.setting_errors import SHOWN, checked_servers, explained, unknown_variables
from streams.setting_fields import SettingFields
from streams.setting_words import CAN_BE_OFF
from streams.text import printable
from streams.topic_names import checked_prefix

WITHOUT_DEFAULT = tuple(name for name, field in SettingFields.model_fields.items() if field.default is None)
"""Settings that an empty text does not set, as from a variable of Compose that has no value."""


@dataclass(frozen=True)
class Source:
    """Where a setting was set. place: the option, the environment variable or the file; '' for a default."""

    kind: Literal["command line", "environment", "file", "default"]
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}".rstrip()


class Settings(SettingFields):
    """Everything that can be set, as this process got it."""

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict)
    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @field_validator("media_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("fetch_hosts", "web_trusted_proxies", "web_origins", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator(*CAN_BE_OFF, mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if isinstance(value, str) and value.lower() == "off" else value

    @field_validator("kafka_security", "kafka_sasl", mode="before")
    @classmethod
    def _capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator(*WITHOUT_DEFAULT, mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("model", "serve_host", "web_host", "data_dir", mode="before")
    @classmethod
    def _empty_is_the_default(cls, value: object, info: ValidationInfo) -> object:
        """An empty host would be every address of the machine, an empty folder the current one."""
        return cls.model_fields[str(info.field_name)].default if value == "" else value

    @field_validator("broker")
    @classmethod
    def _servers(cls, value: str | None) -> str | None:
        return None if value is None else checked_servers(value)

    @field_validator("topic_prefix")
    @classmethod
    def _legal_prefix(cls, value: str) -> str:
        return checked_prefix(value)

    @field_validator("scorer_url", "deep_url")
    @classmethod
    def _scorer_addresses(cls, value: str | None) -> str | None:
        if value is None:
            return None
        addresses = [checked_url(part.strip()) for part in value.split(",") if part.strip()]
        if not addresses:
            raise ValueError("names no address")
        return ",".join(dict.fromkeys(addresses))

    @field_validator("web_url", "rate_url", "influx_url")
    @classmethod
    def _server_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:
            raise ValueError("an address must hold no user and no password")
        return checked_url(value.strip())

    @field_validator("web_trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"{error}: name addresses or networks, as 10.0.0.0/8") from None
        return value

    @field_validator("web_origins")
    @classmethod
    def _exact_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/?#@*\s]+", origin):
                raise ValueError(f"{origin!r} is no origin: name scheme and host without a path, as https://ops.example")
        return value

    @field_validator("web_user_header")
    @classmethod
    def _header_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
            raise ValueError(f"{value!r} is no name of a header")
        return value

    @model_validator(mode="after")
    def _one_way_to_score(self) -> Settings:
        if self.scorer_fallback and not self.scorer_url:
            raise _IncompleteError("scorer_fallback", "is for workers of a served scorer: scorer_url must be set too")
        if self.second_model and self.scorer_url:
            reason = "cannot be used with scorer_url: a second model scores the clips of a model in the worker's process"
            raise _IncompleteError("second_model", reason)
        if self.deep_model and self.deep_url:
            raise _IncompleteError("deep_model", "cannot be used with deep_url: there is one large model, here or served")
        return self

    @model_validator(mode="after")
    def _room_for_a_batch(self) -> Settings:
        if self.serve_queue < self.serve_batch:
            raise _IncompleteError("serve_queue", f"is {self.serve_queue}, less than serve_batch, {self.serve_batch}")
        return self

    @model_validator(mode="after")
    def _token_for_influx(self) -> Settings:
        if self.influx_url and self.influx_token is None and self.influx_token_file is None:
            raise _IncompleteError("influx_url", "influx_url is set: influx_token or influx_token_file must be set too")
        return self

    @model_validator(mode="after")
    def _user_for_sasl(self) -> Settings:
        if not self.kafka_security.startswith("SASL"):
            return self
        if self.kafka_user is None:
            raise _IncompleteError("kafka_security", f"kafka_security is {self.kafka_security}: kafka_user must be set too")
        if self.kafka_password is None and self.kafka_password_file is None:
            raise _IncompleteError("kafka_user", "kafka_user is set: kafka_password or kafka_password_file must be set too")
        return self

    def source(self, name: str) -> Source:
        """Where a setting was set. name: its field. Only `load_settings` knows it: for other instances it is the default."""
        return self._sources.get(name, Source("default"))

    @property
    def ignored(self) -> tuple[str, ...]:
        """A sentence about each variable `FVQ_...` of the environment that is no setting. Only `load_settings` knows them."""
        return self._ignored

    def host_of(self, listener: Literal["wall", "rate", "ingest"]) -> str:
        """The address that one of the pages beside the worker's listens on: its own setting, else `web_host`."""
        own = {"wall": self.wall_host, "rate": self.rate_host, "ingest": self.ingest_host}[listener]
        return own or self.web_host

    def influx_secret(self) -> str:
        """The InfluxDB token, from its setting or its file. Raises `SettingsError` where there is none."""
        return self._secret("influx_token", self.influx_token, self.influx_token_file)

    def kafka_secret(self) -> str:
        """The Kafka user's password, from its setting or its file. Raises `SettingsError` where there is none."""
        return self._secret("kafka_password", self.kafka_password, self.kafka_password_file)

    def scorer_secret(self) -> str:
        """The served scorer's token, from its setting or its file. Raises `SettingsError` where there is none."""
        return self._secret("scorer_token", self.scorer_token, self.scorer_token_file)

    def web_secret(self) -> str:
        """The token for the wall, from its setting or its file. Raises `SettingsError` where there is none."""
        return self._secret("web_token", self.web_token, self.web_token_file)

    def _secret(self, name: str, value: SecretStr | None, file: Path | None) -> str:
        path = _as_written(name, self.source(name))
        # The environment comes before the TOML file, also where one of them names a file of the secret.
        overrides = self.source(name).kind == "file" and self.source(f"{name}_file").kind in ("environment", "command line")
        if value is not None and not (file is not None and overrides):
            secret = value.get_secret_value()
        elif file is not None:
            path = _as_written(f"{name}_file", self.source(f"{name}_file"))
            try:
                secret = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise SettingsError(path, f"{file} cannot be read: {reason}") from error
        else:
            raise SettingsError(path, f"is not set, nor is FVQ_{name.upper()}_FILE")
        # Files and secret stores often end with a newline. A client would refuse it, in an error that shows the secret.
        secret = secret.strip()
        if not secret:
            raise SettingsError(path, "is empty")
        if not secret.isprintable():
            raise SettingsError(path, "has a character in it that is not printable")
        return secret

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
            sources.append(_TomlFile(settings_cls, Path(config)))
        return tuple(sources)


class _TomlFile(TomlConfigSettingsSource):
    """The file of `FVQ_CONFIG`."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _toml_of(file_path)


def _toml_of(file: Path | Traversable) -> dict[str, Any]:
    # TOML is UTF-8 in every locale. Editors of Windows put a mark before it.
    return tomllib.loads(file.read_text(encoding="utf-8-sig"))


class _IncompleteError(ValueError):
    """A setting that needs another one, which is not set. name: the field of the first."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


def load_settings(**overrides: Any) -> Settings:
    """The effective settings: overrides (command line), then environment, then the TOML file, then defaults.

    overrides: by field; None leaves a setting as it is. Raises `SettingsError` that names the first wrong setting the way the
    user wrote it.
    """
    options = {name: value for name, value in overrides.items() if value is not None}
    sources = _find_sources(options)
    try:
        settings = Settings(**options)
    except ValidationError as error:
        raise _explained(dict(error.errors(include_url=False)[0]), sources) from None
    settings._sources = sources
    settings._ignored = tuple(unknown_variables(os.environ, Settings.model_fields))
    return settings


def _explained(error: dict[str, Any], sources: dict[str, Source]) -> SettingsError:
    """Pydantic's error of a setting as a sentence: the setting as it was written, the value, what is allowed, an example."""
    cause = error.get("ctx", {}).get("error")
    name = cause.name if isinstance(cause, _IncompleteError) else str(error["loc"][0])
    place = _as_written(name, sources.get(name))
    if isinstance(cause, _IncompleteError):
        return SettingsError(place, str(cause))
    return explained(name, place, error)


def _find_sources(options: dict[str, Any]) -> dict[str, Source]:
    """Where each setting is set, defaults left out. Raises `SettingsError` where the file is unreadable or names no setting."""
    sources = {}
    if config := os.environ.get("FVQ_CONFIG"):
        path = Path(config)
        try:
            if path.is_fifo():
                # The file is read again for its values, and a pipe gives them once.
                raise SettingsError("FVQ_CONFIG", f"{config} is a pipe: write the settings to a file and name that")
            content = _toml_of(path)
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingsError("FVQ_CONFIG", f"{config} cannot be read: {reason}") from error
        if unknown := content.keys() - Settings.model_fields.keys():
            name = min(unknown)
            if isinstance(content[name], dict):
                reason = (
                    'is a section, and this file has none: write each setting on a line of its own, as in broker = "kafka-1:9092"'
                )
                raise SettingsError(f"{config}: [{printable(name)[:SHOWN]}]", reason)
            raise SettingsError(f"{config}: {printable(name)[:SHOWN]}", no_such_setting(name, Settings.model_fields))
        sources = {name: Source("file", config) for name in content}
    variables = {variable.lower(): variable for variable in os.environ}
    for name in Settings.model_fields:
        if name in options:
            sources[name] = Source("command line", f"--{name.replace('_', '-')}")
        elif variable := variables.get(f"fvq_{name}"):
            sources[name] = Source("environment", variable)
    return sources


def _as_written(name: str, source: Source | None) -> str:
    """A setting as the user wrote it. Without a source: its name in the environment."""
    if source is None or source.kind == "default":
        return f"FVQ_{name.upper()}"
    return f"{source.place}: {name}" if source.kind == "file" else source.place
