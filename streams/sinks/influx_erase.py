"""Deleting a stream's points from InfluxDB, by its delete API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from influxdb_client import InfluxDBClient

from streams.errors import SinkError
from streams.sinks.influx import MEASUREMENT, InfluxBucket, sink_errors

TIMEOUT_MS = 120_000
"""The server answers when the points are gone; a stream has 1,300,000 of them in a month."""

BEGIN, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
NEEDED = "the deletion needs a token that may read and write the bucket"

COUNT = f"""
from(bucket: wanted_bucket) |> range(start: wanted_start, stop: wanted_stop)
    |> filter(fn: (r) => r._measurement == "{MEASUREMENT}" and r._field == wanted_field and r.stream_id == wanted_stream)
    |> group() |> count()
"""


def erase_stream(bucket: InfluxBucket, stream_id: str, dry_run: bool) -> dict[str, int]:
    """Delete a stream's points from the bucket of scores and from that of hourly values; returns how many there were, by bucket.

    A bucket that this token does not see is left out. dry_run: only count. Raises `SinkError`, also where points are still there
    afterwards.
    """
    counts: dict[str, int] = {}
    with sink_errors(bucket.url, NEEDED), InfluxDBClient(bucket.url, bucket.token, org=bucket.org, timeout=TIMEOUT_MS) as client:
        for name, field in ((bucket.bucket, "segment_id"), (bucket.hourly, "segments")):
            if client.buckets_api().find_bucket_by_name(name) is None:
                continue
            stored = stored_names(stream_id)
            counts[name] = sum(count_points(client, name, field, tag) for tag in stored)
            if dry_run:
                continue
            for tag in stored:
                client.delete_api().delete(BEGIN, END, predicate_of(tag), bucket=name, org=bucket.org)
            if left := sum(count_points(client, name, field, tag) for tag in stored):
                raise SinkError(f"InfluxDB {bucket.url}: {left} points of the stream are still in bucket {name}")
    return counts


def stored_names(stream_id: str) -> list[str]:
    """The tag values under which the sink's client stores a stream.

    Its line protocol has no ends of lines in tags: the client writes a backslash and a letter for them, and a space for a
    backslash at the end.
    """
    written = stream_id.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return list(dict.fromkeys((stream_id, written, written[:-1] + " " if written.endswith("\\") else written)))


def predicate_of(tag: str) -> str:
    """What the delete API calls the points of a stream. tag: as it is stored."""
    quoted = tag.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'_measurement="{MEASUREMENT}" AND stream_id="{quoted}"'


def count_points(client: InfluxDBClient, bucket: str, field: str, tag: str) -> int:
    """The number of a stream's points in a bucket."""
    values: dict[str, Any] = {
        "wanted_bucket": bucket, "wanted_field": field, "wanted_stream": tag, "wanted_start": BEGIN, "wanted_stop": END,
    }  # fmt: skip
    tables = client.query_api().query(COUNT, params=values)
    return sum(record.get_value() for table in tables for record in table.records)
