"""What a command costs before it does anything: CPU time as a ratio to a Python that imports numpy and av, and memory.

The CPU time of a command counts its children too, as far as it waits for them: of `fvq score` the sampling child.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from streams.ports import free_port
from tests.bench.looks import DEMO
from tests.support.cpu import group_cpu_seconds
from tests.support.media import ffmpeg
from tests.support.pages import read_page
from tests.support.processes import FVQ, PYTHON, Worker, clean_environment
from tests.support.waiting import wait_for

BASE = [PYTHON, "-c", "import numpy, av"]


@dataclass(frozen=True)
class Start:
    """cpu_s: CPU seconds. ratio: to those of the base. memory_mb: of its largest process, resident; None where not measured."""

    name: str
    cpu_s: float
    ratio: float
    memory_mb: float | None = None


def measure(rounds: int = 2) -> list[Start]:
    """The base, then each command: the least of so many runs."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        ffmpeg("-i", DEMO, "-t", "2", "-c", "copy", "-an", clip)
        settings = {"FVQ_DATA_DIR": str(folder / "data")}
        commands = {
            "`fvq --help`": [FVQ, "--help"],
            "`fvq models ls`": [FVQ, "models", "ls"],
            "`fvq queue ls`": [FVQ, "queue", "ls"],
            "`fvq score`, a file of 2 s": [FVQ, "score", str(clip)],
        }
        base = min(_run(BASE, settings)[0] for _ in range(rounds + 1))
        starts = [Start("a Python that does `import numpy, av`", base, 1.0)]
        for title, command in commands.items():
            runs = [_run(command, settings) for _ in range(rounds)]
            cpu = min(run[0] for run in runs)
            starts.append(Start(title, cpu, cpu / base, max(run[1] for run in runs)))
        cpu = _worker_start(folder)
        return [*starts, Start("`fvq worker`, until it is ready", cpu, cpu / base)]


RUN = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(done.returncode)
"""
"""Runs a command and prints its CPU seconds and MiB. In a small process, because the memory of a parent counts as its child's."""


def _run(command: list[str], settings: dict[str, str]) -> tuple[float, float]:
    """CPU seconds and MiB of one run; raises where it fails."""
    done = subprocess.run(
        [PYTHON, "-S", "-c", RUN, *command], env=clean_environment() | settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu, memory = json.loads(done.stdout)
    return cpu, memory


def _worker_start(folder: Path) -> float:
    """CPU seconds of a worker and its child until `/readyz` answers 200."""
    port = free_port("127.0.0.1")
    with EmbeddedBroker() as broker:
        create_topics(Connection(broker.address), partitions=4, replication=1)
        worker = Worker("start", folder, FVQ_BROKER=broker.address, FVQ_WEB_PORT=str(port), FVQ_SAMPLER_WORKERS="1").start()
        try:
            wait_for("the worker is ready", lambda: read_page(port, "/readyz")[0] == 200, 120)
            return group_cpu_seconds(worker.pid)
        finally:
            worker.kill()
