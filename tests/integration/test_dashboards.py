"""The dashboards' queries on a real InfluxDB, on scores that the product's own sink wrote."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_table import FluxRecord

from streams.sinks.influx import InfluxBucket, InfluxSink
from tests.support.processes import ROOT
from tests.support.servers import InfluxServer
from tests.support.sinks import make_score

PANELS = json.loads((ROOT / "deploy/grafana/dashboards/fleet.json").read_text())["panels"]
QUERIES = {
    panel["title"]: target["query"] for panel in PANELS if panel["datasource"]["uid"] == "influxdb" for target in panel["targets"]
}
Ask = Callable[[str], list[FluxRecord]]


@pytest.fixture
async def scores(influxdb: InfluxServer, request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """Asks a panel's query, with the variables that Grafana sets, of a bucket with two streams.

    `bad` has a score of 20, `good` one of 80, in ten segments each of the last half minute.
    """
    token, bucket = influxdb.token_file.read_text().strip(), f"{request.node.name}-{time.monotonic_ns()}"
    variables = f'option v = {{defaultBucket: "{bucket}", timeRangeStart: -1h, timeRangeStop: now(), windowPeriod: 1h}}\n'
    with InfluxDBClient(influxdb.url, token, org="fvq", timeout=20_000) as client:
        client.buckets_api().create_bucket(bucket_name=bucket, org="fvq")
        sink = InfluxSink(InfluxBucket(influxdb.url, token, "fvq", bucket))
        for number in range(10):
            for stream, score in (("bad", 20.0), ("good", 80.0)):
                start = datetime.now(UTC) - timedelta(seconds=3 * number + 3)
                sink.add(make_score(stream_id=stream, segment_id=f"{stream}/{number}", start=start, score=score))
        assert await sink.flush() == []
        await sink.close()
        yield lambda title: [record for table in client.query_api().query(variables + QUERIES[title]) for record in table.records]


def test_the_worst_streams_are_first(scores: Ask) -> None:
    records = scores("Worst streams, 5 minutes")
    assert [(record["stream_id"], record.get_value()) for record in records] == [("bad", 20.0), ("good", 80.0)]


def test_the_mean_of_all_streams(scores: Ask) -> None:
    records = scores("Scores of all streams")
    assert records
    assert {record.get_value() for record in records} == {50.0}


def test_every_query_has_a_test() -> None:
    assert set(QUERIES) == {"Worst streams, 5 minutes", "Scores of all streams"}
