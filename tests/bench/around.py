"""What surrounds the look at a segment: CPU of a worker whose sampler and model do nothing, at the rates of live streams.

    python -m tests.bench.around [--parts] [--rates 10 100] [--json]

The worker is the real one (`tests.support.free_worker`), but its sampling child answers every file with the same clip, of the
usual size, and its model every clip with the same score. What is left is fetching by HTTP, Kafka, Faust, the way to the child and
back, the checkpoint, SQLite, and the agents. Each stream has a segment every 2 s, evenly spread. Counted is the CPU time, user
and system, of the worker and its child, also what they take while nothing comes. --parts measures the parts one after the other.
"""

from __future__ import annotations

import functools
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kafka import KafkaProducer

from streams.events import SEGMENTS_TOPIC, SegmentEvent
from tests.bench.arguments import parser_of
from tests.bench.workers import ready_worker
from tests.support.cpu import group_cpu_seconds
from tests.support.processes import FREE_WORKER
from tests.support.topics import produce
from tests.support.waiting import wait_for

SEGMENT_SECONDS = 2.0
SEGMENT_BYTES = 700_000
"""A segment of 2.8 Mbit/s."""

IDLE_SECONDS, SETTLE_SECONDS = 4.0, 1.5
AGENTS = {"FVQ_ALERTS": "false", "FVQ_HARVEST": "false"}
EVERYTHING: dict[str, str] = {"FVQ_TEST_POOL": "children"}
PARTS: dict[str, dict[str, str]] = {
    "events, Kafka, Faust": {"FVQ_TEST_SINK": "none", **AGENTS},
    "and SQLite": AGENTS,
    "and alert and harvest agents": {},
    "and the way to a sampling child": EVERYTHING,
}
"""Name of a part -> settings of a worker that has it and those before it."""


@dataclass(frozen=True)
class Cost:
    """CPU of a worker at a load. rate: segments a second. ms: of a segment, everything counted. idle_ms: of a second in which
    nothing comes."""

    name: str
    rate: float
    ms: float
    idle_ms: float


class _Quiet(SimpleHTTPRequestHandler):
    """Serves one folder, keeps connections, logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def origin(folder: Path) -> Iterator[str]:
    """Serves a folder by HTTP; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def measure(name: str, rate: float, seconds: float, uri: str, folder: Path, **settings: str) -> Cost:
    """The cost at a rate. uri: of every segment. settings: of the worker."""
    with ready_worker("around", folder, FREE_WORKER, FVQ_FETCH_PRIVATE="true", **settings) as (broker, worker, follower):
        streams = max(1, round(rate * SEGMENT_SECONDS))
        produce(broker, SEGMENTS_TOPIC, [_event(number, 0, uri) for number in range(streams)])
        wait_for("the first answers", lambda: len(follower.read()) >= streams, 60)
        time.sleep(SETTLE_SECONDS)
        idle, began = group_cpu_seconds(worker.pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        idle_ms = (group_cpu_seconds(worker.pid) - idle) / (time.monotonic() - began) * 1000
        before = group_cpu_seconds(worker.pid)
        rounds = max(1, round(seconds / SEGMENT_SECONDS))
        _play(broker, streams, rounds, uri)
        expected = streams * (1 + rounds)
        wait_for("every answer", lambda: len(follower.read()) >= expected, 120, every=0.2)
        time.sleep(SETTLE_SECONDS)  # the agents read the last scores
        used = group_cpu_seconds(worker.pid) - before - idle_ms / 1000 * SETTLE_SECONDS
        worker.terminate()
    return Cost(name, rate, used / (streams * rounds) * 1000, idle_ms)


def _play(broker: str, streams: int, rounds: int, uri: str) -> None:
    """Announce a segment of each stream every `SEGMENT_SECONDS`, evenly spread."""
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=0)
    began = time.monotonic()
    for number in range(streams * rounds):
        time.sleep(max(0.0, began + number * SEGMENT_SECONDS / streams - time.monotonic()))
        event = _event(number % streams, 1 + number // streams, uri)
        producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes())
    producer.close()


def _event(stream: int, sequence: int, uri: str) -> SegmentEvent:
    return SegmentEvent(
        stream_id=f"channel-{stream}",
        segment_id=f"channel-{stream}/{sequence}",
        sequence=sequence,
        uri=uri,
        start=datetime.now(UTC) - timedelta(seconds=SEGMENT_SECONDS),
        duration=SEGMENT_SECONDS,
        rendition="720p",
        labels={"tier": "premium"},
    )


def run(rates: list[float], seconds: float, parts: dict[str, dict[str, str]]) -> list[Cost]:
    """The cost of each part at each rate."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        (folder / "segment.ts").write_bytes(bytes(range(256)) * (SEGMENT_BYTES // 256))
        with origin(folder) as address:
            return [
                measure(part, rate, seconds, f"{address}/segment.ts", folder, **settings)
                for part, settings in parts.items()
                for rate in rates
            ]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--parts", action="store_true", help="measure the parts, not only all together")
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 100.0], help="segments a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    costs = run(arguments.rates, arguments.seconds, PARTS if arguments.parts else {"everything": EVERYTHING})
    if arguments.json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return
    for cost in costs:
        print(f"{cost.name:32} {cost.rate:6.0f} segments/s  {cost.ms:6.2f} ms CPU a segment  {cost.idle_ms:6.1f} ms/s at rest")


if __name__ == "__main__":
    main()
