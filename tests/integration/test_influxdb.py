"""The sink against a real InfluxDB: what is written can be read back by Flux, once, whatever happens in between."""

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

from streams import parts
from streams.errors import SinkError
from streams.events import FaceSummary, ModelRef, SegmentScore, Signals
from streams.settings import Settings
from streams.sinks.influx import InfluxBucket, InfluxSink
from streams.sinks.influx_setup import set_up
from tests.support.processes import ROOT, fvq
from tests.support.proxy import FaultProxy
from tests.support.servers import InfluxServer
from tests.support.waiting import wait_for

NOW = datetime.now(UTC).replace(microsecond=123_000)


@pytest.fixture
def bucket(influxdb: InfluxServer, request: pytest.FixtureRequest) -> str:
    """An empty bucket of the test's own."""
    name = f"{request.node.name}-{time.monotonic_ns()}"
    with client(influxdb) as one:
        one.buckets_api().create_bucket(bucket_name=name, org="fvq")
    return name


def client(influxdb: InfluxServer) -> InfluxDBClient:
    return InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq", timeout=20_000)


def sink(influxdb: InfluxServer, bucket: str, url: str = "") -> InfluxSink:
    return InfluxSink(InfluxBucket(url or influxdb.url, influxdb.token_file.read_text().strip(), "fvq", bucket))


def a_score(number: int = 0, **changes: Any) -> SegmentScore:
    fields: dict[str, Any] = {
        "stream_id": 'studio 7, "a=b"',
        "segment_id": f"s/{number}",
        "sequence": number,
        "uri": "file:///a",
        "start": NOW - timedelta(minutes=5) + timedelta(seconds=2 * number),
        "duration": 2.0,
        "rendition": "720p",
        "labels": {"tier": "premium"},
        "status": "scored",
        "score": 61.5,
        "level": "good",
        "level_probs": {"good": 0.7, "fair": 0.3},
        "uncertainty": 4.0,
        "faces": FaceSummary(count=1, area=0.2),
        "model": ModelRef(name="nano", version="1"),
        "signals": Signals(black=0, freeze=0, blur=0.2, blockiness=0.1, noise=1, luma=120, contrast=40),
    }
    return SegmentScore(**(fields | changes))


def rows(influxdb: InfluxServer, bucket: str) -> list[FluxRecord]:
    """One record for each point, its fields as columns."""
    query = (
        f'from(bucket: "{bucket}") |> range(start: -1h, stop: 1h) |> filter(fn: (r) => r._measurement == "segment_score") '
        '|> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group() |> sort(columns: ["sequence"])'
    )
    with client(influxdb) as one:
        return [record for table in one.query_api().query(query) for record in table.records]


async def test_a_score_is_read_back_as_it_was_and_a_repeated_one_is_the_same_point(influxdb: InfluxServer, bucket: str) -> None:
    for changes in ({"score": 10.0}, {}):
        one = sink(influxdb, bucket)  # each life of a worker has its own
        one.add(a_score(**changes))
        one.add(a_score(1, status="skipped", reason="too late", score=None, model=None, rendition=None))
        assert await one.flush() == []
        await one.close()
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
    one = sink(influxdb, bucket)
    one.add(a_score())
    await one.flush()
    influxdb.kill()
    one.add(a_score(1))
    with pytest.raises(SinkError, match="cannot be reached"):
        await one.flush()
    influxdb.start()
    assert await one.flush() == []
    assert [row["segment_id"] for row in rows(influxdb, bucket)] == ["s/0", "s/1"]
    await one.close()


async def test_a_refused_point_is_found_and_the_others_are_written(influxdb: InfluxServer, bucket: str) -> None:
    one = sink(influxdb, bucket)
    for number in range(50):
        # Times that InfluxDB cannot hold, before and after those that it can.
        changes = {17: {"start": datetime(1500, 1, 1, tzinfo=UTC)}, 31: {"start": datetime(2500, 1, 1, tzinfo=UTC)}}.get(
            number, {}
        )
        one.add(a_score(number, **changes))
    rejected = await one.flush()
    assert [refused.score.sequence for refused in rejected] == [17, 31]
    assert all("400" in refused.reason or "422" in refused.reason for refused in rejected)
    assert [row["sequence"] for row in rows(influxdb, bucket)] == [n for n in range(50) if n not in (17, 31)]
    assert await one.flush() == [], "what was refused is not tried again"
    await one.close()


