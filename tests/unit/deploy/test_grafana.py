"""The dashboards: each query names metrics, labels and fields that there are, and a data source that is provisioned."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.sinks.influx import MEASUREMENT, to_point
from tests.support.deploy import checker, problems_of_promql
from tests.support.processes import PYTHON, ROOT
from tests.support.sinks import make_score

GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SOURCES = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/datasources.yaml").read_text())["datasources"]
}
BOARDS = {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
POINTS = (to_point(make_score(small_score=40.0)), to_point(make_score(status="skipped", reason="old", score=None, signals=None)))
FIELDS = {name for point in POINTS for name in point._fields}
TAGS = {name for point in POINTS for name in point._tags}


def test_the_files_are_what_the_code_makes() -> None:
    checked = subprocess.run([PYTHON, ROOT / "scripts/grafana/dashboards", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_a_file_that_was_changed_by_hand_is_found(tmp_path: Path) -> None:
    for folder in ("scripts/grafana", "deploy/grafana/dashboards"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    changed, new = tmp_path / "deploy/grafana/dashboards/fleet.json", tmp_path / "deploy/grafana/dashboards/mine.json"
    changed.write_text(changed.read_text().replace("Worst streams", "Best streams"))
    new.write_text("{}")
    checked = subprocess.run([PYTHON, tmp_path / "scripts/grafana/dashboards", "--check"], capture_output=True, text=True)
    assert checked.returncode == 1
    assert {name for name in ("fleet", "mine", "stream", "pipeline") if f"{name}.json" in checked.stderr} == {"fleet", "mine"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    source = SOURCES[panel["datasource"]["uid"]]
    assert panel["datasource"]["type"] == source["type"]
    assert panel["targets"]
    for target in panel["targets"]:
        problems = problems_of_promql(target["expr"]) if source["type"] == "prometheus" else problems_of_flux(target["query"])
        assert problems == []


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    queries = [target["expr"] for param in PANELS for target in param.values[0]["targets"] if "expr" in target]
    rules = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m")} for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = subprocess.run([checker("promtool"), "check", "rules", str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(queries)} rules found" in checked.stdout


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_variable_asks_for_what_there_is(board: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in board["templating"].get("list", [])}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]) + json.dumps(board.get("links", []))))
    assert used <= set(variables) | {"__rate_interval", "__value", "__url_time_range"}
    for variable in variables.values():
        if variable["type"] == "query":
            assert problems_of_flux(variable["query"]) == []
            assert variable["datasource"]["uid"] in SOURCES


def problems_of_flux(query: str) -> list[str]:
    """What a query names that the sink does not write: measurements, fields and tags."""
    problems = [f"measurement {name}" for name in re.findall(r'_measurement == "(\w+)"', query) if name != MEASUREMENT]
    problems += [f"field {name}" for name in re.findall(r'_field == "(\w+)"', query) if name not in FIELDS]
    columns = re.findall(r'"(\w+)"', " ".join(re.findall(r"columns: \[([^]]*)\]", query)))
    tags = {*columns, *re.findall(r"\br\.(\w+) ==", query), *re.findall(r'\btag: "(\w+)"', query)}
    return problems + [f"tag {name}" for name in sorted(tags) if not name.startswith("_") and name not in TAGS]


def test_a_wrong_field_is_found() -> None:
    query = (
        '|> filter(fn: (r) => r._measurement == "scores" and r._field == "points" and r.id == "a") |> group(columns: ["stream"])'
    )
    assert problems_of_flux(query) == ["measurement scores", "field points", "tag id", "tag stream"]
    assert problems_of_flux('schema.tagValues(bucket: v.defaultBucket, tag: "label")') == ["tag label"]


def test_a_stream_is_chosen_as_json_and_never_pasted_bare() -> None:
    queries = [target["query"] for panel in BOARDS["stream"]["panels"] for target in panel["targets"]]
    assert all(re.findall(r"\$\{?stream[^}]*\}?", query) == ["${stream:json}"] for query in queries)


def test_a_panel_and_a_dashboard_have_an_id_of_their_own() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        assert 0 not in ids


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells
        taken |= cells


def test_no_secret_is_in_the_provisioning() -> None:
    for source in SOURCES.values():
        for name, value in source.get("secureJsonData", {}).items():
            assert value.startswith("$__file{/run/secrets/"), name
