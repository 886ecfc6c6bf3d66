"""The history on a real InfluxDB: the cases that run on the SQLite store as well."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from influxdb_client import InfluxDBClient

from streams.errors import HistoryError
from streams.events import ModelRef
from streams.history import influx
from streams.history.influx import InfluxHistory
from streams.sinks.influx import InfluxBucket, InfluxSink
from tests.support.history import START, HistoryCases, Store, after, ids, score_at
from tests.support.servers import InfluxServer


@pytest.fixture
async def store(influxdb: InfluxServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A sink and a history on a new, empty bucket. Both give the server more time than in service: these tests ask once."""
    monkeypatch.setattr("streams.sinks.influx.TIMEOUT_MS", 60_000)
    monkeypatch.setattr(influx, "QUERY_SECONDS", 60.0)
    token = influxdb.token_file.read_text().strip()
    name = f"history-{time.monotonic_ns()}"
    with InfluxDBClient(influxdb.url, token, org="fvq", timeout=60_000) as admin:
        admin.buckets_api().create_bucket(bucket_name=name, org="fvq")
    bucket = InfluxBucket(influxdb.url, token, "fvq", name)
    sink, history = InfluxSink(bucket), InfluxHistory(bucket)
    yield Store(sink, history)
    await history.close()
    await sink.close()


class TestInfluxHistory(HistoryCases):
    """The cases on InfluxDB."""


async def test_a_segment_with_two_points_is_there_once_with_its_score(store: Store) -> None:
    await store.put(score_at(0, model=ModelRef(name="nano", version="1")))
    await store.put(score_at(0, model=ModelRef(name="nano", version="2")), score_at(0, None))
    (score,) = await store.history.segments("s", None, START, after(1), 10)
    assert score.status == "scored"
    assert (await store.history.segment("s", "s/0")) == score


async def test_more_segments_than_the_newest_minutes_have(store: Store) -> None:
    await store.put(*(score_at(30 * i) for i in range(100)))
    newest = await store.history.segments("s", None, START, after(3000), 90)
    assert ids(newest) == [f"s/{30 * i}" for i in range(99, 9, -1)]


async def test_an_unreachable_server_and_a_slow_one_are_errors_of_the_history(
    influxdb: InfluxServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = InfluxHistory(InfluxBucket("http://127.0.0.1:1", "t", "fvq", "fvq"))
    with pytest.raises(HistoryError, match="cannot be reached"):
        await away.segment("s", "s/1")
    await away.close()
    wrong = InfluxHistory(InfluxBucket(influxdb.url, "wrong", "fvq", "fvq"))
    with pytest.raises(HistoryError, match="401"):
        await wrong.course("s", None, START, after(1), 5)
    await wrong.close()
    monkeypatch.setattr(influx, "QUERY_SECONDS", 0.0)
    with pytest.raises(HistoryError, match="ask for less"):
        await store.history.course("s", None, START, after(4000), 500)