@pytest.fixture
def proxy(influxdb: InfluxServer) -> Iterator[FaultProxy]:
    with FaultProxy(influxdb.url) as running:
        yield running


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_a_server_that_refuses_everything_costs_no_score(
    influxdb: InfluxServer, bucket: str, proxy: FaultProxy, status: int
) -> None:
    one = sink(influxdb, bucket, proxy.url)
    for number in range(10):
        one.add(a_score(number))
    proxy.behave(status, Retry_After="7")
    with pytest.raises(SinkError) as failed:
        await one.flush()
    assert failed.value.retry_after == (0 if status == 400 else 7)
    proxy.behave()
    assert await one.flush() == []
    assert len(rows(influxdb, bucket)) == 10
    await one.close()


async def test_more_points_than_one_request_takes(
    influxdb: InfluxServer, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.sinks.influx.WRITE_POINTS", 20)
    one = sink(influxdb, bucket, proxy.url)
    for number in range(50):
        one.add(a_score(number))
    assert await one.flush() == []
    assert proxy.passed == 3
    assert len(rows(influxdb, bucket)) == 50
    await one.close()


async def test_a_token_for_the_one_bucket_is_enough_for_a_worker(influxdb: InfluxServer, bucket: str, tmp_path: Path) -> None:
    with client(influxdb) as one:
        found = one.buckets_api().find_bucket_by_name(bucket)
        resource = PermissionResource(type="buckets", id=found.id, org_id=found.org_id)
        permissions = [Permission(action=action, resource=resource) for action in ("read", "write")]
        made = one.authorizations_api().create_authorization(org_id=found.org_id, permissions=permissions)
    (tmp_path / "token").write_text(made.token + "\n")
    place = parts.influx_bucket(Settings(influx_url=influxdb.url, influx_token_file=tmp_path / "token", influx_bucket=bucket))
    worker = InfluxSink(place)
    assert bucket in await worker.check()
    worker.add(a_score())
    assert await worker.flush() == []
    assert len(rows(influxdb, bucket)) == 1
    with pytest.raises(SinkError, match="a token that may create buckets"):
        set_up(place, retention_days=30, hourly_days=400)
    await worker.close()


async def test_the_queries_of_the_page_answer(influxdb: InfluxServer, bucket: str) -> None:
    page = ROOT.joinpath("docs/influxdb.md").read_text()
    worst, day = ('from(bucket: "fvq")' + text.split("\n\n")[0] for text in page.split('from(bucket: "fvq")')[1:])
    one = sink(influxdb, bucket)
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
    for number in range(60):
        stream, good = ("studio-7", 80.0) if number % 2 else ("studio-8", 30.0)
        start = begin + timedelta(seconds=number)
        one.add(a_score(number, stream_id=stream, score=good + number // 2 % 2, start=start))
    assert await one.flush() == []
    await one.close()
    with client(influxdb) as asked:
        tables = [asked.query_api().query(query.replace('"fvq"', f'"{bucket}"')) for query in (worst, day)]
    assert [(one["stream_id"], one.get_value()) for table in tables[0] for one in table.records] == [
        ("studio-8", 30.5), ("studio-7", 80.5),
    ]  # fmt: skip
    assert [one.get_value() for table in tables[1] for one in table.records] == [80.5], "one minute with segments, one point"


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
        made = json.loads(done.stdout)["checks"][0]["detail"]
        assert made.count(word) == 3, made
    other = fvq("doctor", "--setup", "--json", **(settings | {"FVQ_INFLUX_RETENTION_DAYS": "5"}))
    assert "wanted is kept 5 days: left as it is" in json.loads(other.stdout)["checks"][0]["detail"]

    with client(influxdb) as one:
        buckets = one.buckets_api()
        kept = [buckets.find_bucket_by_name(bucket).retention_rules[0].every_seconds for bucket in (name, f"{name}_hourly")]
        assert kept == [3 * 86400, 400 * 86400]
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        points = [f"segment_score,stream_id=s,status=scored score={value} {int((hour + timedelta(minutes=minute)).timestamp())}"
                  for minute, value in ((1, 20), (30, 80))]  # fmt: skip
        with one.write_api() as write:
            write.write(name, record=points, write_precision="s")
        tasks = one.tasks_api()
        (task,) = tasks.find_tasks(name=f"{name}_hourly from {name}")
        run = tasks.run_manually(task.id)
        wait_for("the task's run", lambda: tasks.get_run(task.id, run.id).status in ("success", "failed"), 90)
        assert tasks.get_run(task.id, run.id).status == "success", tasks.get_run_logs(task.id, run.id)
        query = f'from(bucket: "{name}_hourly") |> range(start: -3h)'
        found = [record for table in one.query_api().query(query) for record in table.records]
    assert {(record.get_field(), record.get_value()) for record in found} == {
        ("score_mean", 50.0), ("score_min", 20.0), ("segments", 2),
    }  # fmt: skip
    assert {record.get_time() for record in found} == {hour}, "hours without segments are no points"
