"""The costs' file: written and read, bounds, and heights that were not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.plan.costs import MAX_FILE_BYTES, SHIPPED, StageCosts, read_costs
from tests.unit.plan.test_plan import COSTS


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(COSTS.to_json())
    assert read_costs(path) == COSTS


def test_the_shipped_costs_say_on_which_machine_they_were_measured() -> None:
    costs = read_costs(SHIPPED)
    assert "cores" in costs.machine
    assert {360, 720, 1080} <= set(costs.sampling)


def changed(path: str, value: Any) -> str:
    """The JSON of `COSTS` with one value changed. path: names with dots."""
    values = json.loads(COSTS.to_json())
    *parents, name = path.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[name] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("model.clip_s", -1), r"model\.clip_s: must be greater than 0"),
        (changed("model.clip_s", float("nan")), r"model\.clip_s: must be a finite number"),
        (changed("model.clip_s", "fast"), r"model\.clip_s: must be a valid number"),
        (changed("model.clips", 1), r"model\.clips: Extra inputs are not permitted"),
        (changed("sampling", {}), r"sampling: Dictionary should have at least 1 item"),
        (changed("sampling", {"9": {}}), r"sampling\.9: must be greater than or equal to 16"),
        (
            changed("sampling.360", {"fixed_s": 0, "per_second_s": 0, "bytes_per_second": 1}),
            r"sampling\.360: sampling cannot cost nothing",
        ),
        (changed("memory.child_mb", 1e12), r"memory\.child_mb: must be less than or equal to 1000000"),
        ("[" * 100_000, r"is no JSON: .*fvq plan --measure --save FILE"),
        ("{", r"is no JSON: .*fvq plan --measure --save FILE"),
        ("[]", r"must be a valid dictionary"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_the_value(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as raised:
        read_costs(path)
    assert raised.value.path == str(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(SettingsError, match="has more than"):
        read_costs(path)


def test_a_glance_between_and_beyond_the_heights_that_were_measured() -> None:
    glances = {360: {"fixed_s": 0.002, "per_second_s": 0.001}, 720: {"fixed_s": 0.006, "per_second_s": 0.003}}
    sampling = {height: cost.model_dump() | {"glance": glances[height]} for height, cost in COSTS.sampling.items()}
    costs = StageCosts.model_validate(COSTS.model_dump() | {"sampling": sampling})
    assert costs.glance_seconds(720, 2.0) == pytest.approx(0.012)
    assert costs.glance_seconds(540, 2.0) == pytest.approx(0.004 + 5 / 12 * 0.008)
    assert costs.glance_seconds(1440, 2.0) == pytest.approx(4 * 0.012)
    assert COSTS.glance_seconds(540, 2.0) is None
    assert COSTS.glance_seconds(1440, 2.0) == pytest.approx(4 * 0.01)
    assert COSTS.glance_seconds(180, 2.0) is None


def test_a_height_between_is_in_proportion_to_the_area() -> None:
    # 360 x 360 = 129,600 and 720 x 720 = 518,400; 540 x 540 = 291,600 is 5/12 of the way.
    cost = COSTS.sampling_at(540)
    assert cost.fixed_s == pytest.approx(0.05 + 5 / 12 * 0.05)
    assert cost.per_second_s == pytest.approx(0.03 + 5 / 12 * 0.07)
    assert COSTS.sampling_seconds(720, 2.0) == pytest.approx(0.3)


def test_beyond_the_measured_heights_the_part_for_each_second_grows_with_the_area() -> None:
    assert COSTS.sampling_seconds(1440, 2.0) == pytest.approx(0.1 + 2 * 0.1 * 4)
    assert COSTS.sampling_seconds(180, 2.0) == pytest.approx(0.05 + 2 * 0.03 / 4)


@given(height=st.integers(16, 4320), more=st.integers(1, 1000), seconds=st.floats(0.2, 60))
def test_larger_pictures_and_longer_segments_never_cost_less(height: int, more: int, seconds: float) -> None:
    cost = COSTS.sampling_seconds(height, seconds)
    assert cost <= COSTS.sampling_seconds(height + more, seconds) + 1e-12
    assert cost <= COSTS.sampling_seconds(height, seconds + 1)
