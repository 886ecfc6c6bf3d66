"""JSON Schema as tables of Markdown, for the reference pages of the events and of the wall's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

HEADER = ("| field | type | bounds | default | meaning |", "|---|---|---|---|---|")

BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "under {}",
    "minLength": "at least {} character(s)",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} names",
}

TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}

Meaning = Callable[[str, Mapping[str, Any]], str]


def table_of(schema: Mapping[str, Any], meaning: Meaning | None = None) -> list[str]:
    """The fields of an object's schema as lines of a table.

    meaning: what a field means, by its name and its schema; without it, what the schema says.
    """
    required = schema.get("required", ())
    lines = [*HEADER]
    for name, part in schema.get("properties", {}).items():
        default = "needed" if name in required else default_of(part)
        words = str(part.get("description", "")) if meaning is None else meaning(name, part)
        cells = (f"`{name}`", type_of(part), bounds_of(part), default, words)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return lines


def default_of(part: Mapping[str, Any]) -> str:
    """The default as JSON; '' where it is null or there is none."""
    default = part.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def type_of(part: Mapping[str, Any]) -> str:
    """The type of a schema in words; other schemas are links to their headings on the same page."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(type_of(kind) for kind in part["anyOf"] if kind.get("type") != "null"))
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if part.get("type") == "array":
        return f"list of {type_of(part.get('items', {}))}"
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) and values else "object"
    if part.get("format") == "date-time":
        return "time"
    return TYPES.get(part.get("type", ""), "anything")


def bounds_of(part: Mapping[str, Any]) -> str:
    """What a value must keep to, in words; '' where there is nothing."""
    parts = [part, *(kind for kind in part.get("anyOf", ()))]
    words = [text.format(kind[key]) for kind in parts for key, text in BOUNDS.items() if key in kind]
    patterns = [f"as `{kind['pattern']}`" for kind in parts if "pattern" in kind]
    return ", ".join(words + patterns)


def _cell(text: str) -> str:
    """A text that stays in its cell."""
    return " ".join(text.replace("|", "\\|").split())
