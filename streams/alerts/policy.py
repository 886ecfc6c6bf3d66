"""The alert policy: a YAML file of limits, with stricter or looser ones for streams that carry certain labels.

    alerts:
      low_quality: {threshold: 40, minimum: 10}
    overrides:
      - labels: {tier: premium}
        alerts: {low_quality: {threshold: 55}}

Every override whose labels a stream carries replaces values of `alerts`, in the order of the file. Settings that are not named
keep their defaults. `receivers` says where alerts are delivered; addresses and tokens can be in files or in the environment.
`python -m streams.alerts.policy` prints the reference tables of docs/alerts.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator

from scorer.yaml_text import KeyTwiceError, load_yaml
from streams.errors import SettingsError
from streams.events import AlertKind, QualityAlert


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Timing(_Part):
    """How long something must last, in event time: a backlog is judged as it would have been live."""

    enabled: bool = Field(True, description="Whether this kind of alert is raised.")
    minimum: float = Field(5.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")
    clear: float = Field(6.0, ge=0, le=3600, description="Seconds that it must be gone before the alert resolves.")
    cool_down: float = Field(60.0, ge=0, le=86400, description="Seconds after an alert's end in which none of its kind fires.")


class LowQuality(Timing):
    """The smoothed score is under a fixed limit, whatever is usual for the stream."""

    threshold: float = Field(40.0, ge=0, le=100, description="The smoothed score under which quality is low, points.")
    hysteresis: float = Field(8.0, ge=0, le=50, description="Points over the threshold that it takes to be good again.")
    minimum: float = Field(10.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")


class QualityDrop(Timing):
    """The score fell against the stream's own baseline (CUSUM)."""

    slack: float = Field(7.5, ge=0, le=50, description="Points under the baseline that are no drop; half of the drop to find.")
    limit: float = Field(12.0, gt=0, le=500, description="Points beyond the slack, summed over segments, that are a drop.")
    noise_slack: float = Field(
        1.5,
        ge=0,
        le=10,
        description="Or so many times the stream's noise (the standard deviation of its scores), if that is more.",
    )
    noise_limit: float = Field(4.0, ge=0, le=100, description="The same for the limit.")
    noise: float = Field(1800.0, gt=0, le=86400, description="Half-life of the noise, seconds.")
    minimum: float = Field(4.0, ge=0, le=3600, description="Seconds that it must last before the alert fires.")
    baseline: float = Field(600.0, gt=0, le=86400, description="Half-life of the baseline, seconds.")
    adapt: float = Field(1800.0, gt=0, le=86400, description="The same while the alert is open: a lasting drop becomes usual.")
    warm_up: float = Field(8.0, ge=0, le=3600, description="Seconds of scores that the baseline needs before drops are judged.")


class Black(Timing):
    """The picture is black."""

    threshold: float = Field(0.95, gt=0, le=1, description="Share of black pixels from which a segment is black.")
    hysteresis: float = Field(0.1, ge=0, le=1, description="How much less it must be to be a picture again.")


class Frozen(Timing):
    """The picture does not move."""

    threshold: float = Field(0.95, gt=0, le=1, description="Share of repeated frames from which a segment is frozen.")
    hysteresis: float = Field(0.1, ge=0, le=1, description="How much less it must be to be moving again.")


class NoSegments(_Part):
    """A stream that did not end on purpose sends no more segments."""

    enabled: bool = Field(True, description="Whether this kind of alert is raised.")
    after: float = Field(20.0, ge=2, le=86400, description="Seconds without a segment after which the alert fires.")
    cool_down: float = Field(60.0, ge=0, le=86400, description="Seconds after an alert's end in which none of its kind fires.")
    forget_after: float = Field(
        86400.0, ge=60, le=31 * 86400, description="Seconds after which a silent stream is gone for good: its alerts resolve."
    )


class Alerts(_Part):
    """The limits of one stream."""

    smoothing: float = Field(2.0, ge=0, le=3600, description="Half-life of the smoothed score, seconds; 0 does not smooth.")
    low_quality: LowQuality = Field(default_factory=LowQuality)
    quality_drop: QualityDrop = Field(default_factory=QualityDrop)
    black: Black = Field(default_factory=Black)
    frozen: Frozen = Field(default_factory=Frozen)
    no_segments: NoSegments = Field(default_factory=NoSegments)


