"""`make bench-serve`: what serving costs: rate, latency and CPU of `fvq serve` with the real `nano`, against the bare model.

    python -m tests.bench.serve [--ray] [--rounds 3] [--json]

The bare model scores batches of 8 in a process of its own, before and after the others; the best of its rates is what the served
rates are divided by. Clients send bodies of 1 or 8 clips over kept connections, each the next one as soon as it has its scores.
The CPU of the serving layer is measured with an engine that sleeps, so that all CPU of the process is the layer's. In the
overload, requests come at twice the bare rate whatever is answered. The model has one thread. The speed of a machine varies, so
the results to compare are the ratios.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scorer.load import load_engine
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.replica import Limits
from scorer.remote.serve import serve
from scorer.remote.wire import MEDIA_TYPE, pack
from scorer.spec import ClipScore, ModelId, ModelInput
from streams.text import counted
from tests.bench.progress import say
from tests.support.cpu import cpu_seconds
from tests.support.processes import PYTHON, ROOT, clean_environment
from tests.support.serve_process import SPEC, STATISTICS, TOKEN, clips_of, fvq_serve

BATCH = 8
BARE_BATCHES = 6
CASES = ((1, 1), (8, 1), (32, 1), (1, 8), (8, 8), (32, 8))
"""Clients, and clips in a body."""

LEAST_CLIPS = 288
OVERLOAD_SECONDS = 20.0
OVERLOAD_QUEUE = 64
SLEEP_SECONDS = 0.005
LAYER_CLIPS = 480


@dataclass(frozen=True)
class Served:
    """One case. share: of the bare model's best rate. p50, p99: seconds from a request to its scores."""

    host: str
    clients: int
    clips: int
    rate: float
    share: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Overload:
    """Twice the bare rate. share: of the bare rate that was scored. with_retry_after: of the refusals."""

    scored: int
    refused: int
    with_retry_after: int
    others: int
    share: float
    p99: float


