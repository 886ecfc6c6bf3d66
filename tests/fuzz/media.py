"""Mutated media through `SamplerPool`, as `fvq score` uses it: each file gives clips or a `MediaError`, within limits."""

from __future__ import annotations

import json
import math
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

import numpy as np

from scorer.errors import MediaError
from scorer.sampling import SamplerPool
from scorer.sampling.audio.facts import rounded
from streams.events import AudioSummary, FaceSummary, Signals
from streams.local.files import score_file
from streams.local.windows import record
from tests.fuzz.mutations import make_seeds, mutated_file
from tests.fuzz.report import Finding, Report
from tests.support.doubles import SPEC, BrightnessScorer

TASK_SECONDS = 30.0
"""The pool's limit for one task, s; the default of FVQ_SAMPLE_TIMEOUT."""

FILE_SECONDS = 300.0
"""A file without an answer after this time counts as one that hangs, s: some tasks at their limit, and children that start."""

MEMORY_MB = 512
"""The pool's limit for one child, MiB: the lowest that FVQ_SAMPLE_MEMORY_MB takes."""

SPARE_MB = 64
"""What a child's resident memory may grow beyond the limit, MiB: pages of files and stacks do not count against the limit."""


class MemoryWatch:
    """Looks 20 times a second how much resident memory the pool's children and this process have had at most, MiB."""

    def __init__(self, pool: SamplerPool) -> None:
        self.base = max(_memory(pool.submit_task(os.getpid).result(120), "VmRSS") for _ in range(pool.workers))
        self.own_base = _memory(os.getpid(), "VmRSS")
        self.children = self.own = 0.0
        self._pool, self._done = pool, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(0.05):
            self.children = max(self.children, *(_memory(pid, "VmHWM") for pid in self._pool.pids()), 0.0)
            self.own = _memory(os.getpid(), "VmHWM")


def _memory(pid: int, name: str) -> float:
    """A figure of /proc/PID/status, MiB; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def fuzz_media(count: int, seed: int, folder: Path, workers: int = 2) -> Report:
    """Score `count` mutated files, and hold each answer against the promise. folder: for seeds and files."""
    seeds = make_seeds(folder / "seeds")
    report = Report("media", seed)
    lock = threading.Lock()
    numbers = iter(range(count))
    current: dict[int, tuple[float, Path]] = {}
    stopped = threading.Event()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
                if number is None or stopped.is_set():
                    return
                name, data = mutated_file(seeds, random.Random(f"media {seed} {number}"))
                path = folder / f"{number}-{name}"
                path.write_bytes(data)
                started = time.monotonic()
                current[number] = started, path
            outcome, wrong = _try_file(path, pool)
            wrong = wrong or _try_glance(path, pool)
            with lock:
                del current[number]
                if stopped.is_set():
                    return
                report.outcomes[outcome] += 1
                report.add_time(time.monotonic() - started, path.name)
                if wrong is not None:
                    report.findings.append(Finding("media", f"{path.name}: {wrong}", data, f"-{name}"))
            path.unlink()

    with SamplerPool(SPEC, workers, TASK_SECONDS, MEMORY_MB) as pool:
        watch = MemoryWatch(pool)
        threads = ThreadPoolExecutor(workers)
        running = [threads.submit(work) for _ in range(workers)]
        while wait(running, timeout=1).not_done:
            with lock:
                hanging = [path for started, path in current.values() if time.monotonic() - started > FILE_SECONDS]
                if hanging:
                    stopped.set()
            if hanging:
                # Closing the pool below ends the threads that wait for it.
                report.outcomes["hangs"] += len(hanging)
                report.findings += [
                    Finding("media", f"{path.name}: no answer after {FILE_SECONDS:g} s", path.read_bytes(), f"-{path.name}")
                    for path in hanging
                ]
                break
        watch.stop()
    threads.shutdown(wait=not stopped.is_set())
    for thread in running:
        if thread.done() and not thread.cancelled() and (error := thread.exception()) is not None:
            report.findings.append(Finding("fuzzer", f"{type(error).__name__}: {error}", b""))
    _check_memory(watch, report)
    return report


def _try_file(path: Path, pool: SamplerPool) -> tuple[str, str | None]:
    """What a file was answered with, and what is wrong with that; None where nothing is."""
    try:
        windows = score_file(path, pool, BrightnessScorer(), 16)
        json.dumps(record(path, windows), allow_nan=False)
        for scored in windows:
            # Raise where a value is out of its range.
            Signals(**scored.clip.signals)
            if scored.clip.audio is not None:
                AudioSummary(**rounded(scored.clip.audio))
            FaceSummary(count=scored.clip.face_summary.count, area=scored.clip.face_summary.area)
    except MediaError as error:
        if error.kind in ("failed", "setup", "stopped"):
            return f"error: {error.kind}", f"kind {error.kind}: {error.reason}"
        if not error.reason.strip():
            return f"error: {error.kind}", "the error has no reason"
        return f"error: {error.kind}", None
    except Exception as error:
        return "exception", f"{type(error).__name__}: {error}"
    return "clips", None


def _try_glance(path: Path, pool: SamplerPool) -> str | None:
    """What is wrong with a glance at a file; None where nothing is."""
    try:
        seen = pool.glance(path).result()
    except MediaError as error:
        return f"glance: kind {error.kind}: {error.reason}" if error.kind in ("failed", "setup", "stopped") else None
    except Exception as error:
        return f"glance: {type(error).__name__}: {error}"
    facts = [value for value in asdict(seen.bitstream).values() if isinstance(value, float)]
    facts += [value for value in asdict(seen.audio).values() if isinstance(value, float)] if seen.audio is not None else []
    if not all(math.isfinite(value) for value in facts):
        return f"glance: {seen.bitstream}, {seen.audio}"
    if seen.picture is not None and not np.isfinite(seen.picture).all():
        return "glance: the statistics are not finite"
    return None


def _check_memory(watch: MemoryWatch, report: Report) -> None:
    growth = watch.children - watch.base
    report.notes.append(f"peak memory of a child: {watch.children:.0f} MiB, {growth:.0f} over its start (limit {MEMORY_MB})")
    report.notes.append(f"peak memory of this process: {watch.own:.0f} MiB, at the start {watch.own_base:.0f}")
    if growth > MEMORY_MB + SPARE_MB:
        report.findings.append(Finding("memory", report.notes[0], b""))
