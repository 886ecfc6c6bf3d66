"""Specifications: what is saved and sent, what is refused, and those that a recipe may name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.remote.wire import spec_of
from scorer.sampling.statistics import SIDES
from scorer.spec import FIRST_NAMES, SPEC_FILE, SPECIFICATIONS, STATISTICS_VERSION, SamplerSpec


def test_a_specification_of_before_names_what_earlier_versions_know(tmp_path: Path) -> None:
    SamplerSpec(frames=8).save(tmp_path)
    assert set(json.loads((tmp_path / SPEC_FILE).read_text())) == FIRST_NAMES
    assert SamplerSpec.load(tmp_path) == SamplerSpec(frames=8)


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_each_specification_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    spec = SPECIFICATIONS[name]
    spec.save(tmp_path)
    assert SamplerSpec.load(tmp_path) == spec
    assert spec_of(spec.values()) == spec


def test_the_lean_specification_looks_at_less() -> None:
    standard, lean = SPECIFICATIONS["standard"], SPECIFICATIONS["lean"]
    assert standard == SamplerSpec()
    assert lean.pixels < standard.pixels
    assert (lean.decoded, lean.searched) == ("references", "crops")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"decoded": "some"}, "decoded is 'some', not all or references"),
        ({"searched": 3}, "searched is 3, not all or crops"),
        ({"thinning": 0}, "thinning is 0, not a whole number within 1-128"),
        ({"statistics_version": STATISTICS_VERSION + 1}, "statistics_version is 4, and the newest here is 3"),
    ],
)
def test_what_cannot_be_sampled_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SamplerSpec.from_values(SamplerSpec().values() | values)


def test_each_version_of_the_statistics_has_its_crops() -> None:
    assert set(SIDES) == set(range(1, STATISTICS_VERSION + 1))
    assert replace(SamplerSpec(), statistics_version=STATISTICS_VERSION).values()["statistics_version"] == STATISTICS_VERSION
