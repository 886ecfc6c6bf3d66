"""`make bench-ingest`: 2,000 live sources in one `fvq ingest hls` on one core: CPU, memory, and how soon a segment is announced.

    python -m tests.bench.ingest [--sources 2000] [--json] [--write]

The ingester is the real one, held on the first core. A lean origin (`tests.bench.lean_origin`), a real Apache Kafka and this
program are held on the second; their CPU time is shown, so that one sees whether one of them was the limit. Segments of 2 s
appear evenly over time. The time from a segment's appearance to its acknowledgement is that at which Kafka appended its event.
After a measurement without trouble, 5 % of as many sources are added that never answer, and 5 % that take 1.5 s, on hosts of
their own, and the sources from before are measured again. At last all playlists stand still: what a load costs that brings
nothing new.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from streams.events import SEGMENTS_TOPIC
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.plan.measure import processor
from tests.bench.arguments import parser_of
from tests.bench.lean_origin import SECONDS, appears
from tests.bench.progress import say
from tests.support.cpu import cpu_seconds
from tests.support.documentation import replace_marked
from tests.support.pages import read_page
from tests.support.processes import FVQ, PYTHON, ROOT, Worker
from tests.support.servers import KafkaServer, free_ports
from tests.support.waiting import wait_for

PAGE = ROOT / "docs/ingest.md"
PARTITIONS = 4
HOSTS = 20
"""Hosts that the sources are spread over: an ingester opens a limited number of connections to each."""
TROUBLE = 0.05
"""Sources that hang, and as many slow ones, as a share of the others."""
JOINING, SETTLING, WINDOW, STILL = 20.0, 14.0, 25.0, 8.0
"""Seconds for joining, for settling after sources were added, of a measurement, and of standing still."""
GOAL = 0.5
"""Target durations within which 99 of 100 segments are to be announced."""


@dataclass(frozen=True)
class Counts:
    """What was counted up to one moment. CPU times in seconds; memory of the ingester in MiB."""

    time: float
    changed: float
    unchanged: float
    failed: float
    lost: float
    cpu: float
    origin_cpu: float
    kafka_cpu: float
    memory: float


@dataclass(frozen=True)
class Run:
    """A measurement. loads, failures: a second. Shares: of one core. p50, p99: seconds until a segment was announced."""

    name: str
    loads: float
    failures: float
    core: float
    origin_core: float
    kafka_core: float
    segments: float
    lost: float
    p50: float
    p99: float
    memory: float


def counts(page: int, ingester: int, origin: int, kafka: int) -> Counts:
    """What has been counted up to now. page: the ingester's port; the others are process ids."""
    text = read_page(page, "/metrics", 20)[1]
    loads = {outcome: float(value) for outcome, value in re.findall(r'^fvq_ingest_loads_total{outcome="(.+)"} (.+)$', text, re.M)}
    changed, unchanged = loads.pop("changed", 0.0), loads.pop("unchanged", 0.0)
    lost = sum(map(float, re.findall(r"^fvq_ingest_lost_segments_total{.*} (.+)$", text, re.M)))
    (memory,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{ingester}/status").read_text())
    cpu = [cpu_seconds(process) for process in (ingester, origin, kafka)]
    return Counts(time.time(), changed, unchanged, sum(loads.values()), lost, *cpu, int(memory) / 1024)


def run_of(name: str, before: Counts, after: Counts, delays: np.ndarray) -> Run:
    """The figures between two moments. delays: of the segments that appeared between them, seconds."""
    seconds = after.time - before.time

    def rate(of: Callable[[Counts], float]) -> float:
        return (of(after) - of(before)) / seconds

    return Run(
        name=name,
        loads=rate(lambda counted: counted.changed + counted.unchanged + counted.failed),
        failures=rate(lambda counted: counted.failed),
        core=rate(lambda counted: counted.cpu),
        origin_core=rate(lambda counted: counted.origin_cpu),
        kafka_core=rate(lambda counted: counted.kafka_cpu),
        segments=len(delays) / seconds,
        lost=after.lost - before.lost,
        p50=float(np.percentile(delays, 50)),
        p99=float(np.percentile(delays, 99)),
        memory=after.memory,
    )


def announced(broker: str, began: float) -> np.ndarray:
    """(segments, 2): when each segment of a good source appeared, and when its event was appended; seconds since 1970."""
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", max_poll_records=5000)
    partitions = [TopicPartition(SEGMENTS_TOPIC, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    ends, rows = consumer.end_offsets(partitions), []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                source = re.fullmatch(rb"s(\d+)", record.key)
                number = re.search(rb"/segment-(\d+)\.ts", record.value)
                if source and number:
                    rows.append((appears(began, int(source[1]), int(number[1])), record.timestamp / 1000))
    consumer.close()
    return np.array(rows)


def sources_of(port: int, count: int, trouble: int) -> str:
    """A list of sources: good ones, and as many hanging and slow ones as `trouble` says."""
    lines = [f"s{number}=http://127.0.1.{number % HOSTS + 1}:{port}/live/{number}.m3u8" for number in range(count)]
    for kind, net in (("hang", 2), ("slow", 3)):
        lines += [
            f"{kind}{number}=http://127.0.{net}.{number % HOSTS + 1}:{port}/{kind}/{number}.m3u8" for number in range(trouble)
        ]
    return "\n".join(lines)


def measure(count: int) -> tuple[list[Run], dict[str, float]]:
    """The runs, and microseconds of CPU time for a load: that brings a segment, and that brings none."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        os.sched_setaffinity(0, {cores[-1]})  # inherited by what starts here
        kafka = KafkaServer(folder / "kafka")
        kafka.start()
        stack.callback(kafka.kill)
        make_topics(kafka.broker)
        port, page = free_ports(1), free_ports(1)
        began = float(int(time.time()) - 200)
        origin = subprocess.Popen([PYTHON, "-m", "tests.bench.lean_origin", str(port), str(began)], cwd=ROOT)
        stack.callback(origin.kill)
        sources = folder / "sources.txt"
        sources.write_text(sources_of(port, count, 0))
        settings = {"FVQ_BROKER": kafka.broker, "FVQ_FETCH_PRIVATE": "true", "FVQ_INGEST_PORT": str(page)}
        ingester = Worker(
            "ingest", folder, core=0, command=[FVQ, "ingest", "hls", "--list", str(sources)], FVQ_LOG_LEVEL="warning", **settings
        ).start()
        stack.callback(ingester.kill)
        try:
            moments = []
            wait_for("the ingester's pages", lambda: read_page(page, "/healthz")[0] == 200, 60)

            def look() -> None:
                moments.append(counts(page, ingester.pid, origin.pid, kafka.pid))

            def stay(seconds: float, what: str) -> None:
                say(f"{what}, {seconds:g} s")
                time.sleep(seconds)

            stay(JOINING, "sources are joined")
            look()
            stay(WINDOW, "without trouble")
            look()
            sources.write_text(sources_of(port, count, int(TROUBLE * count)))
            stay(SETTLING, "hanging and slow sources are joined")
            look()
            stay(WINDOW, "with trouble")
            look()
            sources.write_text(sources_of(port, count, 0))
            assert read_page(port, "/freeze")[0] == 200
            stay(2 * SECONDS, "playlists stand still")
            look()
            stay(STILL, "playlists stand still")
            look()
        except BaseException:
            print(ingester.tail())
            raise
        ingester.kill()
        events = announced(kafka.broker, began)
    quiet, still = moments[0:2], moments[4:6]
    runs = []
    for title, (before, after) in (("without trouble", quiet), ("with hanging and slow sources", moments[2:4])):
        appeared = events[(events[:, 0] >= before.time) & (events[:, 0] < after.time - 2 * SECONDS)]
        runs.append(run_of(title, before, after, appeared[:, 1] - appeared[:, 0]))
    unchanged = (still[1].cpu - still[0].cpu) / (still[1].unchanged - still[0].unchanged)
    fresh, same = quiet[1].changed - quiet[0].changed, quiet[1].unchanged - quiet[0].unchanged
    changed = (quiet[1].cpu - quiet[0].cpu - same * unchanged) / fresh
    return runs, {"changed": 1e6 * changed, "unchanged": 1e6 * unchanged}


def make_topics(broker: str) -> None:
    """All topics; that of segments notes when Kafka appends a message."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    configs = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics({SEGMENTS_TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": configs}})
    admin.close()
    create_topics(Connection(broker), PARTITIONS, 1)


