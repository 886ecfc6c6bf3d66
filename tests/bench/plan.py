"""`make bench-plan`: does `fvq plan` tell the truth? Lags and the knee, predicted and measured on this machine, in one run.

    python -m tests.bench.plan [--seconds 35] [--height 720] [--loads 0.5 0.7 0.9 1.1] [--json] [--write]
    python -m tests.bench.plan --ship
    python -m tests.bench.plan --tables

The costs are measured as `fvq plan --measure` measures them. Then a real worker (in-process nano, embedded broker, real media,
SQLite, its agents) answers a backlog: its rate is the knee, beyond which a backlog grows, and is compared with the capacity
that the costs predict. Then it gets segments at known times, at rates that are shares of the knee, and the simulation gets the
same times, at the same shares of the predicted capacity: so an error of the capacity shows once, in the knee, and not again in
each load. The speed of a shared machine changes within minutes, and near the knee a tenth of it is half of the lag: so the CPU
time of a segment is measured in each load too, and the simulation gets times as much longer. Compared are p50 and p95 of the lag
from a segment's end to its score.

--write puts the table into docs/capacity.md. --ship measures the costs that are shipped, on the demo's clip at three heights;
--tables writes the tables of 1,000, 10,000 and 100,000 streams into docs/capacity.md, from the shipped costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from kafka import KafkaProducer

from scorer.registry import Registry
from streams.cli.plan import FULL_SHARE
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from streams.plan.costs import SHIPPED as SHIPPED_COSTS
from streams.plan.costs import StageCosts, read_costs
from streams.plan.measure import Measured, measure, processor
from streams.plan.plan import Demand, Limits, plan, service_of
from streams.plan.simulate import Service, arrivals, capacity, simulate
from streams.plan.view import Line, lines, shown
from streams.ports import free_port
from tests.bench.arguments import parser_of
from tests.bench.pipeline import DEMO, make_segments
from tests.bench.progress import say
from tests.support.cpu import group_cpu_seconds, machine_cpu_seconds
from tests.support.documentation import replace_marked
from tests.support.media import ffmpeg
from tests.support.pages import read_page
from tests.support.processes import FVQ, ROOT, Worker, clean_environment
from tests.support.topics import Follower
from tests.support.waiting import wait_for

PAGE = ROOT / "docs/capacity.md"
STREAMS = 16
SEGMENT_SECONDS = 2.0
WARM_UP = 8.0
"""Seconds at the begin of each load that are not counted."""

BACKLOG_SECONDS = 30.0
"""Length of the backlog whose rate is measured, by the predicted capacity."""

GOAL = 0.2


@dataclass(frozen=True)
class Row:
    """One load. cost: CPU time of a segment, as a ratio to that at the knee. predicted, measured: p50 and p95 of the lag, s."""

    name: str
    rate: float
    cost: float
    predicted: tuple[float, float]
    measured: tuple[float, float]

    @property
    def errors(self) -> tuple[float, float]:
        """Of p50 and of p95, as shares of what was measured."""
        return tuple(guess / fact - 1 for guess, fact in zip(self.predicted, self.measured, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class Result:
    """The costs, a row for each load, and of the knee segments per second and CPU seconds of a segment: predicted, measured.

    others: cores that the broker, this bench and all other programs took at the knee; the prediction is for the rest.
    """

    costs: StageCosts
    rows: list[Row]
    knee: tuple[float, float]
    cpu: tuple[float, float]
    others: float


class LiveWorker:
    """A real worker on the embedded broker, and the lags of its answers."""

    def __init__(self, broker: str, folder: Path, segments: list[Path]) -> None:
        self._segments = segments
        self._producer = KafkaProducer(bootstrap_servers=broker)
        self._port = free_port("127.0.0.1")
        self._worker = Worker(
            "bench", folder, FVQ_BROKER=broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_LIVE_WINDOW="off",
            FVQ_SESSION_TIMEOUT="6", FVQ_WEB_PORT=str(self._port),
        ).start()  # fmt: skip
        wait_for("the worker is ready", lambda: read_page(self._port, "/readyz")[0] == 200, 180)
        self._follower = Follower(broker, SCORES_TOPIC)
        self._answered = 0

    def play(self, name: str, times: list[float]) -> list[tuple[float, float]]:
        """Announce segments at these seconds from now, and wait until all are answered; returns time and lag of each, s."""
        began = datetime.now(UTC) + timedelta(seconds=0.2)
        due = {}
        for number, moment in enumerate(times):
            end = began + timedelta(seconds=moment)
            event = SegmentEvent(
                stream_id=f"channel-{number % STREAMS}",
                segment_id=f"{name}/{number}",
                sequence=number,
                uri=self._segments[number % len(self._segments)].as_uri(),
                start=end - timedelta(seconds=SEGMENT_SECONDS),
                duration=SEGMENT_SECONDS,
            )
            due[event.segment_id] = moment
            time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
            self._producer.send(SEGMENTS_TOPIC, key=event.stream_id.encode(), value=event.to_bytes())
            self._producer.flush()
        expected = self._answered + len(times)
        wait_for(f"the answers of {name}", lambda: len(self._follower.read()) >= expected, 240, every=0.5)
        scores = [SegmentScore.from_bytes(value) for value in self._follower.values[self._answered :]]
        self._answered = expected
        return [(due[score.segment_id], score.timing["lag_s"]) for score in scores]

    def cpu_seconds(self) -> float:
        """CPU time of the worker and its children so far, s."""
        return group_cpu_seconds(self._worker.pid)  # `Worker` makes a process group of its own

    def close(self) -> None:
        """Kill the worker."""
        self._worker.kill()
        self._producer.close()
        self._follower.close()


def compare(name: str, times: list[float], worker: LiveWorker, service: Service, ratio: float, cpu: float) -> Row:
    """Play times, and simulate them. ratio: knee / predicted capacity, by which the simulated times are longer.

    cpu: CPU seconds of a segment at the knee.
    """
    before = worker.cpu_seconds()
    lags = [lag for moment, lag in worker.play(name, times) if moment >= WARM_UP]
    cost = (worker.cpu_seconds() - before) / len(times) / cpu
    course = simulate([[moment * ratio for moment in times]], slower(service, cost), WARM_UP * ratio)
    measured = float(np.quantile(lags, 0.5)), float(np.quantile(lags, 0.95))
    return Row(name, len(times) / (times[-1] - times[0]), cost, (course.lag(0.5), course.lag(0.95)), measured)


def slower(service: Service, cost: float) -> Service:
    """The same with all CPU times longer by this ratio."""
    return replace(
        service,
        sample_s=service.sample_s * cost,
        event_s=service.event_s * cost,
        batch_s=service.batch_s * cost,
        clip_s=service.clip_s * cost,
    )


def cpu_of(service: Service) -> float:
    """CPU seconds of a segment in a full batch."""
    return service.sample_s + service.event_s + service.clip_s + service.batch_s / service.batch_size


def run(loads: list[float], seconds: float, height: int) -> Result:
    """Measure the costs, then predict and measure."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        segments = make_segments(folder, height)
        options = Measured("nano", Registry(str(folder / "models"), folder / "cache"))
        costs = measure([folder / "clip.mp4"], options, say)
        cores = len(os.sched_getaffinity(0))
        demand = Demand(STREAMS, SEGMENT_SECONDS, height)
        # One thread, because `Worker` sets OMP_NUM_THREADS=1.
        service = replace(service_of(demand, costs, Limits(worker_cores=cores, live_window=None), 0.0), threads=1)
        full = capacity(service)
        with EmbeddedBroker() as broker:
            create_topics(Connection(broker.address), partitions=4, replication=1)
            worker = LiveWorker(broker.address, folder, segments)
            try:
                worker.play("warm-up", [0.0] * 16)
                say("the knee: a backlog")
                count = round(full * BACKLOG_SECONDS)
                began, before, all_before = time.monotonic(), worker.cpu_seconds(), machine_cpu_seconds()
                knee = rate_of(np.array(sorted(lag for _, lag in worker.play("backlog", [0.0] * count))))
                seconds_used = worker.cpu_seconds() - before
                others = (machine_cpu_seconds() - all_before - seconds_used) / (time.monotonic() - began)
                cpu = seconds_used / count
                left = full * (cores - others) / cores
                rows = []
                for load, aligned in [*((load, False) for load in loads), (0.7, True)]:
                    name = f"{load:g}, segments that end together" if aligned else f"{load:g}"
                    say(f"load {name}")
                    period = STREAMS / (load * knee)
                    times = arrivals(STREAMS, period, max(seconds, WARM_UP + 3 * period), aligned, seed=1)
                    rows.append(compare(name, times, worker, service, knee / full, cpu))
            finally:
                worker.close()
    return Result(costs, rows, (left, knee), (cpu_of(service), cpu), others)


