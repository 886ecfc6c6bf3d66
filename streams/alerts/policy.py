"""The alert policy: a YAML file of limits, with stricter or looser ones for streams that carry certain labels.

    alerts:
      low_quality: {threshold: 40, minimum: 10}
    overrides:
      - labels: {tier: premium}
        alerts: {low_quality: {threshold: 55}}

Every override whose labels a stream carries replaces values of `alerts`, in the order of the file. Settings that are not named
keep their defaults. `maintenance` says when nothing fires, `receivers` where alerts are delivered to; addresses and tokens can be
in files or in the environment.
`python -m streams.alerts.policy` prints the reference tables of docs/alerts.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator

from scorer.errors import in_own_words
from scorer.yaml_text import KeyTwiceError, line_of, load_yaml
from streams.alerts.limits import Alerts, Part
from streams.alerts.maintenance import Maintenance
from streams.alerts.receiver_settings import Receiver
from streams.bounds import bounds_of
from streams.errors import SettingsError
from streams.nearest import no_such_setting


class Override(Part):
    """Other limits for the streams that carry all of these labels."""

    labels: dict[str, str] = Field(min_length=1, description="Labels that a stream must carry, with these values.")
    alerts: dict[str, Any] = Field(description="What differs, in the shape of `alerts`.")


class AlertPolicy(Part):
    """The whole file."""

    alerts: Alerts = Field(default_factory=Alerts)
    overrides: list[Override] = Field(default_factory=list, max_length=1000)
    maintenance: list[Maintenance] = Field(default_factory=list, max_length=1000)
    receivers: list[Receiver] = Field(default_factory=list, max_length=20)
    _cache: dict[tuple[bool, tuple[int, ...]], Alerts] = PrivateAttr(default_factory=dict)

    @field_validator("receivers")
    @classmethod
    def _unique_names(cls, receivers: list[Receiver]) -> list[Receiver]:
        names = [receiver.name for receiver in receivers]
        if len(set(names)) < len(names):
            raise ValueError("two receivers have the same name")
        return receivers

    def of(self, labels: Mapping[str, str], at: datetime | None = None) -> Alerts:
        """The limits of a stream with these labels. at: when; None for a time without maintenance."""
        quiet = at is not None and any(work.concerns(labels) and work.lasts(at) for work in self.maintenance)
        matching = tuple(i for i, override in enumerate(self.overrides) if override.labels.items() <= labels.items())
        if (quiet, matching) not in self._cache:
            merged = self.alerts.model_dump()
            for i in matching:
                merged = _merged(merged, self.overrides[i].alerts)
            limits = Alerts.model_validate(merged)
            self._cache[quiet, matching] = limits.for_maintenance() if quiet else limits
        return self._cache[quiet, matching]

    def has_limits_of(self, other: AlertPolicy) -> bool:
        """Whether it judges every stream as another policy does."""
        return (self.alerts, self.overrides, self.maintenance) == (other.alerts, other.overrides, other.maintenance)


SETTING = "FVQ_ALERT_POLICY"


def load_policy(path: Path | None, named_by: str = SETTING) -> AlertPolicy:
    """The policy of a file, the defaults without one.

    named_by: what named the file, for errors: the setting, or an option or an argument of a command. Raises `SettingsError`,
    which names the wrong setting by its path in the file, and the line.
    """
    if path is None:
        return AlertPolicy()
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = load_yaml(text)
    except OSError as error:
        raise SettingsError(named_by, f"{path} cannot be read: {error.strerror}") from error
    except KeyTwiceError as error:
        raise SettingsError(named_by, f"{path}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(named_by, f"{path} is not YAML: {error}") from error
    try:
        return parse_policy({} if content is None else content)
    except SettingsError as error:
        raise SettingsError(error.path, f"{error.reason} ({path.name}, line {line_of(text, error.path)})") from None


def check_policy(path: Path | None, named_by: str = SETTING) -> AlertPolicy:
    """The policy of a file, as `load_policy`. Raises `SettingsError` also where a receiver's address or token cannot be read."""
    policy = load_policy(path, named_by)
    for receiver in policy.receivers:
        receiver.address()
        receiver.token()
        receiver.signing_secret()
    return policy


def parse_policy(content: object) -> AlertPolicy:
    """The policy of parsed YAML. Raises `SettingsError` as `load_policy` does."""
    try:
        policy = AlertPolicy.model_validate(content)
    except ValidationError as error:
        raise _explained(error, "", AlertPolicy) from None
    for i, override in enumerate(policy.overrides):
        try:
            Alerts.model_validate(_merged(policy.alerts.model_dump(), override.alerts))
        except ValidationError as error:
            raise _explained(error, f"overrides[{i}].alerts", Alerts) from None
    return policy


