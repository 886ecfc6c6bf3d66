"""The parts of the fault tests: live streams that never pause, workers, and the account of every segment at the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from influxdb_client import InfluxDBClient
from kafka import KafkaProducer

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import RECONNECT_MS, Connection
from streams.kafka.topics import create_topics
from streams.ports import free_port
from streams.scoring.tiers import TierLimits
from tests.support.free_worker import OTHER_FORMAT
from tests.support.pages import metric, read_page
from tests.support.processes import FREE_WORKER, Worker
from tests.support.proxy import FaultProxy
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import holds_within, wait_for

TIERS = os.environ.get("FVQ_TIERS", "off")
"""`FVQ_TIERS=on make chaos` tests the same faults with glances."""

CHANGES_AFTER = 10

STREAMS = 8
PARTITIONS = 4
STOP_SECONDS = 30.0
"""A worker ends within this time after SIGTERM, whatever has failed."""

SETTLE_SECONDS = 120.0
"""Long enough for a backlog and a rebalance on a machine that is busy with other work."""


@dataclass
class Row:
    """One line of the table.

    segments: number of segments that the broker acknowledged. lost: segments without an answer. duplicates: repeated
    answers. dead: segments with a dead letter.
    recovery: seconds from the end of the fault until every stream had an answer to a segment announced after it; the
    longest of the fault's recoveries. stop: seconds that a worker took to end after SIGTERM during the fault.
    growth: MiB by which the peak memory of a worker that survived the fault rose from the start of the fault.
    glances: answers that are glances; None without tiers. who: where segments are lost, whose they are, and what each worker
    says of itself.
    """

    fault: str
    segments: int = 0
    lost: int = 0
    duplicates: int = 0
    dead: int = 0
    recovery: float = 0.0
    stop: float | None = None
    growth: float = 0.0
    glances: int | None = None
    who: str = ""


class Feeder:
    """Announces segments of `STREAMS` live streams until it is stopped, and waits for the broker's acknowledgement of each.

    rate: segments per second, of all streams together. A stream's segments follow one another without a gap.
    """

    def __init__(self, broker: str, media: list[Path], rate: float, prefix: str) -> None:
        self.sent: list[SegmentEvent] = []
        self._media, self._rate, self._prefix = media, rate, prefix
        self._duration = STREAMS / rate
        self._begin = datetime.now(UTC) - timedelta(seconds=self._duration)
        # The broker may be down for longer than the default timeouts of a producer.
        self._producer = KafkaProducer(
            bootstrap_servers=broker,
            delivery_timeout_ms=240_000,
            max_block_ms=240_000,
            reconnect_backoff_max_ms=RECONNECT_MS,
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next_sequence(self) -> int:
        """The first sequence number that no stream has reached yet."""
        return len(self.sent) // STREAMS + 1

    def end(self, seconds: float) -> None:
        """Announce no more segments; wait up to `seconds` for the thread."""
        self._stopped.set()
        self._thread.join(seconds)

    def stop(self) -> set[str]:
        """Announce no more segments. Returns the ids of all segments that the broker has acknowledged."""
        self.end(250)
        assert not self._thread.is_alive(), "the broker accepts no segments"
        self._producer.close()
        return {event.segment_id for event in self.sent}

    def _run(self) -> None:
        start, number = time.monotonic(), 0
        while not self._stopped.is_set():
            event = self._event(number)
            # A segment counts only after the broker's acknowledgement. Before it, the segment may not be on the topic.
            self._producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes()).get(timeout=240)
            self.sent.append(event)
            number += 1
            self._stopped.wait(start + number / self._rate - time.monotonic())

    def _event(self, number: int) -> SegmentEvent:
        sequence, place = divmod(number, STREAMS)
        stream = f"{self._prefix}-{place}"
        return SegmentEvent(
            stream_id=stream,
            segment_id=f"{stream}/{sequence}",
            sequence=sequence,
            uri=self._media[(sequence + place) % len(self._media)].as_uri(),
            start=self._begin + timedelta(seconds=sequence * self._duration),
            duration=self._duration,
        )


@dataclass
class World:
    """Servers, workers and streams of one fault test. Tests open it with `open_world(...)`."""

    kafka: KafkaServer
    influxdb: InfluxServer
    proxy: FaultProxy
    folder: Path
    feeder: Feeder
    settings: dict[str, str]
    command: list[str] | None
    row: Row
    workers: list[Worker] = field(default_factory=list)
    followers: dict[str, Follower] = field(default_factory=dict)
    peaks: dict[int, float] = field(default_factory=dict)
    """Peak memory in MiB of each worker process, by process id, at the time when all streams were first answered."""

    def start(self, *names: str) -> list[Worker]:
        """Start one worker for each name and wait until each has partitions. `open_world(...)` kills them at its end."""
        started = []
        for name in names:
            settings = self.settings | {"FVQ_WEB_PORT": str(free_port("127.0.0.1"))}
            started.append(Worker(name, self.folder, command=self.command, **settings).start())
        self.workers += started
        for worker in started:
            wait_for(f"{worker.name} has partitions", lambda worker=worker: has_partitions(worker), SETTLE_SECONDS)
        self.recover()
        if len(self.workers) == len(started):
            self.row.recovery = 0.0  # the first workers start before the fault: their start is no recovery
        return started

    def measure_growth(self) -> None:
        """Put the growth of the running workers' peak memory into the row, if it is larger than before."""
        for worker in self.workers:
            if worker.running and worker.pid in self.peaks:
                self.row.growth = max(self.row.growth, peak_mb(worker) - self.peaks[worker.pid])

    def answers(self) -> list[SegmentScore]:
        """All scores that an outside reader has seen so far."""
        return [SegmentScore.from_bytes(value) for value in self._follower(SCORES_TOPIC).read()]

    def reached(self) -> dict[str, int]:
        """The highest answered sequence number of each stream."""
        last: dict[str, int] = {}
        for score in self.answers():
            last[score.stream_id] = max(last.get(score.stream_id, -1), score.sequence)
        return last

    def first_looks(self) -> int:
        """How many answers are full looks of a worker that did not have the segment before, as after a takeover."""
        return sum(score.tier_reason in ("start", "gap") for score in self.answers())

    def recover(self, seconds: float = SETTLE_SECONDS) -> float:
        """Wait until every stream has an answer to a segment that is announced after this call. Returns the seconds it took.

        The row keeps the longest of these times.
        """
        mark = self.feeder.next_sequence()
        took = wait_for(
            f"{self.row.fault}: answers to all streams",
            lambda: sum(sequence >= mark for sequence in self.reached().values()) == STREAMS,
            seconds,
            every=0.1,
        )
        self.row.recovery = max(self.row.recovery, took)
        for worker in self.workers:
            if worker.running and worker.pid not in self.peaks and has_partitions(worker):
                self.peaks[worker.pid] = peak_mb(worker)
        return took

    def stop_worker(self, worker: Worker) -> None:
        """Send SIGTERM to a worker during the fault; it must end within `STOP_SECONDS`."""
        self.measure_growth()
        start = time.monotonic()
        worker.terminate(STOP_SECONDS)
        self.row.stop = max(self.row.stop or 0.0, time.monotonic() - start)

    def settle(self, influx: bool = True) -> Row:
        """Stop the streams, wait for the last answer, and check every segment id on the topic and in InfluxDB."""
        expected = self.feeder.stop()

        def unanswered() -> set[str]:
            return expected - {score.segment_id for score in self.answers()} - set(self.dead_letters())

        holds_within(SETTLE_SECONDS, lambda: not unanswered())
        lost = unanswered()
        self.row.lost = len(lost)  # `Report.add` prints the row and fails if this is not 0
        if lost:
            of_streams = dict(Counter(name.rpartition("/")[0] for name in lost))
            self.row.who = "\n".join([f"of {of_streams}", *(told_by(worker) for worker in self.workers)])
        counts = Counter(score.segment_id for score in self.answers())
        self.row.segments, self.row.dead = len(expected), len(set(self.dead_letters()) & expected)
        self.row.duplicates = counts.total() - len(counts)
        if TIERS == "on":
            self.row.glances = sum(score.tier == "glance" for score in self.answers())
            assert not (unfounded := unfounded_glances(self.answers())), unfounded
        assert set(counts) <= expected, "an answer to a segment that nobody announced"
        if influx:
            # The last flush comes after the last answer on the topic.
            wait_for(f"{self.row.fault}: InfluxDB has every score", lambda: set(self.stored()) == set(counts), SETTLE_SECONDS)
            stored = self.stored()
            assert set(stored.values()) == {1}, "a repeated score overwrites itself"
        self.measure_growth()
        return self.row

    def dead_letters(self) -> list[str]:
        """Segment ids of the dead letters."""
        return [SegmentEvent.from_bytes(value).segment_id for value in self._follower(DEAD_LETTER_TOPIC).read()]

    def stored(self) -> Counter[str]:
        """Number of points for each segment id in InfluxDB, which is asked directly and not through the proxy."""
        query = (
            'from(bucket: "fvq") |> range(start: -2h, stop: 1h) |> filter(fn: (r) => r._measurement == "segment_score" and '
            f'r._field == "segment_id" and r.stream_id =~ /^{self.row.fault.replace(" ", "-")}-/) |> keep(columns: ["_value"])'
        )
        with InfluxDBClient(self.influxdb.url, self.influxdb.token_file.read_text().strip(), org="fvq", timeout=30_000) as client:
            return Counter(record.get_value() for table in client.query_api().query(query) for record in table.records)

    def _follower(self, topic: str) -> Follower:
        if topic not in self.followers:
            self.followers[topic] = Follower(self.kafka.broker, topic)
        return self.followers[topic]


