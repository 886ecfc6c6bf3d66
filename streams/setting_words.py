"""What a setting's field says for people: its bounds, what may be written, an example. For errors, the reference page and the
sample file."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from streams.bounds import bounds_of
from streams.setting_fields import SettingFields

CAN_BE_OFF = ("live_window", "flood_share", "pictures")
"""Settings that take `off` instead of a number."""

EXAMPLES: dict[str, str | list[str]] = {
    "broker": "kafka-1:9092,kafka-2:9092",
    "topic_prefix": "staging.",
    "kafka_user": "fvq",
    "kafka_password": "a password; better kafka_password_file",
    "kafka_password_file": "/run/secrets/kafka",
    "kafka_ca_file": "/etc/fvq/ca.pem",
    "kafka_cert_file": "/etc/fvq/client.pem",
    "kafka_key_file": "/etc/fvq/client.key",
    "media_roots": ["/srv/media"],
    "fetch_hosts": ["cdn.example", "*.origin.example"],
    "second_model": "nano",
    "deep_model": "/srv/models/large",
    "deep_url": "http://gpu-1:8070",
    "scorer_url": "http://gpu-1:8070,http://gpu-2:8070",
    "scorer_token": "a token; better scorer_token_file",
    "scorer_token_file": "/run/secrets/scorer",
    "scorer_fallback": "nano",
    "registry": "s3://bucket/models",
    "alert_policy": "/etc/fvq/alerts.yaml",
    "web_url": "https://wall.example",
    "wall_host": "192.0.2.10",
    "web_tokens_file": "/etc/fvq/tokens.json",
    "web_token": "a token; better web_token_file",
    "web_token_file": "/run/secrets/wall",
    "web_user_header": "X-Forwarded-User",
    "web_trusted_proxies": ["10.0.0.0/8"],
    "web_origins": ["https://ops.example"],
    "rate_host": "127.0.0.1",
    "rate_url": "https://rate.example",
    "clip_store": "s3://bucket/clips",
    "ingest_host": "127.0.0.1",
    "influx_url": "http://influx:8086",
    "influx_token": "a token; better influx_token_file",
    "influx_token_file": "/run/secrets/influx",
}
"""Of the settings without a default: what one may look like."""


def kinds_of(field: FieldInfo) -> tuple[Any, ...]:
    """The types of a field, without None."""
    if get_origin(field.annotation) in (Literal, list):
        return (field.annotation,)
    return tuple(kind for kind in get_args(field.annotation) if kind is not NoneType) or (field.annotation,)


def is_secret(field: FieldInfo) -> bool:
    """Whether its value is shown nowhere."""
    return SecretStr in kinds_of(field)


def default_of(name: str, field: FieldInfo) -> Any:
    """The default; None also where it is empty, and for the number of processes, which is the machine's number of cores."""
    value = field.get_default(call_default_factory=True)
    return None if name == "sampler_workers" or value == "" else value


def as_text(value: Any) -> str:
    """A value as it is written in the environment; lists with commas, paths with colons."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return (":" if any(str(part).startswith("/") for part in value) else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def example_of(name: str) -> Any:
    """A value that the setting takes: its default, or an example where it has none."""
    default = default_of(name, SettingFields.model_fields[name])
    return EXAMPLES.get(name, 4) if default is None or default == [] else default


def allowed(name: str) -> str:
    """What to write, for an error: `a number without a unit (it counts in seconds), over 0; or off`."""
    field = SettingFields.model_fields[name]
    kinds = kinds_of(field)
    if field.annotation is bool:
        return "true or false"
    if get_origin(kinds[0]) is Literal:
        return f"one of {bounds_of(field, mark='')}"
    extra: Any = field.json_schema_extra
    if get_origin(kinds[0]) is list:
        return "a list, or a text of its parts"
    noun = "a whole number" if int in kinds else "a number" if float in kinds else "a path" if Path in kinds else "a text"
    if extra["unit"]:
        noun += f" without a unit (it counts in {'seconds' if extra['unit'] == 's' else extra['unit']})"
    return ", ".join([noun, *filter(None, [bounds_of(field)])]) + ("; or off" if name in CAN_BE_OFF else "")


def as_option(name: str, place: str, value: Any) -> str:
    """An assignment as it stands where a setting is set. place: the environment's variable, `--option`, or `FILE: name`."""
    if place.startswith("--"):
        return f"{place} {as_text(value)}"
    if place.endswith(f": {name}"):
        return f"{name} = {as_toml(value)}"
    return f"{place}={as_text(value)}"


def as_toml(value: Any) -> str:
    """A value in TOML. Texts are plain: no setting's default or example has a control character."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and not value.is_integer() else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(as_toml(part) for part in value)}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
