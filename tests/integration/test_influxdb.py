"""The real InfluxDB: what the sink relies on holds, and its data survive a kill -9."""

from __future__ import annotations

from datetime import UTC, datetime

from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS

from tests.integration.harness import InfluxServer

QUERY = 'from(bucket: "fvq") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "harness")'


def values(influxdb: InfluxServer) -> list[float]:
    with InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq") as client:
        return [record.get_value() for table in client.query_api().query(QUERY) for record in table.records]


def test_a_point_of_the_same_time_and_tags_is_overwritten_and_survives_a_kill(influxdb: InfluxServer) -> None:
    point = Point("harness").tag("stream_id", "a").time(datetime.now(UTC))
    with InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq") as client:
        write = client.write_api(write_options=SYNCHRONOUS)
        write.write("fvq", record=point.field("score", 10.0))
        write.write("fvq", record=point.field("score", 70.0))
    assert values(influxdb) == [70.0]

    influxdb.kill()
    influxdb.start()
    assert values(influxdb) == [70.0]
