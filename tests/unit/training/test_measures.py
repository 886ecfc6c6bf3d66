"""Labels in two steps: which measure is taken, and what a segment that was damaged twice is worth."""

from __future__ import annotations

import pytest

from training.data.damage.catalogue import LADDERS, VMAF_TRUSTED
from training.data.degradations import KINDS, REFERENCE_LABEL
from training.data.measures import absolute, is_made_here, is_measured, is_trusted, measure_of, parts_of_kind, points
from training.data.samples import TIMED, WHOLE, parts_of

SOURCES = [name for name, ladder in LADDERS.items() if ladder.stage == "source"]


@pytest.mark.parametrize("name", list(LADDERS))
def test_every_ladder_has_a_measure_and_a_reason(name: str) -> None:
    choice = measure_of(name)
    assert choice.measure == LADDERS[name].measure
    assert len(choice.why) > 20
    assert is_made_here(name)


def test_kinds_of_segments_that_were_damaged_once_or_twice() -> None:
    assert parts_of_kind("reference") == (None, 0, None)
    assert parts_of_kind("blur") == ("blur", 0, None)
    assert parts_of_kind("x264") == (None, 0, "x264")
    assert parts_of_kind("scale+x264@motion-blur-2") == ("motion-blur", 2, "scale+x264")
    assert parts_of_kind("some@mail") == (None, 0, "some@mail")


def test_vmaf_judges_both_damages_where_it_sees_both() -> None:
    assert measure_of("x264@blur-2").measure == "vmaf"
    assert absolute("x264@blur-2", 80, 70, 61.2) == 61.2
    # VMAF does not see that the scene was darkened.
    assert measure_of("x264@dark-2").measure == "product"
    assert "dark" in measure_of("x264@dark-2").why
    assert absolute("x264@dark-2", 50, 50, 95.0) == 25


@pytest.mark.parametrize("source", SOURCES)
def test_a_label_is_never_better_than_its_source_and_falls_with_each_step(source: str) -> None:
    ladder = LADDERS[source]
    if ladder.target is None:
        return
    grades = [points(ladder, step, 99.0) for step in range(ladder.steps)]
    assert grades == sorted(grades, reverse=True)
    for grade in grades:
        assert absolute(f"freeze@{source}-0", grade, 68, 99.0) < grade


def test_a_perfect_delivery_leaves_the_source_as_it_is() -> None:
    assert absolute("freeze@dark-1", 80, 100, 12.0) == 80
    assert absolute("dark", 80, 100, 12.0) == 80
    assert absolute("x264", REFERENCE_LABEL, 50, 44.0) == REFERENCE_LABEL / 2


def test_the_kinds_that_are_never_cut_are_ladders_and_are_found_in_segments_that_were_damaged_twice() -> None:
    assert set(LADDERS) >= TIMED
    rows = [{"kind": kind} for kind in ("stalls@blur-1", "x264@exposure-hunting-2", "x264@blur-1") for _ in range(40)]
    parts = parts_of(rows, 1)
    assert all(part == WHOLE for part in parts[:80])
    assert any(part != WHOLE for part in parts[80:])


def test_what_was_trusted_before_still_is() -> None:
    assert {kind for kind in LADDERS if is_trusted(kind) and LADDERS[kind].measure == "vmaf"} == VMAF_TRUSTED
    assert {kind for kind in KINDS if is_measured(kind)} == {kind for kind, is_vmaf in KINDS.items() if is_vmaf}
    assert is_trusted("reference")
    assert is_trusted("rated by people")
    assert not is_made_here("rated by people")
    assert not is_trusted("x264@noise-1")