def rate_of(answered: np.ndarray) -> float:
    """Answers per second over the middle of a backlog. answered: (N,) times of the answers, ascending, s."""
    first, last = len(answered) // 10, len(answered) * 9 // 10
    return float((last - first) / (answered[last] - answered[first]))


def validation(result: Result) -> list[str]:
    """The table of the validation, Markdown."""
    (full, knee), (predicted_cpu, cpu) = result.knee, result.cpu
    table = [
        "| load | segments/s | CPU | p50 predicted, s | measured, s | error | p95 predicted, s | measured, s | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result.rows:
        cells = [
            f"{guess:.2f} | {fact:.2f} | {error:+.0%}"
            for guess, fact, error in zip(row.predicted, row.measured, row.errors, strict=True)
        ]
        table.append(f"| {row.name} | {row.rate:.2f} | {row.cost:.2f} | {' | '.join(cells)} |")
    table += [
        "",
        f"The knee: {full:.2f} segments/s predicted for the {os.cpu_count()} cores without the {result.others:.2f} that other "
        f"programs took, {knee:.2f} measured, error {full / knee - 1:+.0%}. "
        f"CPU of a segment: {predicted_cpu:.3f} s predicted, {cpu:.3f} s measured, error {predicted_cpu / cpu - 1:+.0%}.",
    ]
    return table


def ship() -> None:
    """Measure the shipped costs anew on this machine: the demo's clip with grain and at the bit rates of live streams."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        sources = []
        for height in (360, 720, 1080):
            clip = Path(name, f"demo-{height}p.mp4")
            width = height * 16 // 9
            fill = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},noise=alls=5:allf=t"
            rate = str(round(2.8e6 * (height / 720) ** 1.5))
            encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", rate, "-g", "50", "-pix_fmt", "yuv420p"]
            ffmpeg("-t", "8", "-i", DEMO, "-an", "-vf", fill, *encode, clip)
            sources += ["--source", str(clip)]
        # A process of its own: this one has torch loaded, which would be counted as a worker's memory without a model.
        command = [FVQ, "plan", "--streams", "1", "--measure", *sources, "--save", str(SHIPPED_COSTS)]
        subprocess.run(command, env=clean_environment(), check=True)


def tables() -> list[str]:
    """The plans for 1,000, 10,000 and 100,000 streams from the shipped costs, Markdown."""
    costs = read_costs(SHIPPED_COSTS)
    counts, seconds = (1_000, 10_000, 100_000), (2.0, 6.0)
    plans = [plan(Demand(count, length), costs, Limits()) for length in seconds for count in counts]
    columns = [f"{result.demand.streams:,} x {result.demand.segment_seconds:g} s" for result in plans]
    table = [f"Costs: {costs.machine}, {costs.measured}.", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    every: list[list[Line]] = [lines(result, costs) for result in plans]
    for place, line in enumerate(every[0]):
        values = [shown(column[place]) for column in every]
        table.append(f"| {line.name} | {' | '.join(values)} |")
    glanced = [plan(replace(result.demand, full_share=FULL_SHARE), costs, Limits()).workers for result in plans]
    cells = " | ".join(f"{workers:,} x {Limits().worker_cores} cores" for workers in glanced)
    table.append(f"| workers with `FVQ_TIERS=on`, {FULL_SHARE:.0%} of full looks | {cells} |")
    for name, share in (("lag p50, average worker", "p50"), ("lag p99, average worker", "p99")):
        table.append(f"| {name} | {' | '.join(f'{getattr(result.average, share):.1f} s' for result in plans)} |")
    table.append(f"| lag p99, busiest worker | {' | '.join(f'{result.crowded.p99:.1f} s' for result in plans)} |")
    table.append(f"| breaks first, at streams | {' | '.join(f'{result.bounds[0].streams:,}' for result in plans)} |")
    return table


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=35.0, help="length of each load")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 0.7, 0.9, 1.1])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into docs/capacity.md")
    parser.add_argument("--ship", action="store_true", help="measure the shipped costs anew")
    parser.add_argument("--tables", action="store_true", help="write the tables for 1,000 streams and more into docs/capacity.md")
    arguments = parser.parse_args()
    if arguments.ship:
        ship()
        return
    if arguments.tables:
        replace_marked(PAGE, "python -m tests.bench.plan --tables", tables())
        return
    result = run(arguments.loads, arguments.seconds, arguments.height)
    if arguments.json:
        report = {
            "costs": result.costs.model_dump(),
            "rows": [
                {"load": row.name, "rate": row.rate, "predicted": row.predicted, "measured": row.measured, "errors": row.errors}
                for row in result.rows
            ],
            "knee": {"predicted": result.knee[0], "measured": result.knee[1], "others": result.others},
            "cpu": {"predicted": result.cpu[0], "measured": result.cpu[1]},
        }
        print(json.dumps(report))
        return
    table = validation(result)
    worst = max(abs(error) for row in result.rows for error in row.errors)
    note = f"{processor()}, {os.cpu_count()} cores, {arguments.height}p; the largest error is {worst:.0%}, the goal {GOAL:.0%}."
    print("\n".join([*table, "", note]))
    if arguments.write:
        replace_marked(PAGE, "make bench-plan", [*table, "", note])


if __name__ == "__main__":
    main()