class Override(_Part):
    """Other limits for the streams that carry all of these labels."""

    labels: dict[str, str] = Field(min_length=1, description="Labels that a stream must carry, with these values.")
    alerts: dict[str, Any] = Field(description="What differs, in the shape of `alerts`.")


class Receiver(_Part):
    """Where alerts are delivered to."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="Its name in logs and metrics, and of its place in the topic.")
    type: Literal["alertmanager", "json", "slack"] = Field(
        description="Alertmanager's API v2; the event itself as JSON; a text for Slack's incoming webhooks."
    )
    url: SecretStr | None = Field(None, description="Address; of Alertmanager with or without `/api/v2/alerts`.")
    url_env: str | None = Field(None, description="Or the environment variable that holds it.")
    url_file: Path | None = Field(None, description="Or the file that holds it.")
    token_env: str | None = Field(None, description="Environment variable that holds a bearer token.")
    token_file: Path | None = Field(None, description="Or the file that holds it.")
    kinds: list[AlertKind] | None = Field(None, min_length=1, description="Only alerts of these kinds; all without it.")
    labels: dict[str, str] = Field(default_factory=dict, description="Only streams that carry these labels.")
    timeout: float = Field(10.0, gt=0, le=60, description="Seconds that one request may take.")
    give_up: float = Field(3600.0, ge=1, le=7 * 86400, description="Seconds after which an alert is too old to be delivered.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if sum(source is not None for source in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError("one of url, url_env and url_file must be set")
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("token_env or token_file, not both")
        return self

    def accepts(self, alert: QualityAlert) -> bool:
        """Whether an alert is for this receiver."""
        return (self.kinds is None or alert.kind in self.kinds) and self.labels.items() <= alert.labels.items()

    def address(self) -> str:
        """The URL; of Alertmanager without the path of its API and of its page, which people copy with it.

        Raises `SettingsError` where the URL is missing or wrong, without its text: it may be a secret.
        """
        url = self.url.get_secret_value() if self.url is not None else self._secret("url", self.url_env, self.url_file)
        url = (url or "").strip()
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False  # a port over 65535, or a bracket that is not closed
        if not usable:
            raise SettingsError(f"receivers.{self.name}.url", "is no http(s) address")
        if self.type != "alertmanager":
            return url.rstrip("/")
        if parts.query:
            raise SettingsError(
                f"receivers.{self.name}.url", "has a `?`: write Alertmanager's address alone, as http://HOST:9093"
            )
        # Addresses are copied from the browser (`/#/alerts`) or from a manual (`/api/v2/alerts`, `/api`).
        path = re.sub(r"/api(/v\d+(/.*)?)?$", "", parts.path.rstrip("/")).rstrip("/")
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))

    def token(self) -> str | None:
        """The bearer token, None where none is set. Raises `SettingsError` where it cannot be read."""
        return self._secret("token", self.token_env, self.token_file)

    def _secret(self, setting: str, variable: str | None, file: Path | None) -> str | None:
        """A value from an environment variable or a file, None where neither is named. A file may be empty."""
        if variable is not None:
            if not os.environ.get(variable):
                raise SettingsError(f"receivers.{self.name}.{setting}_env", f"the environment has no {variable}")
            return os.environ[variable].strip()
        if file is not None:
            try:
                return file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                # A decoding error's own text and cause hold bytes of the secret.
                reason = getattr(error, "strerror", None) or "not text"
                raise SettingsError(f"receivers.{self.name}.{setting}_file", f"{file} cannot be read: {reason}") from None
        return None


class AlertPolicy(_Part):
    """The whole file."""

    alerts: Alerts = Field(default_factory=Alerts)
    overrides: list[Override] = Field(default_factory=list, max_length=1000)
    receivers: list[Receiver] = Field(default_factory=list, max_length=20)
    _cache: dict[tuple[int, ...], Alerts] = PrivateAttr(default_factory=dict)

    @field_validator("receivers")
    @classmethod
    def _unique_names(cls, receivers: list[Receiver]) -> list[Receiver]:
        names = [receiver.name for receiver in receivers]
        if len(set(names)) < len(names):
            raise ValueError("two receivers have the same name")
        return receivers

    def of(self, labels: Mapping[str, str]) -> Alerts:
        """The limits of a stream with these labels."""
        matching = tuple(i for i, override in enumerate(self.overrides) if override.labels.items() <= labels.items())
        if matching not in self._cache:
            limits = self.alerts.model_dump()
            for i in matching:
                limits = _merged(limits, self.overrides[i].alerts)
            self._cache[matching] = Alerts.model_validate(limits)
        return self._cache[matching]


def load_policy(path: Path | None) -> AlertPolicy:
    """The policy of a file, the defaults without one.

    Raises `SettingsError`, which names the wrong setting by its path in the file.
    """
    if path is None:
        return AlertPolicy()
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError("FVQ_ALERT_POLICY", f"{path} cannot be read: {error.strerror}") from error
    except KeyTwiceError as error:
        raise SettingsError("FVQ_ALERT_POLICY", f"{path}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError("FVQ_ALERT_POLICY", f"{path} is not YAML: {error}") from error
    return parse_policy({} if content is None else content)


def check_policy(path: Path | None) -> AlertPolicy:
    """The policy of a file, as `load_policy`. Raises `SettingsError` also where a receiver's address or token cannot be read."""
    policy = load_policy(path)
    for receiver in policy.receivers:
        receiver.address()
        receiver.token()
    return policy


