"""The sink on a real InfluxDB: Flux reads each written score back exactly once, also after failures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import InfluxDBClient, Permission, PermissionResource
from influxdb_client.client.flux_table import FluxRecord
from influxdb_client.rest import ApiException

from streams import parts
from streams.errors import SinkError
from streams.events import SegmentScore
from streams.settings import Settings
from streams.sinks.influx import InfluxBucket, InfluxSink
from streams.sinks.influx_setup import set_up
from tests.support.processes import ROOT, fvq
from tests.support.proxy import FaultProxy
from tests.support.servers import InfluxServer
from tests.support.sinks import make_score
from tests.support.waiting import wait_for

NOW = datetime.now(UTC).replace(microsecond=123_000)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product gives InfluxDB ten seconds to answer and then tries again; these tests ask once."""
    for module in ("influx", "influx_setup"):
        monkeypatch.setattr(f"streams.sinks.{module}.TIMEOUT_MS", 60_000)


@pytest.fixture
def bucket(influxdb: InfluxServer, request: pytest.FixtureRequest) -> str:
    """A new, empty bucket for one test."""
    name = f"{request.node.name}-{time.monotonic_ns()}"
    with client(influxdb) as admin:
        admin.buckets_api().create_bucket(bucket_name=name, org="fvq")
    return name


def client(influxdb: InfluxServer) -> InfluxDBClient:
    return InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq", timeout=60_000)


def open_sink(influxdb: InfluxServer, bucket: str, url: str = "") -> InfluxSink:
    return InfluxSink(InfluxBucket(url or influxdb.url, influxdb.token_file.read_text().strip(), "fvq", bucket))


def score_number(number: int = 0, **changes: Any) -> SegmentScore:
    """The score of one segment of a stream. number: its sequence number, and its place in time."""
    fields: dict[str, Any] = {
        "stream_id": 'studio 7, "a=b"',
        "segment_id": f"s/{number}",
        "sequence": number,
        "start": NOW - timedelta(minutes=5) + timedelta(seconds=2 * number),
        "rendition": "720p",
        "labels": {"tier": "premium"},
    }
    return make_score(**(fields | changes))


def rows(influxdb: InfluxServer, bucket: str) -> list[FluxRecord]:
    """One record for each point, its fields as columns."""
    query = (
        f'from(bucket: "{bucket}") |> range(start: -1d, stop: 1h) |> filter(fn: (r) => r._measurement == "segment_score") '
        '|> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group() |> sort(columns: ["sequence"])'
    )
    with client(influxdb) as reader:
        return [record for table in reader.query_api().query(query) for record in table.records]


async def test_a_score_is_read_back_as_it_was_and_a_repeated_one_is_the_same_point(influxdb: InfluxServer, bucket: str) -> None:
    for changes in ({"score": 10.0}, {}):
        sink = open_sink(influxdb, bucket)  # a restarted worker has a new sink
        sink.add(score_number(**changes))
        sink.add(score_number(1, status="skipped", reason="too late", score=None, model=None, rendition=None))
        assert await sink.flush() == []
        await sink.close()
    scored, skipped = rows(influxdb, bucket)
    assert scored.get_time() == NOW - timedelta(minutes=5)
    tags = ("stream_id", "rendition", "model", "status")
    assert [scored[tag] for tag in tags] == ['studio 7, "a=b"', "720p", "nano@1", "scored"]
    assert (scored["segment_id"], scored["score"], scored["p_good"], scored["faces"], scored["luma"]) == (
        "s/0", 61.5, 0.7, 1, 120.0,
    )  # fmt: skip
    assert "tier" not in scored.values, "labels are no tags"
    assert (skipped["rendition"], skipped["status"], skipped["reason"]) == ("default", "skipped", "too late")


async def test_scores_survive_a_kill_of_the_server_and_wait_while_it_is_down(influxdb: InfluxServer, bucket: str) -> None:
    sink = open_sink(influxdb, bucket)
    sink.add(score_number())
    await sink.flush()
    influxdb.kill()
    sink.add(score_number(1))
    with pytest.raises(SinkError, match="cannot be reached"):
        await sink.flush()
    influxdb.start()
    assert await sink.flush() == []
    assert [row["segment_id"] for row in rows(influxdb, bucket)] == ["s/0", "s/1"]
    await sink.close()


async def test_a_refused_point_is_found_and_the_others_are_written(influxdb: InfluxServer, bucket: str) -> None:
    sink = open_sink(influxdb, bucket)
    for number in range(50):
        # InfluxDB cannot store these two times: one is too early, one too late.
        years = {17: 1500, 31: 2500}
        changes = {"start": datetime(years[number], 1, 1, tzinfo=UTC)} if number in years else {}
        sink.add(score_number(number, **changes))
    rejected = await sink.flush()
    assert [refusal.place for refusal in rejected] == [17, 31]
    assert all("400" in refusal.reason or "422" in refusal.reason for refusal in rejected)
    assert [row["sequence"] for row in rows(influxdb, bucket)] == [n for n in range(50) if n not in (17, 31)]
    assert await sink.flush() == [], "refused scores are not written again"
    await sink.close()


@pytest.fixture
def proxy(influxdb: InfluxServer) -> Iterator[FaultProxy]:
    with FaultProxy(influxdb.url) as running:
        yield running


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_no_score_is_lost_if_the_server_refuses_everything(
    influxdb: InfluxServer, bucket: str, proxy: FaultProxy, status: int
) -> None:
    sink = open_sink(influxdb, bucket, proxy.url)
    for number in range(10):
        sink.add(score_number(number))
    proxy.behave(status, Retry_After="7")
    with pytest.raises(SinkError) as failed:
        await sink.flush()
    assert failed.value.retry_after == (0 if status == 400 else 7)
    proxy.behave()
    assert await sink.flush() == []
    assert len(rows(influxdb, bucket)) == 10
    await sink.close()