@lru_cache(maxsize=1)
def default_limits() -> Alerts:
    """The limits of a stream without a policy."""
    return AlertPolicy().of({})


def reference() -> str:
    """The tables of all settings, as Markdown."""
    lines = ["| setting | default | bounds | meaning |", "|---|---|---|---|"]

    def add(path: str, part: type[BaseModel], values: BaseModel) -> None:
        for name, field in part.model_fields.items():
            value = getattr(values, name)
            if isinstance(value, BaseModel):
                add(f"{path}.{name}", type(value), value)
            else:
                shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
                lines.append(f"| `{path}.{name}` | {shown} | {bounds_of(field)} | {field.description} |")

    add("alerts", Alerts, default_limits())
    parts: tuple[tuple[str, type[BaseModel]], ...] = (("an entry of `maintenance`", Maintenance), ("a receiver", Receiver))
    for title, model in parts:
        lines += ["", f"| of {title} | default | bounds | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "needed" if field.is_required() else "" if field.default in (None, {}) else field.get_default()
            default = f"{default:g}" if isinstance(default, float) else "" if not isinstance(default, str) else default
            lines.append(f"| `{field.alias or name}` | {default} | {bounds_of(field)} | {field.description} |")
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


def _names_at(root: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The settings of a group. path: of the group in what was validated, whose model is root."""
    for part in path:
        if isinstance(part, str):
            annotation = root.model_fields[part].annotation
            kinds = (annotation, *get_args(annotation))
            root = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return [field.alias or name for name, field in root.model_fields.items()]


def _example(root: type[BaseModel], path: Sequence[str | int]) -> str:
    """`; for example threshold: 40`, the default of a setting; '' where it has none. path: of the setting in root."""
    value: Any = default_limits() if root is Alerts else AlertPolicy()
    for part in path:
        value = getattr(value, str(part), None)
    return f"; for example {path[-1]}: {value:g}" if isinstance(value, int | float) else ""


_REMEDIES = {
    "bool_parsing": "is neither true nor false: write one of them",
    "string_type": "is no text: write it in quotes",
    "string_pattern_mismatch": "is no name: write small letters, digits and -, at most 40 of them",
}
"""What is wrong with a value and what to write, by pydantic's types of errors. Only the name of a receiver has a pattern."""


def _wrong_group(first: Mapping[str, Any], path: str, root: type[BaseModel]) -> str:
    """What is wrong with something that is no group of settings, or no list. first: pydantic's error. path: of the setting."""
    value = first["input"]
    if value is None:
        return "is empty: write what belongs below it, or leave the line out"
    if first["type"] == "list_type":
        return "is no list: write [black, frozen]" if path.endswith(".kinds") else "is no list: each entry begins with `- `"
    reason = f"{value!r} is not a group of settings"
    if first["type"] == "dict_type":
        return f"{reason}: write NAME: VALUE" if path.endswith(".labels") else reason
    if isinstance(value, bool) and "enabled" in _names_at(root, first["loc"]):
        return f"{reason}: write {{enabled: {str(value).lower()}}}"
    return reason


def _explained(error: ValidationError, prefix: str, root: type[BaseModel]) -> SettingsError:
    """The first problem as a sentence: `alerts.low_quality.threshold: 130 is over 100`.

    prefix: path of what was validated. root: its model.
    """
    first = error.errors(include_url=False)[0]
    path = prefix
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if first["type"] in _BOUNDS:
        word, bound = _BOUNDS[first["type"]]
        return SettingsError(path, f"{first['input']} is {word} {first['ctx'][bound]:g}{_example(root, first['loc'])}")
    if first["type"] == "extra_forbidden":
        if path in Alerts.model_fields:
            return SettingsError(path, "no such setting here: it belongs under alerts")
        return SettingsError(path, no_such_setting(str(first["loc"][-1]), _names_at(root, first["loc"][:-1])))
    # A receiver's wrong value may be its address, which is a secret.
    shown = "the value" if path.startswith("receivers") else repr(first["input"])
    if first["type"] in ("model_type", "dict_type", "list_type"):
        return SettingsError(path or "the policy", _wrong_group(first, path, root))
    if first["type"] in ("float_parsing", "int_parsing", "float_type", "int_type"):
        remedy = f"write the number alone, without a unit{_example(root, first['loc'])}"
        return SettingsError(path, f"{shown} is no number: {remedy}")
    if first["type"] in _REMEDIES:
        return SettingsError(path, f"{shown} {_REMEDIES[first['type']]}")
    reason = in_own_words(first["msg"])
    reason = reason[0].lower() + reason[1:]
    return SettingsError(path, reason if first["type"] in ("missing", "value_error") else f"{shown}: {reason}")


if __name__ == "__main__":
    print(reference(), end="")
