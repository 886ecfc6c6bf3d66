"""YAML as people type it: a key that stands twice is refused with both lines."""

from __future__ import annotations

import pytest
import yaml

from scorer.yaml_text import KeyTwiceError, load_yaml


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", "in line 1 and in line 3"),
        ("alerts:\n  low_quality: {threshold: 60}\n  low_quality: {minimum: 3}\n", "in line 2 and in line 3"),
        ("{a: 1, b: [{c: 1,\n 'c': 2}]}", "in line 1 and in line 2"),
        ("1: a\n0x1: b\n", "in line 1 and in line 2"),
        ("yes: a\ntrue: b\n", "in line 1 and in line 2"),
        ("x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n", "in line 4 and in line 5"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_with_both_lines(text: str, lines: str) -> None:
    with pytest.raises(KeyTwiceError, match=lines):
        load_yaml(text)


def test_the_same_key_in_two_mappings_is_no_fault() -> None:
    assert load_yaml("a: {x: 1}\nb: {x: 2}\nc: [{x: 3}, {x: 4}]\n") == {"a": {"x": 1}, "b": {"x": 2}, "c": [{"x": 3}, {"x": 4}]}


def test_a_key_may_replace_one_that_is_merged_in() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b\n  <<: *a\n  x: 2\nc:\n  <<: *b\n  x: 3\n"
    assert load_yaml(text) == {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 3, "y": 1}}


@pytest.mark.parametrize("text", ["a: [1", "a: 2026-13-45", "2026-13-45: a", "[" * 5000])
def test_what_is_no_yaml_is_a_yaml_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


def test_a_mistake_is_told_in_one_line_with_its_place() -> None:
    with pytest.raises(yaml.YAMLError, match=r"^line 2: expected ',' or '\]', but got '<stream end>'$"):
        load_yaml("a: [1\n")
