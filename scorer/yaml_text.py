"""YAML as people type it: a key that stands twice in a mapping is an error, because one of its two values would be lost."""

from __future__ import annotations

import re
from typing import Any

import yaml


class KeyTwiceError(yaml.YAMLError):
    """A key stands twice in one mapping; the text names both lines."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # The nodes as they are written: `construct_mapping` would also see the keys that `<<` adds, which may be replaced.
        node = super().compose_mapping_node(anchor)
        lines: dict[object, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            value = key.value if key.tag.endswith((":str", ":merge", ":value")) else self.construct_object(key)
            line = key.start_mark.line + 1
            if value in lines:
                raise KeyTwiceError(f"the key {key.value} is there twice, in line {lines[value]} and in line {line}: delete one")
            lines[value] = line
        return node


def load_yaml(text: str) -> object:
    """The value of a YAML text, made of plain types. Raises `yaml.YAMLError`; `KeyTwiceError` where a mapping has a key twice."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        # PyYAML's own text has several lines, with a picture of the place.
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise yaml.YAMLError(f"{place}{error.problem}") from error
    except ValueError as error:
        # PyYAML's own message about a date or a number that there is not.
        raise yaml.YAMLError(str(error)) from error
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def line_of(text: str, path: str) -> int:
    """The line of a value in a YAML text that `load_yaml` takes; where the value is not there, that of what it belongs to.

    path: of the value, as `overrides[0].labels`.
    """
    node = yaml.compose(text, yaml.SafeLoader)
    line = 1
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode) and (pair := _pair_of(node, part)) is not None:
            line, node = pair[0].start_mark.line + 1, pair[1]
        else:
            break
    return line


def _pair_of(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of a mapping's key; None where the mapping has no such key."""
    return next(((key, value) for key, value in node.value if key.value == name), None)