async def test_many_points_are_written_in_several_requests(
    influxdb: InfluxServer, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.sinks.influx.WRITE_POINTS", 20)
    sink = open_sink(influxdb, bucket, proxy.url)
    for number in range(50):
        sink.add(score_number(number))
    assert await sink.flush() == []
    assert proxy.passed == 3
    assert len(rows(influxdb, bucket)) == 50
    await sink.close()


async def test_a_token_for_the_one_bucket_is_enough_for_a_worker(influxdb: InfluxServer, bucket: str, tmp_path: Path) -> None:
    with client(influxdb) as admin:
        details = admin.buckets_api().find_bucket_by_name(bucket)
        resource = PermissionResource(type="buckets", id=details.id, org_id=details.org_id)
        permissions = [Permission(action=action, resource=resource) for action in ("read", "write")]
        authorization = admin.authorizations_api().create_authorization(org_id=details.org_id, permissions=permissions)
    (tmp_path / "token").write_text(authorization.token + "\n")
    place = parts.influx_bucket(Settings(influx_url=influxdb.url, influx_token_file=tmp_path / "token", influx_bucket=bucket))
    worker = InfluxSink(place)
    assert bucket in await worker.check()
    worker.add(score_number())
    assert await worker.flush() == []
    assert len(rows(influxdb, bucket)) == 1
    with pytest.raises(SinkError, match="a token that may create buckets"):
        set_up(place, retention_days=30, hourly_days=400)
    await worker.close()


async def test_the_queries_of_the_docs_page_work(influxdb: InfluxServer, bucket: str) -> None:
    page = ROOT.joinpath("docs/sinks.md").read_text()
    worst, day = ('from(bucket: "fvq")' + text.split("\n\n")[0] for text in page.split('from(bucket: "fvq")')[1:])
    sink = open_sink(influxdb, bucket)
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
    for number in range(60):
        stream, good = ("studio-7", 80.0) if number % 2 else ("studio-8", 30.0)
        start = begin + timedelta(seconds=number)
        sink.add(score_number(number, stream_id=stream, score=good + number // 2 % 2, start=start))
    assert await sink.flush() == []
    await sink.close()
    with client(influxdb) as reader:
        tables = [reader.query_api().query(query.replace('"fvq"', f'"{bucket}"')) for query in (worst, day)]
    assert [(record["stream_id"], record.get_value()) for table in tables[0] for record in table.records] == [
        ("studio-8", 30.5), ("studio-7", 80.5),
    ]  # fmt: skip
    assert [record.get_value() for table in tables[1] for record in table.records] == [80.5], (
        "one minute with segments, one point"
    )


def test_doctor_sets_up_buckets_and_task_once_and_the_task_computes_hours(influxdb: InfluxServer, tmp_path: Path) -> None:
    name = f"set-up-{time.monotonic_ns()}"
    settings = {
        "FVQ_INFLUX_URL": influxdb.url,
        "FVQ_INFLUX_TOKEN": influxdb.token_file.read_text().strip(),
        "FVQ_INFLUX_BUCKET": name,
        "FVQ_INFLUX_RETENTION_DAYS": "3",
        "FVQ_DATA_DIR": str(tmp_path),
    }
    for word in ("created", "there"):
        done = fvq("doctor", "--setup", "--json", **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert settings["FVQ_INFLUX_TOKEN"] not in done.stdout + done.stderr
        detail = json.loads(done.stdout)["checks"][0]["detail"]
        assert detail.count(word) == 3, detail
    other = fvq("doctor", "--setup", "--json", **(settings | {"FVQ_INFLUX_RETENTION_DAYS": "5"}))
    assert "wanted is kept 5 days: left as it is" in json.loads(other.stdout)["checks"][0]["detail"]

    with client(influxdb) as admin:
        buckets = admin.buckets_api()
        kept = [buckets.find_bucket_by_name(bucket).retention_rules[0].every_seconds for bucket in (name, f"{name}_hourly")]
        assert kept == [3 * 86400, 400 * 86400]
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        points = [f"segment_score,stream_id=s,status=scored score={value} {int((hour + timedelta(minutes=minute)).timestamp())}"
                  for minute, value in ((1, 20), (30, 80))]  # fmt: skip
        with admin.write_api() as write:
            write.write(name, record=points, write_precision="s")
        tasks = admin.tasks_api()
        (task,) = tasks.find_tasks(name=f"{name}_hourly from {name}")
        run = tasks.run_manually(task.id)
        wait_for("the task's run", lambda: run_status(tasks, task.id, run.id) in ("success", "failed"), 90)
        assert run_status(tasks, task.id, run.id) == "success", tasks.get_run_logs(task.id, run.id)
        query = f'from(bucket: "{name}_hourly") |> range(start: -3h)'
        records = [record for table in admin.query_api().query(query) for record in table.records]
    assert {(record.get_field(), record.get_value()) for record in records} == {
        ("score_mean", 50.0), ("score_min", 20.0), ("segments", 2),
    }  # fmt: skip
    assert {record.get_time() for record in records} == {hour}, "hours without segments are no points"


def run_status(tasks: Any, task_id: str, run_id: str) -> str:
    """The status of a task's run; "" while InfluxDB does not find it: a run that ends is moved to another bucket."""
    try:
        return str(tasks.get_run(task_id, run_id).status)
    except ApiException as error:
        if error.status != 404:
            raise
        return ""
