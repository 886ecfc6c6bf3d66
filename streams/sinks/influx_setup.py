"""`fvq doctor --setup`: creates on the server what the InfluxDB sink needs.

That is the bucket for scores, a second bucket for hourly values, which are kept longer, and the task that computes these.
Buckets and tasks that exist are not changed: a shorter retention would delete data.
"""

from __future__ import annotations

from typing import Any

from influxdb_client import BucketRetentionRules, InfluxDBClient, TaskCreateRequest
from influxdb_client.domain.bucket import Bucket

from streams.sinks.influx import MEASUREMENT, TIMEOUT_MS, InfluxBucket, sink_errors
from streams.sinks.influx_hourly import task_flux

DAY = 24 * 3600
NEEDED = "the set-up needs a token that may create buckets and tasks, and FVQ_INFLUX_ORG"


def set_up(bucket: InfluxBucket, retention_days: int, hourly_days: int) -> list[str]:
    """Create missing buckets and the task; returns one line about each.

    retention_days, hourly_days: how long scores and hourly values are kept, days; 0 for ever. Raises `SinkError`.
    """
    with sink_errors(bucket.url, NEEDED), InfluxDBClient(bucket.url, bucket.token, org=bucket.org, timeout=TIMEOUT_MS) as client:
        return [
            _bucket(client, bucket.bucket, retention_days),
            _bucket(client, bucket.hourly, hourly_days),
            _task(client, bucket),
        ]


def task_name(bucket: InfluxBucket) -> str:
    """Name of the task that computes the hourly values."""
    return f"{bucket.hourly} from {bucket.bucket}"


def _bucket(client: InfluxDBClient, name: str, days: int) -> str:
    buckets = client.buckets_api()
    bucket: Bucket | None = buckets.find_bucket_by_name(name)
    if bucket is None:
        rule = BucketRetentionRules(type="expire", every_seconds=days * DAY)
        buckets.create_bucket(bucket_name=name, retention_rules=[rule])
        return f"bucket {name}: created, {_kept(days * DAY)}"
    seconds = sum(rule.every_seconds for rule in bucket.retention_rules or ())
    wanted = "" if seconds == days * DAY else f", wanted is {_kept(days * DAY)}: left as it is"
    return f"bucket {name}: there, {_kept(seconds)}{wanted}"


def _task(client: InfluxDBClient, bucket: InfluxBucket) -> str:
    name = task_name(bucket)
    flux = task_flux(name, bucket.bucket, bucket.hourly, MEASUREMENT)
    tasks: Any = client.tasks_api()
    if tasks.find_tasks(name=name):
        return f"task {name!r}: there"
    organisation = client.organizations_api().find_organizations(org=bucket.org)[0]
    tasks.create_task(task_create_request=TaskCreateRequest(org_id=organisation.id, flux=flux, status="active"))
    return f"task {name!r}: created"


def _kept(seconds: int) -> str:
    return f"kept {seconds / DAY:g} days" if seconds else "kept for ever"
