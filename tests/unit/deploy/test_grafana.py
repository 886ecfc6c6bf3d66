"""The dashboards: each query names metrics, labels and fields that there are, and a data source that is provisioned."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from streams.sinks.influx import MEASUREMENT
from tests.support.deploy import problems_of_promql
from tests.support.processes import ROOT

GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SOURCES = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/datasources.yaml").read_text())["datasources"]
}
PANELS = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
SINK = (ROOT / "streams/sinks/influx.py").read_text()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    source = SOURCES[panel["datasource"]["uid"]]
    assert panel["datasource"]["type"] == source["type"]
    assert panel["targets"]
    for target in panel["targets"]:
        problems = problems_of_promql(target["expr"]) if source["type"] == "prometheus" else problems_of_flux(target["query"])
        assert problems == []


def problems_of_flux(query: str) -> list[str]:
    """What a query names that the sink does not write: measurements, fields and tags."""
    problems = [f"measurement {name}" for name in re.findall(r'_measurement == "(\w+)"', query) if name != MEASUREMENT]
    columns = re.findall(r'"(\w+)"', " ".join(re.findall(r"columns: \[([^]]*)\]", query)))
    names = {*re.findall(r'_field == "(\w+)"', query), *(name for name in columns if not name.startswith("_"))}
    return problems + [f"field or tag {name}" for name in sorted(names) if not re.search(rf'"{name}"', SINK)]


def test_a_wrong_field_is_found() -> None:
    query = '|> filter(fn: (r) => r._measurement == "scores" and r._field == "points") |> group(columns: ["stream"])'
    assert problems_of_flux(query) == ["measurement scores", "field or tag points", "field or tag stream"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells
        taken |= cells


def test_no_secret_is_in_the_provisioning() -> None:
    for source in SOURCES.values():
        for name, value in source.get("secureJsonData", {}).items():
            assert value.startswith("$__file{/run/secrets/"), name
