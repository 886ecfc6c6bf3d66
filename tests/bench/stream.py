"""`make bench-stream`: events per second through the worker, against a bare consume-produce loop on the same broker.

    python -m tests.bench.stream [--events 20000] [--json]

The worker is the real one with a sampler and a scorer that take no time (`tests.support.free_worker`). The measured work is
that of Kafka, Faust, the events' parsing, the checkpoint and the sink. The bare loop uses aiokafka alone: it fetches messages,
sends their bytes to the scores topic, and waits for the acknowledgements, either of each message or of batches as large as
the worker's. Bare Faust is an agent like the worker's that does the same (`tests.bench.bare_faust`). The alert and harvest
agents, which read every score in the same process, run only in the last measurement, together with InfluxDB.
All write with acks=all to a real Apache Kafka, one after the other in the same run. The rates are computed from the
timestamps of the first and the last answer on the topic. The speed of a machine varies, so the result to compare is the
ratio; the bare loop in batches is measured before and after the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.bench.arguments import parser_of
from tests.bench.progress import say
from tests.support.processes import FREE_WORKER, PYTHON, Worker
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.waiting import wait_for

BARE_FAUST = [PYTHON, "-m", "tests.bench.bare_faust"]
PARTITIONS = 4
COMMIT_SECONDS = 1.0  # as in the worker
DEADLINE = 240.0  # seconds for one measurement


def fill(broker: str, count: int, media: Path) -> None:
    """Delete all topics, create them again, and send `count` events to the segments topic."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    if old := [topic for topic in admin.list_topics() if not topic.startswith("__")]:
        admin.delete_topics(old)
        wait_for("topics are deleted", lambda: not set(old) & set(admin.list_topics()), 30)
    admin.close()
    create_topics(Connection(broker), PARTITIONS, 1)
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20)
    for number in range(count):
        event = SegmentEvent(
            stream_id=f"channel-{number % 64}",
            segment_id=f"channel-{number % 64}/{number // 64}",
            sequence=number // 64,
            uri=media.as_uri(),
            start=datetime.now(UTC),
            duration=2.0,
            labels={"tier": "premium"},
        )
        producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes())
    producer.close()


def answered(broker: str) -> int:
    """Number of messages on the scores topic."""
    consumer = KafkaConsumer(bootstrap_servers=broker)
    try:
        return sum(consumer.end_offsets([TopicPartition(SCORES_TOPIC, number) for number in range(PARTITIONS)]).values())
    finally:
        consumer.close()


