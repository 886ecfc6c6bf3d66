"""`make bench-scale`: segments per second of two workers, on a core each, against one worker on one core.

    python -m tests.bench.scale [--segments 120] [--height 720] [--json] [--write]

The workers are real (one sampling child, nano in the process with one thread, SQLite, alert and harvest agents), and so is
Kafka. Each worker and its children may run on its own core only. Measured is the rate at which waiting segments are answered:
all are announced at once, evenly over the partitions, when the workers have their partitions. The first 15 % and the last
25 % of the answers are left out, so that both workers are busy all the time. One worker is measured before and after two, on
the one core and on the other.

Kafka and this program need CPU too. With more than two cores they run on the others. With two they share those of the workers;
Kafka is held on the core of a worker that is alone, so that one worker pays the same kind of share as two. The share of their
cores' time that the workers got is printed: where it is far below 100 %, other programs took it, and the rates mean little.
CPU seconds for each segment mean something even then: what the second worker costs the first in caches and memory shows in them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from kafka import KafkaProducer

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.plan.measure import processor
from streams.ports import free_port
from tests.bench.arguments import parser_of
from tests.bench.pipeline import make_segments
from tests.bench.progress import say
from tests.support.cpu import group_cpu_seconds
from tests.support.documentation import replace_marked
from tests.support.pages import metric
from tests.support.processes import ROOT, Worker
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

PAGE = ROOT / "docs/capacity.md"
PARTITIONS = 8
FIRST, LAST = 0.15, 0.75
"""Of the answers, in their order, those between these shares are timed."""

GOAL = 1.8
DEADLINE = 600.0  # seconds for each step of a measurement


@dataclass(frozen=True)
class Run:
    """One measurement. cpu_s: CPU seconds of the workers for each segment. got: share of their cores' time that they got."""

    workers: int
    rate: float
    cpu_s: float
    got: float


def measure(kafka: KafkaServer, folder: Path, segments: list[Path], cores: list[int], count: int) -> Run:
    """Answer `count` segments with one worker on each of the cores, on new topics."""
    kafka.remove_topics()
    create_topics(Connection(kafka.broker), PARTITIONS, 1)
    name = f"{len(cores)}-on-{'-'.join(map(str, cores))}"
    ports = [free_port("127.0.0.1") for _ in cores]
    workers = [
        Worker(
            f"{name}-{core}", folder, core=core, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_GROUP=name,
            FVQ_LIVE_WINDOW="off", FVQ_SESSION_TIMEOUT="6", FVQ_SAMPLER_WORKERS="1", FVQ_WEB_PORT=str(port),
        )
        for core, port in zip(cores, ports, strict=True)
    ]  # fmt: skip
    follower = None
    try:
        for worker in workers:
            worker.start()
        share = PARTITIONS // len(workers)
        wait_for(
            "every worker has its partitions",
            lambda: all(len(metric(port, "fvq_consumer_lag_messages")) == share for port in ports), DEADLINE, every=1,
        )  # fmt: skip
        # Not before: a reader of a topic that was made this moment may know none of its partitions.
        follower = Follower(kafka.broker, SCORES_TOPIC)
        assert len(follower.partitions) == PARTITIONS
        warm = PARTITIONS
        announce(kafka.broker, segments, warm, "warm")
        wait_for("the answers of the warm-up", lambda: len(follower.read()) >= warm, DEADLINE)
        cpu = sum(group_cpu_seconds(worker.pid) for worker in workers)
        began = time.monotonic()
        announce(kafka.broker, segments, count, "run")
        wait_for("every answer", lambda: len(follower.read()) >= warm + count, DEADLINE, every=0.5)
        wall = time.monotonic() - began
        cpu = sum(group_cpu_seconds(worker.pid) for worker in workers) - cpu
    except BaseException:
        print("\n".join(worker.tail() for worker in workers), file=sys.stderr)
        raise
    finally:
        for worker in workers:
            worker.kill()
        if follower is not None:
            follower.close()
    times = answer_times(kafka.broker)[warm:]
    first, last = int(count * FIRST), int(count * LAST)
    rate = (last - first) / (times[last] - times[first]) * 1000
    return Run(len(workers), rate, cpu / count, cpu / (wall * len(workers)))


def announce(broker: str, segments: list[Path], count: int, name: str) -> None:
    """Send `count` events at once, as many to each partition."""
    producer = KafkaProducer(bootstrap_servers=broker)
    for number in range(count):
        event = SegmentEvent(
            stream_id=f"channel-{number % PARTITIONS}",
            segment_id=f"{name}/{number}",
            sequence=number,
            uri=segments[number % len(segments)].as_uri(),
            start=datetime.now(UTC),
            duration=2.0,
        )
        # The partition by number: the keys' hashes would load the two workers unevenly.
        producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes(), partition=number % PARTITIONS)
    producer.close()


def answer_times(broker: str) -> list[int]:
    """Kafka's times of the answers, ms, in order."""
    follower = Follower(broker, SCORES_TOPIC)
    times: list[int] = []
    try:
        ends = follower.consumer.end_offsets(follower.partitions)
        while any(follower.consumer.position(partition) < ends[partition] for partition in follower.partitions):
            for messages in follower.consumer.poll(timeout_ms=500).values():
                times += [message.timestamp for message in messages]
    finally:
        follower.close()
    return sorted(times)


def run(count: int, height: int) -> list[Run]:
    """One worker on the first core, two, one on the second core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("bench-scale needs two cores")
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        segments = make_segments(folder, height)
        kafka = KafkaServer(folder / "kafka")
        try:
            kafka.start()
            runs = []
            for used in ([0], [0, 1], [1]):
                say(f"{len(used)} on core {' and '.join(map(str, used))}")
                hold(kafka.pid, cores[2:] or [cores[number] for number in used])
                runs.append(measure(kafka, folder, segments, used, count * len(used)))
        finally:
            kafka.kill()
    return runs


def hold(pid: int, cores: list[int]) -> None:
    """Let all threads of a process run on these cores only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def table(runs: list[Run]) -> list[str]:
    """The runs as Markdown, and the ratio."""
    before, two, after = runs
    lines = ["| | segments/s | CPU s a segment | share of their cores' time |", "|---|---|---|---|"]
    for name, row in (("one worker, first core", before), ("two workers", two), ("one worker, second core", after)):
        lines.append(f"| {name} | {row.rate:.2f} | {row.cpu_s:.3f} | {row.got:.0%} |")
    ratio, cpu = ratios(runs)
    lines += [
        "",
        f"Two workers answer {ratio:.2f} times as much as one (goal {GOAL}), at {cpu:.2f} times the CPU time for each segment; "
        f"{processor()}, {os.cpu_count()} cores.",
    ]
    return lines


def ratios(runs: list[Run]) -> tuple[float, float]:
    """Two workers against one: of the rates, and of the CPU time of a segment."""
    before, two, after = runs
    return two.rate / ((before.rate + after.rate) / 2), two.cpu_s / ((before.cpu_s + after.cpu_s) / 2)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--segments", type=int, default=120, help="segments for each worker")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into docs/capacity.md")
    arguments = parser.parse_args()
    runs = run(arguments.segments, arguments.height)
    if arguments.json:
        ratio, cpu = ratios(runs)
        print(json.dumps({"runs": [asdict(row) for row in runs], "ratio": ratio, "cpu_ratio": cpu}))
        return
    lines = table(runs)
    print("\n".join(lines))
    if arguments.write:
        replace_marked(PAGE, "make bench-scale", lines)


if __name__ == "__main__":
    main()