@contextmanager
def open_world(
    fault: str,
    kafka: KafkaServer,
    influxdb: InfluxServer,
    folder: Path,
    *,
    rate: float = 40.0,
    media: list[Path] | None = None,
    command: list[str] | None = FREE_WORKER,
    **settings: str,
) -> Iterator[World]:
    """New topics, a proxy in front of InfluxDB, and running streams; all are stopped at the end.

    After a failure the ends of the workers' logs are printed.

    rate: segments per second, of all streams together. media: files that the segments refer to; None for empty files, of which
    one in `CHANGES_AFTER` has another format, so that tiers look fully at a part of the segments all the time.
    command: runs in place of `fvq worker`; None for `fvq worker` itself.
    """
    create_topics(Connection(kafka.broker), PARTITIONS, 1)
    if media is None:
        media = [*[folder / "segment.ts"] * (CHANGES_AFTER - 1), folder / OTHER_FORMAT]
        for file in media:
            file.touch()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(influxdb.url))
        defaults = {
            "FVQ_BROKER": kafka.broker,
            "FVQ_GROUP": "chaos",
            "FVQ_LIVE_WINDOW": "off",
            "FVQ_TIERS": TIERS,
            "FVQ_MEDIA_ROOTS": str(media[0].parent),
            "FVQ_SESSION_TIMEOUT": "6",  # the shortest session that the broker allows
            "FVQ_SAMPLER_WORKERS": "1",
            "FVQ_BATCH_SIZE": "32",
            "FVQ_INFLUX_URL": proxy.url,
            "FVQ_INFLUX_TOKEN_FILE": str(influxdb.token_file),
        }
        feeder = Feeder(kafka.broker, media, rate, fault.replace(" ", "-"))
        opened = World(kafka, influxdb, proxy, folder, feeder, defaults | settings, command, Row(fault))
        try:
            yield opened
        except BaseException:
            for worker in opened.workers:
                print(worker.tail())
            raise
        finally:
            feeder.end(5)  # after a failed test it still runs, and would announce segments on the next test's topics
            for worker in opened.workers:
                worker.kill()
            for follower in opened.followers.values():
                follower.close()


