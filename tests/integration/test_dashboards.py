"""Every Flux query of the dashboards on a real InfluxDB, on scores that the product's own sink wrote."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_table import FluxRecord

from streams.events import FaceSummary, ModelRef
from streams.sinks.influx import InfluxBucket, InfluxSink
from tests.support.processes import ROOT
from tests.support.servers import InfluxServer
from tests.support.sinks import make_score

ODD = 'a/b "quoted" \\ ü'
"""A stream's id that is no text for Flux unless it is quoted well."""

PROGRAM = "${string(v: 1 + 1)}"
"""A stream's id that Flux would run, as a part of a text."""

BOARDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
QUERIES = {
    (name, panel["title"], target["refId"]): target["query"]
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel.get("datasource", {}).get("uid") == "influxdb"
    for target in panel["targets"]
}
VARIABLES = {
    (name, variable["name"]): variable["query"]
    for name, board in BOARDS.items()
    for variable in board["templating"].get("list", [])
    if variable["type"] == "query"
}
EXPECTED = {
    ("fleet", "Worst streams, 5 minutes", "A"): {20.0, 50.0, 80.0},
    ("fleet", "Scores of all streams", "A"): {20.0},
    ("fleet", "Scores of all streams", "B"): {50.0},
    ("fleet", "Scores of all streams", "C"): {80.0},
    ("fleet", "Share of streams below 40", "A"): {1 / 3},
    ("fleet", "Share of segments skipped", "A"): {0.25},
    ("fleet", "Renditions that are scored", "A"): {2, 1},
    ("fleet", "Scores by model", "A"): {50.0},
    ("fleet", "Expected error of the scores", "A"): {4.0},
    ("stream", "Score", "A"): {50.0},
    ("stream", "Worst and surest", "A"): {50.0},
    ("stream", "Worst and surest", "B"): {4.0},
    ("stream", "blur", "A"): {0.2},
    ("stream", "blockiness", "A"): {0.1},
    ("stream", "noise", "A"): {1.0},
    ("stream", "luma", "A"): {120.0},
    ("stream", "contrast", "A"): {40.0},
    ("stream", "black", "A"): {0.0},
    ("stream", "freeze", "A"): {0.0},
    ("stream", "face area", "A"): {0.2},
    ("stream", "Last scores", "A"): {50.0},
    ("stream", "Last skipped segments", "A"): {"too old"},
}
"""The values of each query, for the scores of `ask`; the stream is ODD."""

Ask = Callable[..., list[FluxRecord]]
"""Of a query, and of the hours up to now that are looked at: 1 if it is not said."""


@pytest.fixture
async def ask(influxdb: InfluxServer, request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """Asks a query, with the variables that Grafana sets, of a bucket with three streams and ten rounds of segments.

    `bad` has a score of 20 and `good` of 80 by one model, ODD of 50 by another. Each round has a skipped segment of ODD too.
    PROGRAM has one segment, two hours ago.
    """
    token, bucket = influxdb.token_file.read_text().strip(), f"dashboards-{time.monotonic_ns()}"
    nano, large = ModelRef(name="nano", version="1"), ModelRef(name="large", version="2")

    def run(query: str, hours: int = 1) -> list[FluxRecord]:
        # One window for all of a test, which no boundary of hours or days divides.
        times = f"timeRangeStart: -{hours}h, timeRangeStop: now(), windowPeriod: 10000d"
        variables = f'option v = {{defaultBucket: "{bucket}", {times}}}\n'
        # Grafana writes the values into the text. Here they are an option, which has to stand behind the imports.
        imports = "".join(f"{line}\n" for line in query.splitlines() if line.startswith("import "))
        rest = query.removeprefix(imports).replace("${stream:json}", json.dumps(ODD, ensure_ascii=False))
        return [record for table in client.query_api().query(imports + variables + rest) for record in table.records]

    with InfluxDBClient(influxdb.url, token, org="fvq", timeout=20_000) as client:
        client.buckets_api().create_bucket(bucket_name=bucket, org="fvq")
        sink = InfluxSink(InfluxBucket(influxdb.url, token, "fvq", bucket))
        for number in range(10):
            start = datetime.now(UTC) - timedelta(seconds=3 * number + 3)
            for stream, score, model in (("bad", 20.0, nano), ("good", 80.0, nano), (ODD, 50.0, large)):
                scored = {"score": score, "model": model, "faces": FaceSummary(count=1, area=0.2)}
                sink.add(make_score(stream_id=stream, segment_id=f"{stream}/{number}", start=start, **scored))
            nothing = dict.fromkeys(("score", "level", "level_probs", "uncertainty", "faces", "model", "signals"))
            skipped = nothing | {"status": "skipped", "reason": "too old", "start": start - timedelta(seconds=1)}
            sink.add(make_score(stream_id=ODD, segment_id=f"{ODD}/{number}/old", **skipped))
        sink.add(make_score(stream_id=PROGRAM, start=datetime.now(UTC) - timedelta(hours=2)))
        assert await sink.flush() == []
        await sink.close()
        yield run


def test_every_query_gives_what_its_panel_says(ask: Ask) -> None:
    values = {place: {record.get_value() for record in ask(query)} for place, query in QUERIES.items()}
    assert set(values) == set(EXPECTED)
    for place, expected in EXPECTED.items():
        assert sorted(values[place]) == pytest.approx(sorted(expected)), place


def test_the_worst_streams_are_first(ask: Ask) -> None:
    query = QUERIES["fleet", "Worst streams, 5 minutes", "A"]
    assert [record["stream_id"] for record in ask(query)] == ["bad", ODD, "good"]
    # Without PROGRAM also where it is in the range: the table's link would put it into a query.
    assert [record["stream_id"] for record in ask(query.replace("-5m", "-3h"))] == ["bad", ODD, "good"]


def test_the_streams_to_choose_from_are_all_but_those_that_flux_would_run(ask: Ask) -> None:
    ((_, query),) = VARIABLES.items()
    assert {record.get_value() for record in ask(query, hours=3)} == {"bad", "good", ODD}
    unfiltered = query.split("\n  |> filter")[0]
    assert {record.get_value() for record in ask(unfiltered, hours=3)} == {"bad", "good", ODD, PROGRAM}