def bare_rate() -> float:
    """Clips per second of the model alone: the best of some batches. It runs in a process of its own."""
    say("the bare model")
    command = [PYTHON, "-m", "tests.bench.serve", "--bare"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_bare() -> float:
    """Clips per second of the model in this process."""
    engine, clips = load_engine("nano", "cpu"), clips_of(BATCH)
    engine.score(clips)
    seconds = []
    for _ in range(BARE_BATCHES):
        began = time.perf_counter()
        engine.score(clips)
        seconds.append(time.perf_counter() - began)
    return BATCH / min(seconds)


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, float, bool]:
    """Status, seconds, and whether the answer says when to come again."""
    began = time.perf_counter()
    headers = {"Content-Type": MEDIA_TYPE, "Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/v1/score", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, time.perf_counter() - began, answer.headers["Retry-After"] is not None


def drive(port: int, clients: int, bodies: Sequence[bytes], requests: int) -> tuple[float, list[float]]:
    """Clients that send `requests` bodies each, one after the other. Returns the seconds in all, and of each request."""

    def send(client: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        answers = [post(connection, bodies[client % len(bodies)]) for _ in range(requests)]
        connection.close()
        if wrong := [status for status, _, _ in answers if status != 200]:
            raise RuntimeError(f"the scorer answered with status {wrong[0]}")
        return [seconds for _, seconds, _ in answers]

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        times = [seconds for own in threads.map(send, range(clients)) for seconds in own]
    return time.perf_counter() - began, times


def measure_host(host: str, port: int, bare: float, rounds: int) -> list[Served]:
    """All cases against one server."""
    rows = []
    for clients, clips in CASES:
        say(f"{host}: {counted(clients, 'client')}, {counted(clips, 'clip')} in a body")
        body = pack(clips_of(clips), SPEC)
        requests = max(rounds, -(-LEAST_CLIPS // (clients * clips)))
        drive(port, 1, [body], 1)
        seconds, times = drive(port, clients, [body], requests)
        rate = clients * clips * requests / seconds
        p99 = sorted(times)[int(0.99 * (len(times) - 1))]
        rows.append(Served(host, clients, clips, rate, rate / bare, statistics.median(times), p99))
    return rows


def measure_overload(port: int, bare: float) -> Overload:
    """Requests of 8 clips at twice the bare rate."""
    say(f"twice the bare rate, {OVERLOAD_SECONDS:.0f} s")
    body, pause = pack(clips_of(BATCH), SPEC), BATCH / (2 * bare)
    answers: list[tuple[int, float, bool]] = []

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        answers.append(post(connection, body))
        connection.close()

    began = time.perf_counter()
    threads = []
    while time.perf_counter() - began < OVERLOAD_SECONDS:
        threads.append(threading.Thread(target=send))
        threads[-1].start()
        time.sleep(max(0.0, began + len(threads) * pause - time.perf_counter()))
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    times = sorted(seconds for status, seconds, _ in answers if status == 200)
    refusals = [retry for status, _, retry in answers if status == 503]
    return Overload(
        scored=len(times),
        refused=len(refusals),
        with_retry_after=sum(refusals),
        others=len(threads) - len(times) - len(refusals),
        share=len(times) * BATCH / seconds / bare,
        p99=times[int(0.99 * (len(times) - 1))],
    )


class SleepingEngine:
    """An engine that uses no CPU. It follows no registry."""

    spec, statistics, model, follows = SPEC, STATISTICS, ModelId("sleep", "1"), False

    @property
    def engine(self) -> SleepingEngine:
        """Itself."""
        return self

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """The same score for each clip, after some time."""
        time.sleep(SLEEP_SECONDS * len(clips))
        levels = {"bad": 0.1, "poor": 0.2, "fair": 0.4, "good": 0.2, "excellent": 0.1}
        return [ClipScore(50.0, "fair", levels, 5.0, self.model)] * len(clips)

    def check(self) -> None:
        """Nothing can be wrong with it."""

    def refresh(self) -> bool:
        """There is no other version."""
        return False


def serve_sleeping() -> None:
    """The server around an engine that sleeps; prints its port."""

    def load(_: ReplicaMetrics) -> SleepingEngine:
        return SleepingEngine()

    serve(load, "127.0.0.1", 0, TOKEN, Limits(), lambda host, port: print(port, flush=True))


def layer_cpu(clients: int, clips: int) -> float:
    """CPU milliseconds of the server's process for each clip, with an engine that needs none."""
    say(f"CPU of the serving layer: {counted(clients, 'client')}, {counted(clips, 'clip')} in a body")
    command = [PYTHON, "-m", "tests.bench.serve", "--sleeping"]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, body = int(process.stdout.readline()), pack(clips_of(clips), SPEC)
        drive(port, clients, [body], 2)
        before = cpu_seconds(process.pid)
        requests = LAYER_CLIPS // (clients * clips)
        drive(port, clients, [body], requests)
        used = cpu_seconds(process.pid) - before
        process.terminate()
    return 1000 * used / (requests * clients * clips)


def run(with_ray: bool, rounds: int, as_json: bool) -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        before = bare_rate()
        with fvq_serve(folder_in(folder, "plain")) as served:
            rows = measure_host("plain", served.port, before, rounds)
        with fvq_serve(folder_in(folder, "overload"), FVQ_SERVE_QUEUE=str(OVERLOAD_QUEUE)) as served:
            overload = measure_overload(served.port, before)
        if with_ray:
            with fvq_serve(folder_in(folder, "ray"), "--ray", seconds=300) as served:
                rows += measure_host("ray", served.port, before, rounds)
        after = bare_rate()
    best = max(before, after)
    rows = [Served(**asdict(row) | {"share": row.rate / best}) for row in rows]
    layer = {f"{clients} clients, {clips} clips": layer_cpu(clients, clips) for clients, clips in ((8, 1), (4, 8))}
    if as_json:
        document = {"bare": [before, after], "served": [asdict(row) for row in rows], "layer_cpu_ms": layer}
        print(json.dumps(document | {"overload": asdict(overload)}))
        return
    print(f"bare model, batches of {BATCH}: {before:.1f} clips/s before, {after:.1f} after; the shares are of the better one\n")
    print(
        "| host | clients | clips in a body | share of the bare rate | clips/s | p50, s | p99, s |\n|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(f"| {row.host} | {row.clients} | {row.clips} | {row.share:.2f} | {row.rate:.1f} | {row.p50:.2f} | {row.p99:.2f} |")
    print("\nCPU of the serving layer, ms a clip: " + "; ".join(f"{case}: {value:.2f}" for case, value in layer.items()))
    print(
        f"\ntwice the bare rate for {OVERLOAD_SECONDS:.0f} s, queue of {OVERLOAD_QUEUE} clips: {overload.scored} requests scored"
        f" ({overload.share:.2f} of the bare rate, p99 {overload.p99:.2f} s), {overload.refused} refused with 503,"
        f" {overload.with_retry_after} of them with Retry-After, {overload.others} others"
    )


def folder_in(folder: Path, name: str) -> Path:
    """A new folder."""
    (folder / name).mkdir()
    return folder / name


def main() -> int:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description="Rate, latency and CPU of the served scorer, against the bare model.")
    parser.add_argument("--ray", action="store_true", help="Measure Ray Serve too.")
    parser.add_argument("--rounds", type=int, default=3, help="Least number of requests of each client.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sleeping", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    actions: dict[str, Callable[[], None]] = {"bare": lambda: print(measure_bare()), "sleeping": serve_sleeping}
    for name, action in actions.items():
        if getattr(options, name):
            action()
            return 0
    run(options.ray, options.rounds, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
