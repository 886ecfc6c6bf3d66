"""The reference page of the settings, made from their fields: `python -m streams.settings_page > docs/settings.md`."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from streams.bounds import bounds_of
from streams.setting_fields import GROUPS
from streams.setting_words import EXAMPLES, as_text, default_of
from streams.settings import Settings


def reference() -> str:
    """The settings' reference page, Markdown."""
    made = "What can be set, and how. Made by `python -m streams.settings_page > docs/settings.md`."
    lines = ["# Settings", "", made, ""]
    lines += [
        "Each setting is `FVQ_<NAME>` in the environment or `<name>` in the TOML file that `FVQ_CONFIG` names. The command line",
        "goes before the environment, the environment before the file. `fvq doctor` shows what differs from the defaults and",
        "where it was set; `fvq config` prints a sample file. A setting without a default",
        "is not set; its example shows what to write.",
    ]
    for group, heading in GROUPS.items():
        lines += [
            "",
            f"## {heading}",
            "",
            "| environment | default | example | unit | bounds | meaning |",
            "|---|---|---|---|---|---|",
        ]
        for name, field in Settings.model_fields.items():
            extra: Any = field.json_schema_extra
            if extra["group"] == group:
                cells = (_default(name, field), _example(name), extra["unit"], bounds_of(field), field.description)
                lines.append(f"| `FVQ_{name.upper()}` | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if name == "sampler_workers":
        return "the number of cores"
    value = default_of(name, field)
    return "" if value is None or value == [] else f"`{as_text(value)}`"


def _example(name: str) -> str:
    return f"`{as_text(EXAMPLES[name])}`" if name in EXAMPLES else ""


if __name__ == "__main__":
    print(reference(), end="")