def unfounded_glances(answers: Sequence[SegmentScore]) -> list[str]:
    """Ids of the glances that rest on no full look of their stream which was answered before, with the same score, not long ago.

    answers: in the order of the topic.
    """
    looks: defaultdict[str | None, list[SegmentScore]] = defaultdict(list)
    unfounded = []
    for score in answers:
        if score.tier != "glance":
            looks[score.segment_id].append(score)
        elif not any(_bears(look, score) for look in looks[score.rests_on]):
            unfounded.append(score.segment_id)
    return unfounded


def _bears(look: SegmentScore, glance: SegmentScore) -> bool:
    """Whether a glance may rest on a full look."""
    near = 0 < glance.sequence - look.sequence <= TierLimits().due
    # The large model's score is not what glances rest on.
    return look.stream_id == glance.stream_id and near and (look.tier == "deep" or look.score == glance.score)


def has_partitions(worker: Worker) -> bool:
    """Whether a worker has partitions, by its `/readyz`; the state of its sink does not matter. Fails if the worker has ended."""
    assert worker.running, f"{worker.name} ended by itself"
    status, text = read_page(worker.environment["FVQ_WEB_PORT"], "/readyz")
    return status != 0 and "partition" not in text and "the worker starts" not in text


def told_by(worker: Worker) -> str:
    """What a worker's pages and the end of its log say."""
    port = worker.environment["FVQ_WEB_PORT"]
    pages = {page: read_page(port, page, seconds=10) for page in ("/healthz", "/readyz")}
    state = f"{'runs' if worker.running else 'has ended'}, {pages}, in flight {metric(port, 'fvq_segments_in_flight')}"
    return f"{worker.name} {state}\n{worker.tail(8)}"


def peak_mb(worker: Worker) -> float:
    """Peak resident memory of a worker's own process, MiB."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def children(worker: Worker) -> list[int]:
    """Process ids of a worker's sampling children."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            command = folder.joinpath("cmdline").read_bytes()
        except (OSError, IndexError):
            continue  # the process ended after the listing
        if parent == worker.pid and b"child_main" in command:
            pids.append(int(folder.name))
    return pids


def freeze(pid: int) -> None:
    """Suspend a process: it keeps its memory and connections and does nothing, as a process that hangs."""
    os.kill(pid, signal.SIGSTOP)


def thaw(pid: int) -> None:
    """Resume a suspended process."""
    os.kill(pid, signal.SIGCONT)
