"""A scorer slower than its input: consumption pauses, the memory stays flat, the lag is told; live segments stay fresh."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.ports import free_port
from tests.support.pages import metric
from tests.support.processes import FREE_WORKER, Worker
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

PADDING = {f"label-{number}": "x" * 1000 for number in range(30)}
"""Events of 30 kB: a worker that took in what it cannot score would grow by hundreds of MiB."""


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
    """Memory of a worker's own process, MiB."""
    return int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@contextmanager
def running(kafka: KafkaServer, folder: Path, **settings: str) -> Iterator[tuple[Worker, int]]:
    """A worker with a scorer that costs nothing but the time it is told to take; and the port of its pages."""
    port = free_port("127.0.0.1")
    ours = {
        "FVQ_BROKER": kafka.broker, "FVQ_MEDIA_ROOTS": str(folder), "FVQ_SESSION_TIMEOUT": "6", "FVQ_WEB_PORT": str(port),
    }  # fmt: skip
    worker = Worker("worker", folder, command=FREE_WORKER, **(ours | settings)).start()
    try:
        yield worker, port
    except BaseException:
        print(worker.tail())
        raise
    finally:
        worker.kill()


@pytest.mark.timeout(240)
def test_memory_is_flat_and_lag_is_told_while_the_scorer_is_slow(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    count = 4000
    produce(kafka.broker, SEGMENTS_TOPIC, events(tmp_path, count, datetime.now(UTC), PADDING))
    follower = Follower(kafka.broker, SCORES_TOPIC)
    # 16 segments a second: 120 MB wait, and stay where they are.
    with running(kafka, tmp_path, FVQ_TEST_SCORE_MS="500", FVQ_LIVE_WINDOW="off") as (worker, port):
        wait_for("answers", lambda: len(follower.read()) >= 50, 60)
        begin = time.monotonic()
        curve: list[tuple[float, float, float]] = []
        while (seconds := time.monotonic() - begin) < 21:
            curve.append((seconds, resident_mb(worker), sum(metric(port, "fvq_consumer_lag_messages"))))
            time.sleep(3)
        lags = metric(port, "fvq_consumer_lag_messages")
        answered = len(follower.read())
    print("\n| seconds | resident MiB | messages waiting |\n|---|---|---|")
    print("\n".join(f"| {seconds:.0f} | {size:.0f} | {lag:.0f} |" for seconds, size, lag in curve))
    sizes = [size for _, size, _ in curve]
    assert max(sizes) - sizes[0] < 40, "memory grows"
    assert len(lags) == 4, "one for each partition"
    # What was answered after the last measurement or not yet committed: seconds of work.
    assert abs(sum(lags) - (count - answered)) < 300
    follower.close()


@pytest.mark.timeout(240)
def test_lag_stays_bounded_in_event_time_when_live(kafka: KafkaServer, tmp_path: Path) -> None:
    # One partition: the worker serves partitions in turn, so the bound is for those that are not more crowded than others.
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    window = 8.0
    follower = Follower(kafka.broker, SCORES_TOPIC)
    # Input of 40 a second, and a scorer that does 16: without the window, each second would add 1.5 s of lag.
    with running(kafka, tmp_path, FVQ_TEST_SCORE_MS="500", FVQ_LIVE_WINDOW=str(window)) as (_, port):
        wait_for("ready", lambda: bool(metric(port, "fvq_event_lag_last_seconds")), 60)
        sent = 0
        begin = datetime.now(UTC)
        while (elapsed := (datetime.now(UTC) - begin).total_seconds()) < 40:
            # Their end is now; the ids go on.
            batch = events(tmp_path, 40, begin + timedelta(seconds=elapsed - 1), first=sent)
            sent += len(batch)
            produce(kafka.broker, SEGMENTS_TOPIC, batch)
            time.sleep(max(0.0, sent / 40 - (datetime.now(UTC) - begin).total_seconds()))
        wait_for("every answer", lambda: len(follower.read()) >= sent, 60)
    scores = [SegmentScore.from_bytes(value) for value in follower.values]
    by_status = {status: [one.timing["lag_s"] for one in scores if one.status == status] for status in ("scored", "skipped")}
    print(
        f"\n{sent} segments at 40/s: "
        + ", ".join(f"{len(lags)} {name}, lag up to {max(lags):.1f} s" for name, lags in by_status.items())
    )
    assert by_status["scored"]
    assert by_status["skipped"]
    # Skipping costs nothing, so what is behind the window is caught up at once: what is in the line may add to it.
    assert max(by_status["skipped"]) < window + 5
    assert max(by_status["scored"]) < window + 5
    follower.close()


def test_a_score_that_influxdb_refuses_is_a_dead_letter_and_the_stream_goes_on(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path
) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    good, bad, last = events(tmp_path, 3, datetime.now(UTC))
    bad = bad.model_copy(update={"start": datetime(1500, 1, 1, tzinfo=UTC)})
    produce(kafka.broker, SEGMENTS_TOPIC, [good, bad, last])
    follower, dead = Follower(kafka.broker, SCORES_TOPIC), Follower(kafka.broker, DEAD_LETTER_TOPIC)
    settings = {"FVQ_INFLUX_URL": influxdb.url, "FVQ_INFLUX_TOKEN_FILE": str(influxdb.token_file), "FVQ_LIVE_WINDOW": "off"}
    with running(kafka, tmp_path, **settings) as (worker, port):
        wait_for("the letter", lambda: len(dead.read()) == 1, 60)
        assert dead.values == [bad.to_bytes()], "the input as it was, to be sent again"
        assert len(follower.read()) == 3, "readers of the topic have the score all the same"
        assert sum(metric(port, "fvq_sink_rejected_total")) == 1
        more = events(tmp_path, 4, datetime.now(UTC), first=3)
        produce(kafka.broker, SEGMENTS_TOPIC, more)
        wait_for("what comes after it", lambda: len(follower.read()) == 7, 30)
        assert worker.terminate() == 0
    follower.close()
    dead.close()
