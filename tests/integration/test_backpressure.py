"""A scorer slower than its input: consumption pauses, memory does not grow, lag is reported, live segments stay fresh."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.pages import metric, read_page
from tests.support.processes import FREE_WORKER, Worker
from tests.support.servers import InfluxServer, KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

PADDING = {f"label-{number}": "x" * 1000 for number in range(30)}
"""Labels that make events of 30 kB. A worker that read more than it can score would grow by hundreds of MiB."""


def events(folder: Path, count: int, start: datetime, labels: dict[str, str] | None = None, first: int = 0) -> list[SegmentEvent]:
    """Segments of four streams, numbered from `first`, 25 ms apart in event time."""
    media = folder / "segment.ts"
    media.touch()
    return [
        SegmentEvent(
            stream_id=f"s-{number % 4}",
            segment_id=f"s-{number % 4}/{number}",
            sequence=number,
            uri=media.as_uri(),
            start=start + timedelta(milliseconds=25 * (number - first)),
            duration=1.0,
            labels=labels or {},
        )
        for number in range(first, first + count)
    ]


def resident_mb(worker: Worker) -> float:
    """Resident memory of a worker's own process, MiB."""
    return int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@contextmanager
def running(kafka: KafkaServer, folder: Path, **settings: str) -> Iterator[tuple[Worker, int]]:
    """A worker whose scorer only sleeps for FVQ_TEST_SCORE_MS, and the port of its pages.

    It stays in its group where the machine stands still for a while: its segments would else be answered twice, and be counted.
    """
    port = free_ports(1)
    defaults = {
        "FVQ_BROKER": kafka.broker, "FVQ_MEDIA_ROOTS": str(folder), "FVQ_SESSION_TIMEOUT": "30", "FVQ_WEB_PORT": str(port),
    }  # fmt: skip
    worker = Worker("worker", folder, command=FREE_WORKER, **(defaults | settings)).start()
    try:
        yield worker, port
    except BaseException:
        print(worker.tail())
        raise
    finally:
        worker.kill()


@pytest.mark.timeout(400)
def test_a_slow_scorer_leaves_memory_flat_and_its_lag_is_reported(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    count = 4000
    produce(kafka.broker, SEGMENTS_TOPIC, events(tmp_path, count, datetime.now(UTC), PADDING))
    follower = Follower(kafka.broker, SCORES_TOPIC)
    # The worker scores 16 segments a second, so 120 MB of events wait; they must stay in Kafka.
    with running(kafka, tmp_path, FVQ_TEST_SCORE_MS="500", FVQ_LIVE_WINDOW="off") as (worker, port):
        wait_for("answers", lambda: len(follower.read()) >= 50, 120)
        start = time.monotonic()
        curve: list[tuple[float, float, float]] = []
        while (seconds := time.monotonic() - start) < 21:
            curve.append((seconds, resident_mb(worker), sum(metric(port, "fvq_consumer_lag_messages"))))
            time.sleep(3)
        before = len(follower.read())
        lags = metric(port, "fvq_consumer_lag_messages")
        after = len(follower.read())
        worker.stop()
    print("\n| seconds | resident MiB | messages waiting |\n|---|---|---|")
    print("\n".join(f"| {seconds:.0f} | {size:.0f} | {lag:.0f} |" for seconds, size, lag in curve))
    sizes = [size for _, size, _ in curve]
    assert max(sizes) - sizes[0] < 40, "memory grows"
    assert len(lags) == 4, "one lag for each partition"
    # The two figures may differ by answers that are not committed yet or came after the last measurement: seconds of work.
    assert count - after - 300 < sum(lags) < count - before + 300
    follower.close()


@pytest.mark.timeout(400)
def test_lag_in_event_time_stays_bounded_with_a_live_window(kafka: KafkaServer, tmp_path: Path) -> None:
    # One partition: the worker reads partitions in turn, so one with more segments than others could exceed the bound.
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    window = 8.0
    follower = Follower(kafka.broker, SCORES_TOPIC)
    # 40 segments a second come in and 16 are scored. Without the window, each second would add 1.5 s of lag.
    with running(kafka, tmp_path, FVQ_TEST_SCORE_MS="500", FVQ_LIVE_WINDOW=str(window)) as (worker, port):
        # The metric is there before the worker has its partition, and what waits meanwhile would be late.
        wait_for("ready", lambda: read_page(port, "/readyz")[0] == 200, 120)
        sent = 0
        start = datetime.now(UTC)
        while (elapsed := (datetime.now(UTC) - start).total_seconds()) < 40:
            # These segments end now; their numbers continue those of the batch before.
            batch = events(tmp_path, 40, start + timedelta(seconds=elapsed - 1), first=sent)
            sent += len(batch)
            produce(kafka.broker, SEGMENTS_TOPIC, batch)
            time.sleep(max(0.0, sent / 40 - (datetime.now(UTC) - start).total_seconds()))
        wait_for("every answer", lambda: len(follower.read()) >= sent, 120)
        worker.stop()
    scores = [SegmentScore.from_bytes(value) for value in follower.values]
    by_status = {
        status: [score.timing["lag_s"] for score in scores if score.status == status] for status in ("scored", "skipped")
    }
    print(
        f"\n{sent} segments at 40/s: "
        + ", ".join(f"{len(lags)} {name}, lag up to {max(lags):.1f} s" for name, lags in by_status.items())
    )
    assert by_status["scored"]
    assert by_status["skipped"]
    # Skipping takes no time, so lag beyond the window is made up at once. Segments in flight may add a few seconds, and a machine
    # that stands still some more.
    for lags in by_status.values():
        assert statistics.median(lags) < window + 5
        assert max(lags) < window + 30
    follower.close()


def test_a_score_that_influxdb_refuses_is_a_dead_letter_and_the_stream_continues(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path
) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    good, bad, last = events(tmp_path, 3, datetime.now(UTC))
    bad = bad.model_copy(update={"start": datetime(1999, 1, 1, tzinfo=UTC)})
    with InfluxDBClient(influxdb.url, influxdb.token_file.read_text().strip(), org="fvq") as client:
        # A field of another type at that time: InfluxDB refuses the score that comes there.
        point = f'segment_score,stream_id=other sequence="a text" {int(bad.start.timestamp())}'
        client.write_api(write_options=SYNCHRONOUS).write("fvq", record=point, write_precision="s")
    produce(kafka.broker, SEGMENTS_TOPIC, [good, bad, last])
    follower, dead = Follower(kafka.broker, SCORES_TOPIC), Follower(kafka.broker, DEAD_LETTER_TOPIC)
    settings = {"FVQ_INFLUX_URL": influxdb.url, "FVQ_INFLUX_TOKEN_FILE": str(influxdb.token_file), "FVQ_LIVE_WINDOW": "off"}
    with running(kafka, tmp_path, **settings) as (worker, port):
        wait_for("the dead letter", lambda: len(dead.read()) == 1, 120)
        assert dead.values == [bad.to_bytes()], "the dead letter has the bytes of the input, so that it can be sent again"
        # The scores may come in several batches; the refused one is on its topic as well.
        wait_for("every score", lambda: len(follower.read()) == 3, 60)
        wait_for("its metric", lambda: sum(metric(port, "fvq_sink_rejected_total")) == 1, 60)
        more = events(tmp_path, 4, datetime.now(UTC), first=3)
        produce(kafka.broker, SEGMENTS_TOPIC, more)
        wait_for("the answers to the segments after it", lambda: len(follower.read()) == 7, 60)
        worker.stop()
    follower.close()
    dead.close()
