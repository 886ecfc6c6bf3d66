"""What the InfluxDB sink needs on its server, made once: `fvq doctor --setup`.

The bucket that scores are written to, a second one for hourly values, which are kept longer, and the task that computes
them. What is there already is left as it is: a shorter retention would delete data.
"""

from __future__ import annotations

from typing import Any

from influxdb_client import BucketRetentionRules, InfluxDBClient, TaskCreateRequest
from influxdb_client.domain.bucket import Bucket

from streams.sinks.influx import MEASUREMENT, TIMEOUT_MS, InfluxBucket, sink_errors

DAY = 24 * 3600
NEEDED = "the set-up needs a token that may create buckets and tasks, and FVQ_INFLUX_ORG"

# Whole hours alone, two of them, so that scores which come up to an hour late are in; a repeated hour overwrites itself.
# Without `createEmpty: false` every hour without a segment would be a row without a value.
HOURLY_FLUX = """import "date"

option task = {{name: "{task}", every: 1h, offset: 5m}}

scores = () =>
    from(bucket: "{bucket}")
        |> range(start: date.sub(d: 2h, from: date.truncate(t: now(), unit: 1h)), stop: date.truncate(t: now(), unit: 1h))
        |> filter(fn: (r) => r._measurement == "{measurement}" and r._field == "score")

scores() |> aggregateWindow(every: 1h, fn: mean, timeSrc: "_start", createEmpty: false)
    |> set(key: "_field", value: "score_mean") |> to(bucket: "{hourly}")
scores() |> aggregateWindow(every: 1h, fn: min, timeSrc: "_start", createEmpty: false)
    |> set(key: "_field", value: "score_min") |> to(bucket: "{hourly}")
scores() |> aggregateWindow(every: 1h, fn: count, timeSrc: "_start", createEmpty: false)
    |> set(key: "_field", value: "segments") |> to(bucket: "{hourly}")
"""


def set_up(place: InfluxBucket, retention_days: int, hourly_days: int) -> list[str]:
    """Create the buckets and the task that are missing; returns one line about each. Raises `SinkError`.

    retention_days, hourly_days: how long the scores, and the hourly values, are kept; 0 for ever.
    """
    with sink_errors(place.url, NEEDED), InfluxDBClient(place.url, place.token, org=place.org, timeout=TIMEOUT_MS) as client:
        return [
            _bucket(client, place.bucket, retention_days),
            _bucket(client, place.hourly, hourly_days),
            _task(client, place),
        ]


def task_name(place: InfluxBucket) -> str:
    """Name of the task that computes the hourly values."""
    return f"{place.hourly} from {place.bucket}"


def _bucket(client: InfluxDBClient, name: str, days: int) -> str:
    buckets = client.buckets_api()
    found: Bucket | None = buckets.find_bucket_by_name(name)
    if found is None:
        rule = BucketRetentionRules(type="expire", every_seconds=days * DAY)
        buckets.create_bucket(bucket_name=name, retention_rules=[rule])
        return f"bucket {name}: created, {_kept(days * DAY)}"
    seconds = sum(rule.every_seconds for rule in found.retention_rules or ())
    wanted = "" if seconds == days * DAY else f", wanted is {_kept(days * DAY)}: left as it is"
    return f"bucket {name}: there, {_kept(seconds)}{wanted}"


def _task(client: InfluxDBClient, place: InfluxBucket) -> str:
    name = task_name(place)
    flux = HOURLY_FLUX.format(task=name, bucket=place.bucket, hourly=place.hourly, measurement=MEASUREMENT)
    tasks: Any = client.tasks_api()
    if tasks.find_tasks(name=name):
        return f"task {name!r}: there"
    organisation = client.organizations_api().find_organizations(org=place.org)[0]
    tasks.create_task(task_create_request=TaskCreateRequest(org_id=organisation.id, flux=flux, status="active"))
    return f"task {name!r}: created"


def _kept(seconds: int) -> str:
    return f"kept {seconds / DAY:g} days" if seconds else "kept for ever"
