"""What `fvq plan` prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.errors import SettingsError
from streams.plan.plan import Demand, Limits, plan
from streams.plan.view import Line, as_json, lines, shown, warnings
from tests.unit.plan.test_plan import COSTS


def run(*arguments: str) -> Any:
    """The result of a command that is expected to work."""
    result = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_table_says_whose_costs_they_are_and_how_each_line_is_computed() -> None:
    text = run("--streams", "1000").stdout
    assert "NOT OF YOUR MACHINE" in text
    for part in ("workers", "partitions", "segments/s x (event + score)", "busiest worker", "breaks first"):
        assert part in text


def test_json_has_every_line_with_its_formula(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text(COSTS.to_json())
    arguments = ("--streams", "1000", "--segment-seconds", "2", "--worker-cores", "4", "--costs", str(file), "--json")
    report = json.loads(run(*arguments).stdout)
    values = {line["name"]: line["value"] for line in report["lines"]}
    assert values["segments"] == 500
    assert values["into Kafka"] == 600_000
    assert all(line["formula"] for line in report["lines"])
    assert report["lag"]["average"]["p50"] <= report["lag"]["busiest"]["p99"]
    assert report["breaks_first"][0]["streams"] >= 1000
    assert report["demand"]["aligned"] is True
    spread = json.loads(run(*arguments, "--spread").stdout)
    assert spread["lag"]["average"]["p50"] < report["lag"]["average"]["p50"]


@pytest.mark.parametrize(
    ("tiers", "arguments", "share"),
    [("off", [], 1.0), ("on", [], 0.1), ("on", ["--full-share", "0.3"], 0.3), ("off", ["--full-share", "0.3"], 0.3)],
)
def test_glances_are_planned_for_as_the_workers_give_them(
    tiers: str, arguments: list[str], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVQ_TIERS", tiers)
    report = json.loads(run("--streams", "1000", "--json", *arguments).stdout)
    assert report["demand"]["full_share"] == share
    (line,) = [line for line in report["lines"] if line["name"] == "CPU of a worker for a segment"]
    assert ("x glance" in line["formula"]) == (share < 1)


def test_the_costs_are_saved_for_another_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(COSTS.to_json())
    run("--streams", "10", "--costs", str(first), "--save", str(second))
    assert second.read_text() == first.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measure", "--costs", "costs.json"], "--costs: cannot be given with --measure"),
        (["--source", "clip.mp4"], "--source: is only used with --measure"),
        (["--segment-seconds", "0.2", "--worker-cores", "1", "--height", "4320"], "--worker-cores: one stream alone"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["plan", "--streams", "10", *arguments])
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--streams", "0"],
        ["--streams", "5", "--utilisation", "1"],
        ["--streams", "5", "--deep-share", "2"],
        ["--streams", "5", "--full-share", "-1"],
    ],
)
def test_numbers_out_of_bounds_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["plan", *arguments]).exit_code == 2


def test_an_unknown_gpu_cost_is_said() -> None:
    costs = COSTS.model_copy(update={"model": COSTS.model.model_copy(update={"deep_clip_s": None})})
    found = lines(plan(Demand(100, 2.0, deep_share=0.1), costs, Limits()), costs)
    (line,) = [line for line in found if line.name.startswith("GPUs")]
    assert line.value is None
    assert "not known" in line.note


def test_a_lag_near_the_live_window_is_warned_of() -> None:
    limits = Limits(live_window=12.0)
    assert any("live window" in text for text in warnings(plan(Demand(2000, 20.0), COSTS, limits)))
    assert not any("live window" in text for text in warnings(plan(Demand(2000, 2.0, aligned=False), COSTS, limits)))


def test_where_all_is_skipped_json_has_no_lag() -> None:
    result = plan(Demand(100, 2.0), COSTS, Limits(live_window=0.001))
    report = json.loads(json.dumps(as_json(result, COSTS, "test"), allow_nan=False))
    assert report["lag"]["average"]["p50"] is None
    assert report["lag"]["average"]["skipped"] == 1
    assert any("skips 100.0%" in text for text in report["warnings"])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "-"),
        (950, "bytes/s", "950 B/s"),
        (1.25e6, "bytes/s", "1.2 MB/s"),
        (3e9, "bytes/s", "3.0 GB/s"),
        (2048, "MiB", "2.0 GiB"),
        (1234.5, "/s", "1,234 /s"),
        (7, "", "7"),
        (0.1234, "s", "0.123 s"),
    ],
)
def test_values_are_shown_with_units(value: float | None, unit: str, text: str) -> None:
    assert shown(Line("name", value, unit, "formula")) == text