def rate(broker: str, count: int) -> float:
    """Answers per second, from the timestamps of the first `count` messages on the scores topic."""
    consumer = KafkaConsumer(
        SCORES_TOPIC, bootstrap_servers=broker, group_id=None, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    times = []
    for message in consumer:
        times.append(message.timestamp)
        if len(times) == count:
            break
    consumer.close()
    assert len(times) == count
    return (count - 1) / (max(times) - min(times)) * 1000


async def bare_loop(broker: str, count: int, batch: int) -> None:
    """Consume `count` events and produce their bytes. batch: number of answers whose acknowledgements are awaited together."""
    consumer = AIOKafkaConsumer(
        SEGMENTS_TOPIC, bootstrap_servers=broker, group_id="bare", auto_offset_reset="earliest", enable_auto_commit=False
    )
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
    await consumer.start()
    await producer.start()
    done, committed = 0, time.monotonic()
    while done < count:
        for messages in (await consumer.getmany(timeout_ms=500, max_records=batch)).values():
            await asyncio.gather(
                *[await producer.send(SCORES_TOPIC, value=message.value, key=message.key) for message in messages]
            )
            done += len(messages)
        if time.monotonic() - committed > COMMIT_SECONDS or done == count:
            await consumer.commit()
            committed = time.monotonic()
    await producer.stop()
    await consumer.stop()


def measure_bare(broker: str, count: int, media: Path, batch: int) -> float:
    """Events per second of the bare loop, on new topics."""
    say("the bare loop, in batches" if batch > 1 else "the bare loop, one by one")
    fill(broker, count, media)
    asyncio.run(bare_loop(broker, count, batch))
    return rate(broker, count)


def measure_worker(
    name: str, broker: str, count: int, media: Path, batch: int, command: list[str] = FREE_WORKER, **settings: str
) -> float:
    """Events per second of a worker, on new topics. name: what is shown of it. command: runs in place of `fvq worker`."""
    say(name)
    fill(broker, count, media)
    worker = Worker(
        "bench", media.parent, command=command, FVQ_BROKER=broker, FVQ_MEDIA_ROOTS=str(media.parent),
        FVQ_LIVE_WINDOW="off", FVQ_SESSION_TIMEOUT="6", FVQ_BATCH_SIZE=str(batch), **settings,
    ).start()  # fmt: skip
    try:
        wait_for("every answer", lambda: answered(broker) >= count, DEADLINE, every=0.5)
        worker.terminate()
    except BaseException:
        print(worker.tail())
        raise
    finally:
        worker.kill()
    return rate(broker, count)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64, help="FVQ_BATCH_SIZE")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count, batch = arguments.events, arguments.batch
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        media = folder / "segment.ts"
        media.touch()
        kafka, influxdb = KafkaServer(folder / "kafka"), InfluxServer(folder / "influxdb")
        try:
            kafka.start()
            influxdb.start(seconds=1200)
            influx = {"FVQ_INFLUX_URL": influxdb.url, "FVQ_INFLUX_TOKEN_FILE": str(influxdb.token_file)}
            before = measure_bare(kafka.broker, count, media, batch)
            faust = measure_worker("bare Faust", kafka.broker, count, media, batch, command=BARE_FAUST)
            alone = {"FVQ_ALERTS": "false", "FVQ_HARVEST": "false"}
            rates = {
                "none": measure_worker("worker, no sink", kafka.broker, count, media, batch, FVQ_TEST_SINK="none", **alone),
                "SQLite": measure_worker("worker, SQLite", kafka.broker, count, media, batch, **alone),
                "InfluxDB": measure_worker("worker, InfluxDB", kafka.broker, count, media, batch, **alone, **influx),
            }
            whole = measure_worker("worker, InfluxDB, agents", kafka.broker, count, media, batch, **influx)
            after = measure_bare(kafka.broker, count, media, batch)
            single = measure_bare(kafka.broker, count, media, 1)
        finally:
            kafka.kill()
            influxdb.kill()
    bare = (before + after) / 2
    report = {
        "events": count,
        "batch": batch,
        "bare_per_second": round(bare),
        "bare_before_after": [round(before), round(after)],
        "bare_one_by_one_per_second": round(single),
        "bare_faust_per_second": round(faust),
        "worker_per_second": {sink: round(value) for sink, value in rates.items()},
        "worker_with_agents_per_second": round(whole),
        "ratio": round(rates["none"] / bare, 3),
        "ratio_to_one_by_one": round(rates["none"] / single, 3),
        "ratio_to_bare_faust": round(rates["none"] / faust, 3),
        "sink_ms_per_event": {sink: round(1000 / rates[sink] - 1000 / rates["none"], 3) for sink in ("SQLite", "InfluxDB")},
    }
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"{count} events, batches of {batch}, {os.cpu_count()} cores, answers acknowledged by Apache Kafka")
    print(f"bare loop, in batches    {bare:7.0f} events/s   (before {before:.0f}, after {after:.0f})")
    print(f"bare loop, one by one    {single:7.0f} events/s")
    print(f"bare Faust, in batches   {faust:7.0f} events/s")
    for variant, value in [*((f"sink {sink}", value) for sink, value in rates.items()), ("InfluxDB, agents", whole)]:
        print(
            f"worker, {variant:<16} {value:7.0f} events/s   {value / bare:.2f} of batches, {value / single:.2f} of one by one, "
            f"{value / faust:.2f} of bare Faust"
        )
    for sink, cost in report["sink_ms_per_event"].items():
        print(f"{sink} costs {cost:.3f} ms per event")


if __name__ == "__main__":
    main()
