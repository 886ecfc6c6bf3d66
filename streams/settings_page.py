"""The reference page of the settings, made from their fields: `python -m streams.settings_page > docs/settings.md`."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from streams.setting_fields import GROUPS
from streams.settings import Settings


def reference() -> str:
    """The settings' reference page, Markdown."""
    lines = ["# Settings", "", "Made by `python -m streams.settings_page > docs/settings.md`.", ""]
    lines += [
        "Each setting is `FVQ_<NAME>` in the environment or `<name>` in the TOML file that `FVQ_CONFIG` names. The command line",
        "goes before the environment, the environment before the file. `fvq doctor` shows each value and where it was set.",
    ]
    for group, heading in GROUPS.items():
        lines += ["", f"## {heading}", "", "| environment | default | unit | bounds | meaning |", "|---|---|---|---|---|"]
        for name, field in Settings.model_fields.items():
            extra: Any = field.json_schema_extra
            if extra["group"] == group:
                cells = (_default(name, field), extra["unit"], _bounds(field), field.description)
                lines.append(f"| `FVQ_{name.upper()}` | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if name == "sampler_workers":
        return "the number of cores"
    value = field.get_default(call_default_factory=True)
    if value is None or value == []:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else format(value, 'g') if isinstance(value, float) else value}`"


def _bounds(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    words = {"ge": "at least {}", "gt": "over {}", "le": "at most {}", "lt": "under {}", "min_length": "at least {} character"}
    limits = [(word, getattr(limit, key)) for limit in field.metadata for key, word in words.items() if hasattr(limit, key)]
    return ", ".join(word.format(limit) for word, limit in limits)


if __name__ == "__main__":
    print(reference(), end="")
