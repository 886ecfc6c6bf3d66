"""`fvq history fill`: a restored or new sink gets the scores that Kafka still has: a real Kafka, a real InfluxDB, SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import InfluxDBClient
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from typer.testing import CliRunner

from streams.cli.app import app
from streams.events import SCORES_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.spans import TimeSpan
from streams.kafka.topics import create_topics
from streams.sinks.base import Rejected
from streams.sinks.influx import InfluxBucket, InfluxSink
from streams.sinks.influx_setup import set_up
from streams.sinks.sqlite import SqliteSink
from tests.support.processes import fvq
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.sinks import make_score

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
BACK_UP = NOW - 3 * HOUR
PLACES = {"studio 1": 0, 'studio "2"': 1, "forgotten": 1}
"""The partition of each stream. Kafka cannot delete the messages of the last one, which stand between those of another."""

STREAMS = tuple(PLACES)


def score_at(stream: str, number: int) -> SegmentScore:
    """A score of a stream, one for every 10 minutes of the last hours. number: 0 to 35; the back-up is at 18."""
    start = NOW - 6 * HOUR + timedelta(minutes=10 * number)
    return make_score(stream_id=stream, segment_id=f"{stream}/{number}", sequence=number, start=start, score=float(number))


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.fixture
def broker(kafka: KafkaServer) -> str:
    """A Kafka whose scores' topic has 36 scores of each stream, and three messages that are none."""
    create_topics(Connection(kafka.broker), 3, 1)
    producer = KafkaProducer(bootstrap_servers=kafka.broker, acks="all")
    for number in range(36):
        for stream in STREAMS:
            score = score_at(stream, number)
            answered = milliseconds(score.start + timedelta(seconds=5))
            producer.send(
                SCORES_TOPIC, key=stream.encode(), value=score.to_bytes(), timestamp_ms=answered, partition=PLACES[stream]
            )
        if number in (1, 20, 21):
            producer.send(SCORES_TOPIC, value=b'{"stream_id": "foreign"}', timestamp_ms=answered, partition=2)
    producer.flush()
    producer.close()
    return kafka.broker


def fill(*arguments: str, code: int = 0, **settings: str) -> dict[str, Any]:
    finished = fvq("history", "fill", *arguments, "--json", **settings)
    assert finished.returncode == code, finished.stdout + finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout)
    assert report["ok"] == (code == 0)
    return report


def groups(broker: str) -> set[str]:
    admin = KafkaAdminClient(bootstrap_servers=broker)
    try:
        return {group["group_id"] for group in admin.list_groups()}
    finally:
        admin.close()


def values(influxdb: InfluxServer, bucket: str, field: str) -> dict[tuple[str, datetime], list[Any]]:
    """All values of a field, by stream and time: a list, so that a point that is there twice shows."""
    query = f'from(bucket: "{bucket}") |> range(start: -1d) |> filter(fn: (r) => r._field == "{field}")'
    found: dict[tuple[str, datetime], list[Any]] = {}
    with InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq", timeout=20_000) as reader:
        for table in reader.query_api().query(query):
            for record in table.records:
                found.setdefault((record["stream_id"], record.get_time()), []).append(record.get_value())
    return found


@pytest.mark.timeout(900)
async def test_influxdb_is_filled_from_the_back_up_on_and_twice_is_once(
    broker: str, influxdb: InfluxServer, tmp_path: Path
) -> None:
    bucket = InfluxBucket(influxdb.url, influxdb.token_file.read_text().strip(), "fvq", f"fill-{time.monotonic_ns()}")
    set_up(bucket, retention_days=30, hourly_days=400)
    sink = InfluxSink(bucket)
    for number in range(18):  # what the back-up has
        for stream in STREAMS[:2]:
            sink.add(score_at(stream, number))
    assert await sink.flush() == []
    await sink.close()
    settings = {
        "FVQ_BROKER": broker, "FVQ_INFLUX_URL": bucket.url, "FVQ_INFLUX_TOKEN": bucket.token,
        "FVQ_INFLUX_BUCKET": bucket.bucket, "FVQ_DATA_DIR": str(tmp_path),
    }  # fmt: skip
    assert fvq("forget", "forgotten", "--yes", **settings).returncode == 0
    others = groups(broker)

    expected = {(stream, score_at(stream, number).start): [float(number)] for number in range(36) for stream in STREAMS[:2]}
    for _ in range(2):
        report = fill("--from", BACK_UP.isoformat(), **settings)
        assert (report["written"], report["unreadable"]["count"]) == (36, 2)
        assert report["deleted_streams"] == 18, "what was forgotten does not come back"
        assert values(influxdb, bucket.bucket, "score") == expected
    assert all(f"{SCORES_TOPIC}, partition " in sentence for sentence in report["unreadable"]["first"])
    assert groups(broker) <= others, "it is in no group; Kafka itself removes those that are empty"

    this_hour = NOW.replace(minute=0, second=0)
    segments, means = (values(influxdb, bucket.hourly, field) for field in ("segments", "score_mean"))
    for stream in STREAMS[:2]:
        hour = BACK_UP.replace(minute=0, second=0) + HOUR
        while hour < this_hour:
            numbers = [number for number in range(36) if hour <= score_at(stream, number).start < hour + HOUR]
            assert (segments[stream, hour], means[stream, hour]) == ([6], [sum(numbers) / 6])
            hour += HOUR

    away = fvq("history", "fill", "--from", "1h", **settings | {"FVQ_INFLUX_BUCKET": "missing"})
    assert away.returncode == 1
    assert "no bucket 'missing' that this token may see" in away.stderr