def parse_policy(content: object) -> AlertPolicy:
    """The policy of parsed YAML. Raises `SettingsError` as `load_policy` does."""
    try:
        policy = AlertPolicy.model_validate(content)
    except ValidationError as error:
        raise _explained(error, "") from None
    for i, override in enumerate(policy.overrides):
        try:
            Alerts.model_validate(_merged(policy.alerts.model_dump(), override.alerts))
        except ValidationError as error:
            raise _explained(error, f"overrides[{i}].alerts") from None
    return policy


@lru_cache(maxsize=1)
def default_limits() -> Alerts:
    """The limits of a stream without a policy."""
    return AlertPolicy().of({})


def reference() -> str:
    """The tables of all settings, as Markdown."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]

    def add(path: str, part: type[BaseModel], values: BaseModel) -> None:
        for name, field in part.model_fields.items():
            value = getattr(values, name)
            if isinstance(value, BaseModel):
                add(f"{path}.{name}", type(value), value)
            else:
                shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
                lines.append(f"| `{path}.{name}` | {shown} | {field.description} |")

    add("alerts", Alerts, default_limits())
    lines += ["", "| of a receiver | default | meaning |", "|---|---|---|"]
    for name, field in Receiver.model_fields.items():
        default = "needed" if field.is_required() else "" if field.default in (None, {}) else field.get_default()
        default = f"{default:g}" if isinstance(default, float) else "" if not isinstance(default, str) else default
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `changes`; groups of settings are merged in turn, and unknown names are kept for the check."""
    merged = dict(base)
    for name, value in changes.items():
        group = merged.get(name)
        merged[name] = _merged(group, value) if isinstance(group, dict) and isinstance(value, Mapping) else value
    return merged


_BOUNDS = {"less_than_equal": ("over", "le"), "less_than": ("not under", "lt")}
_BOUNDS |= {"greater_than_equal": ("under", "ge"), "greater_than": ("not over", "gt")}
"""Pydantic's types of errors about bounds: the word for the sentence, and the bound's name in the error's context."""


def _explained(error: ValidationError, prefix: str) -> SettingsError:
    """The first problem as a sentence: `alerts.low_quality.threshold: 130 is over 100`. prefix: path of what was validated."""
    first = error.errors(include_url=False)[0]
    path = prefix
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if first["type"] in _BOUNDS:
        word, bound = _BOUNDS[first["type"]]
        return SettingsError(path, f"{first['input']} is {word} {first['ctx'][bound]:g}")
    if first["type"] == "extra_forbidden":
        return SettingsError(path, "no such setting")
    if first["type"] in ("model_type", "dict_type"):
        return SettingsError(path or "the policy", f"{first['input']!r} is not a group of settings")
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    # A receiver's wrong value may be its address, which is a secret.
    shown = "" if first["type"] in ("missing", "value_error") or path.startswith("receivers") else f"{first['input']!r}: "
    remedy = "; write the number alone, without a unit" if first["type"] in ("float_parsing", "int_parsing") else ""
    return SettingsError(path, f"{shown}{reason}{remedy}")


if __name__ == "__main__":
    print(reference(), end="")