def table(count: int, runs: list[Run], costs: dict[str, float]) -> list[str]:
    """The figures as Markdown."""
    rows: list[tuple[str, Callable[[Run], str]]] = [
        ("loads a second (failed ones among them)", lambda run: f"{run.loads:.0f} ({run.failures:.0f})"),
        ("CPU share of the ingester's core", lambda run: f"{run.core:.0%}"),
        ("CPU share of a core: origin / Kafka", lambda run: f"{run.origin_core:.0%} / {run.kafka_core:.0%}"),
        ("segments lost", lambda run: f"{run.lost:.0f}"),
        ("from appearing to acknowledged, p50 / p99, s", lambda run: f"{run.p50:.2f} / {run.p99:.2f}"),
        ("memory, MiB", lambda run: f"{run.memory:.0f}"),
    ]
    lines = [f"| {count} sources, segments of {SECONDS:g} s | {' | '.join(run.name for run in runs)} |", "|---|---|---|"]
    lines += [f"| {title} | {' | '.join(map(shown, runs))} |" for title, shown in rows]
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    quiet = (
        ""
        if load < cores + 1
        else " The machine was not quiet: other programs took what is missing of the core, and made it late."
    )
    return [
        *lines,
        "",
        f"CPU time of a load that brings a segment, until Kafka has it: {costs['changed']:.0f} µs; of one that brings none: "
        f"{costs['unchanged']:.0f} µs. Goal for p99: {GOAL * SECONDS:g} s. {processor()}, {cores} cores; load average "
        f"at the end {load:.1f}.{quiet}",
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sources", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into docs/ingest.md")
    arguments = parser.parse_args()
    runs, costs = measure(arguments.sources)
    if arguments.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "microseconds": costs}))
        return
    lines = table(arguments.sources, runs, costs)
    print("\n".join(lines))
    if arguments.write:
        replace_marked(PAGE, "make bench-ingest", lines)


if __name__ == "__main__":
    main()