def test_a_new_sqlite_store_is_filled_with_what_kafka_has_of_a_time(broker: str, tmp_path: Path) -> None:
    settings = {"FVQ_BROKER": broker, "FVQ_DATA_DIR": str(tmp_path)}
    for _ in range(2):
        report = fill("--from", BACK_UP.isoformat(), "--to", (BACK_UP + HOUR).isoformat(), **settings)
        assert (report["written"], report["unreadable"]["count"], report["cut_off"]) == (18, 2, [])
        with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
            rows = connection.execute("select stream_id, score from scores order by stream_id, start").fetchall()
        assert rows == [(stream, float(number)) for stream in sorted(STREAMS) for number in range(18, 24)]
    finished = fvq("history", "fill", "--from", "7d", **settings)
    assert finished.returncode == 0, finished.stderr
    assert "108 scores written into SQLite store" in finished.stdout
    assert finished.stderr.count("cannot be read, and is passed over") == 3
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        assert connection.execute("select count(*) from scores").fetchone() == (108,)
    wrong = fvq("history", "fill", "--from", "1h", "--to", "2h", **settings)
    assert (wrong.returncode, "--from: 1h is not before --to 2h" in wrong.stderr) == (2, True)


def test_what_kafka_has_deleted_is_said(broker: str, tmp_path: Path) -> None:
    at = TopicPartition(SCORES_TOPIC, 1)
    producer = KafkaProducer(bootstrap_servers=broker)
    producer.send(SCORES_TOPIC, value=score_at("late", 35).to_bytes(), partition=at.partition).get(timeout=30)
    producer.close()
    with TimeSpan(Connection(broker), SCORES_TOPIC, NOW - 7 * HOUR) as span:
        assert (span.total, span.cut_off) == (3 * 36 + 3 + 1, [])
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.delete_records({at: 1})
    admin.close()
    with TimeSpan(Connection(broker), SCORES_TOPIC, NOW - 7 * HOUR) as span:
        assert (span.total, span.cut_off) == (3 * 36 + 3, [at.partition])
    finished = fvq("history", "fill", "--from", "2d", FVQ_BROKER=broker, FVQ_DATA_DIR=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert f"Kafka has deleted messages of partition {at.partition}, perhaps some from --from on" in finished.stderr
    staging = fvq("history", "fill", "--from", "2d", FVQ_BROKER=broker, FVQ_DATA_DIR=str(tmp_path), FVQ_TOPIC_PREFIX="staging.")
    assert (staging.returncode, "topic staging.training-queue is missing" in staging.stderr) == (1, True)


def test_a_message_with_a_clock_ahead_hides_none_behind_it(broker: str, tmp_path: Path) -> None:
    producer = KafkaProducer(bootstrap_servers=broker, acks="all")
    for number, answered in ((36, NOW + HOUR / 2), (37, NOW - HOUR / 2), (38, NOW - HOUR / 2)):
        score = score_at("studio 1", number)
        producer.send(SCORES_TOPIC, value=score.to_bytes(), timestamp_ms=milliseconds(answered), partition=PLACES["studio 1"])
    producer.flush()
    producer.close()
    settings = {"FVQ_BROKER": broker, "FVQ_DATA_DIR": str(tmp_path)}
    report = fill("--from", BACK_UP.isoformat(), "--to", NOW.isoformat(), **settings)
    assert report["written"] == 3 * 18 + 2, "but for the one with the clock ahead"
    for last in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"):
        assert fill("--from", "0001-01-01T00:00:00+14:00", "--to", last, **settings)["written"] == 3 * 36 + 3


def test_a_stream_that_is_forgotten_meanwhile_does_not_come_back(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"FVQ_BROKER": broker, "FVQ_DATA_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    flush = SqliteSink.flush

    async def forget_then_flush(sink: SqliteSink) -> list[Rejected]:
        monkeypatch.setattr(SqliteSink, "flush", flush)
        forgotten = fvq("forget", "forgotten", "--yes", **settings)
        assert forgotten.returncode == 0, forgotten.stderr
        return await flush(sink)

    monkeypatch.setattr(SqliteSink, "flush", forget_then_flush)
    result = CliRunner().invoke(app, ["history", "fill", "--from", "2d"])
    assert result.exit_code == 0, result.output
    assert "forgotten was deleted meanwhile: what was written of it is deleted again" in result.stderr
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        counts = connection.execute("select stream_id, count(*) from scores group by stream_id").fetchall()
    assert dict(counts) == {'studio "2"': 36, "studio 1": 36}
