"""The settings' fields: group, default, meaning, unit and bounds of each. `streams.settings.Settings` reads and checks them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scorer.written import WrittenValues

GROUPS = {
    "kafka": "[Kafka](kafka.md)",
    "media": "[Media](media.md)",
    "scoring": "[Scoring](scoring.md)",
    "models": "[Models](models.md)",
    "serve": "[Serving](serving.md)",
    "alerts": "[Alerts](alerts.md)",
    "web": "[The wall](web.md)",
    "queue": "[Queue](queue.md)",
    "sinks": "[Sinks](sinks.md)",
    "process": "Pages, logs and disk",
}
"""The groups of settings, and their headings on the reference page."""


LONGEST = {"s": 1_000_000, "hours": 24 * 36_525, "days": 36_525}
"""The largest value of a time by its unit, where it has no bound of its own: what clocks and system calls take, with room."""


def _setting(group: str, default: Any, meaning: str, *, unit: str = "", **bounds: float) -> Any:
    """A field of `Settings`. default: a value, or a function that makes one. bounds: `ge`, `gt`, `le`, `lt`, `min_length`."""
    if unit in LONGEST:
        bounds = {"le": LONGEST[unit]} | bounds
    value = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**value, description=meaning, json_schema_extra={"group": group, "unit": unit}, **bounds)  # type: ignore[call-overload]


class SettingFields(WrittenValues, BaseSettings):
    """Every setting and its default. The defaults run on one machine without any server."""

    model_config = SettingsConfigDict(env_prefix="FVQ_", extra="ignore", validate_default=True, allow_inf_nan=False)

    broker: str | None = _setting(
        "kafka", None, "Kafka bootstrap servers, `host:port[,host:port]`. Without it `fvq up` starts an embedded broker."
    )
    group: str = _setting("kafka", "fvq", "Kafka consumer group of the workers; also the Faust app's id.", min_length=1)
    topic_prefix: str = _setting(
        "kafka",
        "",
        "Put before the name of every topic and consumer group, for several environments on one Kafka, as `staging.`.",
    )
    session_timeout: float = _setting(
        "kafka", 10.0, "A worker that is silent for longer loses its partitions to others. Brokers refuse less than 6 s.",
        unit="s", ge=6, le=300,
    )  # fmt: skip
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _setting(
        "kafka", "PLAINTEXT", "How to connect to the brokers, Kafka's `security.protocol`: SSL means TLS, SASL a user."
    )
    kafka_sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _setting(
        "kafka", "SCRAM-SHA-512", "How the user is authenticated, Kafka's `sasl.mechanism`."
    )
    kafka_user: str | None = _setting("kafka", None, "Kafka user, for SASL.")
    kafka_password: SecretStr | None = _setting("kafka", None, "Password of the Kafka user.")
    kafka_password_file: Path | None = _setting("kafka", None, "File that holds the password of the Kafka user.")
    kafka_ca_file: Path | None = _setting(
        "kafka", None, "PEM file of the authorities that sign the brokers' certificates. Without it: the system's authorities."
    )
    kafka_cert_file: Path | None = _setting("kafka", None, "PEM file of this client's certificate, if the brokers ask for one.")
    kafka_key_file: Path | None = _setting("kafka", None, "PEM file of the key of this client's certificate.")

    media_roots: Annotated[list[Path], NoDecode] = _setting(
        "media", list, "Folders that `file:` URIs may point into, `:`-separated. Without it `file:` is refused."
    )
    fetch_hosts: Annotated[list[str], NoDecode] = _setting(
        "media", list, "Hosts that http(s) URIs may name, `,`-separated, `*` as wildcard. Without it: every public host."
    )
    fetch_private: bool = _setting("media", False, "Whether http(s) URIs may lead to private, loopback or link-local addresses.")
    fetch_timeout: float = _setting("media", 15.0, "Longest time that fetching one segment may take.", unit="s", gt=0)
    fetch_max_mb: int = _setting("media", 256, "Largest segment that is fetched.", unit="MiB", ge=1)
    push_max_mb: int = _setting(
        "media", 1024, "Most disk space that the segments of one source of `fvq ingest push` may take.", unit="MiB", ge=16
    )
    ingest_hours: float = _setting(
        "media", 24.0, "Time that segments stay which `fvq ingest files` and `fvq ingest folder` have cut; 0 for ever.",
        unit="hours", ge=0,
    )  # fmt: skip
    inbox_hours: float = _setting(
        "media", 1.0, "Time after which fetched segments are deleted that a killed process has left.", unit="hours", gt=0
    )

    live_window: float | None = _setting(
        "scoring", 60.0, "A segment that has waited longer is answered `skipped`; `off` scores every segment.", unit="s", gt=0
    )
    batch_size: int = _setting(
        "scoring", 8, "Maximum number of segments that are scored together.", unit="segments", ge=1, le=256
    )
    batch_wait: float = _setting("scoring", 0.25, "Time that a batch waits for more segments.", unit="s", gt=0, le=10)
    flood_share: float | None = _setting(
        "scoring",
        0.9,
        "Share of dead letters of one kind from which a worker waits until a segment no longer fails so; `off` never waits.",
        gt=0,
        le=1,
    )
    flood_window: float = _setting(
        "scoring", 60.0, "Time over which that share is taken, and longest time that segments are held.", unit="s", gt=0
    )
    sampler_workers: int = _setting(
        "scoring", lambda: max(1, os.cpu_count() or 1), "Child processes that decode and sample.", unit="processes", ge=1
    )
    sample_timeout: float = _setting(
        "scoring", 30.0, "Longest time that decoding and sampling one segment may take.", unit="s", gt=0
    )
    sample_memory_mb: int = _setting("scoring", 2048, "Memory that one sampling child may allocate.", unit="MiB", ge=512)

    tiers: Literal["off", "on"] = _setting(
        "scoring",
        "off",
        "Whether segments of steady streams get a glance instead of a score of their own; `off` scores all.",
    )

    pictures: float | None = _setting(
        "scoring", 10.0, "At most one small picture of a stream in this time, for the wall; `off` makes none.", unit="s", ge=1
    )
    pictures_faces: Literal["show", "blur"] = _setting("scoring", "show", "Whether faces in these pictures are blurred.")

    model: str = _setting("models", "nano", "The model: a shipped name, a directory, or `name@version` from the registry.")
    device: Literal["auto", "cpu", "cuda"] = _setting("models", "auto", "Where the model runs.")
    second_model: str | None = _setting(
        "models", None, "A second model that also scores every segment, to find clips worth a rating. It doubles the work."
    )
    deep_model: str | None = _setting(
        "models", None, "The large model of the cascade, in this process; named as `model` is. It looks at few segments."
    )
    deep_url: str | None = _setting(
        "models", None, "Or addresses of served scorers that run it, as in `scorer_url`, with the token `scorer_token`."
    )
    deep_share: float = _setting("models", 0.05, "Largest share of the segments that the large model looks at.", ge=0, le=1)
    deep_low: float = _setting("models", 40.0, "A segment with a lower score is worth its look.", unit="points", ge=0, le=100)
    deep_uncertain: float = _setting(
        "models", 13.0, "A segment with a higher uncertainty is worth its look.", unit="points", ge=0
    )
    deep_timeout: float = _setting(
        "models", 5.0, "Longest time that a segment waits for the large model; then the small one's score is its answer.",
        unit="s", gt=0, le=60,
    )  # fmt: skip
    scorer_url: str | None = _setting(
        "models", None, "Addresses of served scorers, `,`-separated, as http://host:port. Without it the worker runs the model."
    )
    scorer_token: SecretStr | None = _setting("models", None, "Token of the served scorer, in `fvq serve` and its workers.")
    scorer_token_file: Path | None = _setting(
        "models", None, "File that holds that token. A worker reads it again when its token is refused."
    )
    scorer_timeout: float = _setting(
        "models", 30.0, "Longest time that a served scorer may take for a batch.", unit="s", gt=0, le=120
    )
    scorer_fallback: str | None = _setting(
        "models", None, "Model, as `nano`, that answers in the worker's process while no served scorer does; the score says so."
    )
    registry: str | None = _setting(
        "models", None, "The model registry: a folder, or an address like s3://bucket/models. Without it: `models` in `data_dir`."
    )

    serve_host: str = _setting(
        "serve", "127.0.0.1", "Address that `fvq serve` listens on; with another than loopback, set a token."
    )
    serve_port: int = _setting("serve", 8070, "Port of `fvq serve`; 0 takes a free one.", ge=0, le=65535)
    serve_batch: int = _setting(
        "serve", 16, "Most clips that are scored together, and that one request may have.", unit="clips", ge=1, le=256
    )
    serve_queue: int = _setting(
        "serve", 256, "Most clips in the server; requests with more are asked to come again.", unit="clips", ge=1, le=100_000
    )

    alerts: bool = _setting("alerts", True, "Whether the worker raises alerts.")
    alert_policy: Path | None = _setting(
        "alerts", None, "YAML file of the alerts' limits and receivers. Without it: the default limits, no receiver."
    )

    web_url: str | None = _setting(
        "web", None, "Address of the wall as people reach it, as https://wall.example; alerts link to their page under it."
    )
    wall_host: str | None = _setting("web", None, "Address that `fvq web` listens on. Without it: `web_host`.")
    wall_port: int = _setting("web", 8060, "Port of `fvq web`; 0 takes a free one.", ge=0, le=65535)
    web_tokens_file: Path | None = _setting(
        "web", None, "File of the tokens that `fvq web token` keeps. Without it the wall serves this machine alone."
    )
    web_token: SecretStr | None = _setting("web", None, "Token with which `fvq streams` asks the wall.")
    web_token_file: Path | None = _setting("web", None, "File that holds that token.")
    web_user_header: str | None = _setting(
        "web", None, "Header in which a trusted proxy names the person that it has signed in, as X-Forwarded-User."
    )
    web_trusted_proxies: Annotated[list[str], NoDecode] = _setting(
        "web", list, "Addresses or networks of those proxies, `,`-separated, as 10.0.0.0/8."
    )
    web_origins: Annotated[list[str], NoDecode] = _setting(
        "web", list, "Origins of other sites whose pages may call the API with a token, `,`-separated, as https://ops.example."
    )
    wall_picture_hours: float = _setting(
        "web", 24.0, "Time that the wall keeps a picture of a stream in its memory, as the first bad one of an alert.",
        unit="hours", gt=0,
    )  # fmt: skip
    rate_host: str | None = _setting("web", None, "Address that `fvq rate` listens on. Without it: `web_host`.")
    rate_url: str | None = _setting(
        "web",
        None,
        "Address of the rating page as raters reach it through a proxy, as https://rate.example; raters' links use it.",
    )

    harvest: bool = _setting(
        "queue", True, "Whether the worker stores clips that the model finds hard, to be rated. `false`: no clip is ever stored."
    )
    harvest_per_hour: int = _setting(
        "queue", 4, "Maximum number of clips of one stream that are stored in an hour.", unit="clips", ge=1
    )
    harvest_score: float = _setting("queue", 40.0, "A segment with a lower score is stored.", unit="points", ge=0, le=100)
    harvest_uncertainty: float = _setting("queue", 13.0, "A segment with a higher uncertainty is stored.", unit="points", ge=0)
    harvest_disagreement: float = _setting(
        "queue", 15.0, "A segment on which the second or the large model differs by more is stored.", unit="points", ge=0
    )
    clip_store: str | None = _setting(
        "queue", None, "The clip store: a folder, or an address like s3://bucket/clips. Without it: `clips` in `data_dir`."
    )
    clip_days: float = _setting("queue", 30.0, "Time that a clip is stored; 0 for ever.", unit="days", ge=0)
    export_days: float = _setting(
        "queue",
        365.0,
        "Time after which what `fvq queue export` and `fvq rate export` have written is deleted; 0 for ever.",
        unit="days",
        ge=0,
    )

    store_days: float = _setting("sinks", 30.0, "Time that a score is kept in the SQLite store; 0 for ever.", unit="days", ge=0)
    influx_url: str | None = _setting(
        "sinks", None, "InfluxDB 2.x server. Without it scores go to the SQLite store in `data_dir`."
    )
    influx_token: SecretStr | None = _setting("sinks", None, "InfluxDB API token.")
    influx_token_file: Path | None = _setting("sinks", None, "File that holds the InfluxDB API token.")
    influx_org: str = _setting("sinks", "fvq", "InfluxDB organisation.")
    influx_bucket: str = _setting("sinks", "fvq", "InfluxDB bucket; hourly values are in `<bucket>_hourly`.")
    influx_retention_days: int = _setting(
        "sinks", 30, "`fvq doctor --setup` makes a bucket that keeps scores for this time; 0 for ever.", unit="days", ge=0
    )
    influx_hourly_days: int = _setting(
        "sinks", 400, "`fvq doctor --setup` makes a bucket that keeps hourly values for this time; 0 for ever.", unit="days", ge=0
    )

    web_host: str = _setting(
        "process",
        "127.0.0.1",
        "Address that a worker's `/metrics`, `/healthz`, `/readyz` listen on; also the wall, `fvq rate` and `fvq ingest` without "
        "an address of their own. With another than loopback, all of them can be reached from there, and a worker asks nobody.",
    )
    web_port: int = _setting("process", 8080, "Port of `/metrics`, `/healthz` and `/readyz`; 0 takes a free one.", ge=0, le=65535)
    worst_streams: int = _setting(
        "process", 0, "How many of a worker's streams, the worst ones now, are in the metric `fvq_stream_score`; 0 for none.",
        unit="streams", ge=0, le=1000,
    )  # fmt: skip
    ingest_host: str | None = _setting(
        "process", None, "Address that the pages of `fvq ingest` listen on. Without it: `web_host`."
    )
    ingest_port: int = _setting(
        "process",
        8071,
        "Port of the pages of `fvq ingest hls`: `/metrics`, `/healthz`, `/status`; 0 takes a free one.",
        ge=0,
        le=65535,
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "process", "info", "Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = _setting("process", "text", "Log lines for people or for machines.")
    data_dir: Path = _setting(
        "process", Path("fvq-data"), "Folder for everything that this process keeps on disk: scores, clips, ratings, models."
    )
