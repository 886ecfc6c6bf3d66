"""`fvq score`: scores of files and folders, without any server.

file -> windows of a segment's length, sampled in the pool -> batches -> scores -> one record per file.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from scorer.registry import Registry
from scorer.sampling import SamplerPool
from scorer.spec import SampledClip, Scorer, Window
from streams.errors import MediaError
from streams.local.output import Form, open_writer
from streams.local.windows import SEGMENT_SECONDS, ScoredWindow, record, without_pixels
from streams.media.videos import VIDEO_SUFFIXES, check_file, find_videos

WINDOWS_PER_TASK = 16

MAX_TASKS = 100_000
"""Tasks of one file, 37 days: no stamp and no header makes more work than that."""

Sampled = list[tuple[Window, SampledClip]]


@dataclass(frozen=True)
class Scoring:
    """How files are scored.

    model: name, folder, or `name@version` from the registry. device: "auto", "cpu" or "cuda". batch_size: windows scored
    together. workers: sampling processes. window_timeout: seconds in which one window must be sampled. memory_mb: MiB that one
    sampling process may allocate.
    """

    model: str
    device: str
    registry: Registry
    batch_size: int
    workers: int
    window_timeout: float
    memory_mb: int


def score_files(
    paths: Sequence[Path], scoring: Scoring, *, form: Form = "table", plot: Path | None = None, out: TextIO = sys.stdout
) -> int:
    """Score files and folders, and print a record of each file; returns the exit code.

    form: "table", "json" or "csv". plot: also write a picture of the scores to this file. Where a file cannot be scored, its
    record says why, the other files are scored, and the exit code is 1. Raises `MediaError` where there is no video, and
    `ModelError`.
    """
    from scorer.load import load_engine

    files = find_videos(paths)
    if not files:
        raise MediaError(f"no video in {', '.join(map(str, paths))}; known endings are {' '.join(sorted(VIDEO_SUFFIXES))}")
    engine = load_engine(scoring.model, scoring.device, scoring.registry)
    writer = open_writer(form, out)
    courses: list[tuple[Path, list[ScoredWindow]]] = []
    failed = 0
    # Few files keep few children busy, and a child takes longer to start than a short file to be sampled.
    seconds = scoring.window_timeout * WINDOWS_PER_TASK
    with (
        SamplerPool(engine.spec, scoring.workers, seconds, scoring.memory_mb, eager=False) as pool,
        _progress(len(files)) as advance,
    ):
        for path in files:
            try:
                windows = score_file(path, pool, engine, scoring.batch_size)
            except MediaError as error:
                failed += 1
                writer.add({"file": str(path), "error": error.reason})
            else:
                writer.add(record(path, windows))
                if plot is not None:
                    courses.append((path, windows))
            advance()
    writer.close()
    if plot is not None and courses:
        from streams.local.plot import plot_courses  # imports matplotlib

        plot_courses(courses, plot)
    return 1 if failed else 0


@contextmanager
def _progress(files: int) -> Iterator[Callable[[], None]]:
    """What shows in a terminal that another of the files is done."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=files)
        yield lambda: progress.advance(task)


def score_file(path: Path, pool: SamplerPool, scorer: Scorer, batch_size: int) -> list[ScoredWindow]:
    """Every window of a file with its score, in order. Raises `MediaError` where the file cannot be scored."""
    windows: list[ScoredWindow] = []
    for sampled in _sampled(path, pool):
        for i in range(0, len(sampled), batch_size):
            batch = sampled[i : i + batch_size]
            scores = scorer.score([clip for _, clip in batch])
            windows += [
                ScoredWindow(window, without_pixels(clip), score) for (window, clip), score in zip(batch, scores, strict=True)
            ]
    if not windows:
        raise MediaError("no frame could be decoded")
    return windows


def _sampled(path: Path, pool: SamplerPool) -> Iterator[Sampled]:
    """The windows of a file in order, those of one task at a time.

    Only a few tasks are submitted ahead of the reader, because the clips of a long video do not fit into memory. The header's
    duration tells only how many those are: the file ends at the first task without a window. The file is opened in the
    pool's children alone.
    """
    check_file(path)
    stride = WINDOWS_PER_TASK * SEGMENT_SECONDS
    expected = min(MAX_TASKS, math.ceil(pool.probe(path).result().duration / stride))
    waiting: deque[Future[Sampled]] = deque()
    submitted = 0
    try:
        while True:
            while len(waiting) <= pool.workers and submitted < max(1, expected):
                waiting.append(
                    pool.submit(path, window_seconds=SEGMENT_SECONDS, start=submitted * stride, limit=WINDOWS_PER_TASK)
                )
                submitted += 1
            sampled = waiting.popleft().result()
            if not sampled:
                return
            yield sampled
            if not waiting and submitted >= expected:
                # A header may give a duration that is too short, so go on until a task returns fewer windows than its limit.
                if len(sampled) < WINDOWS_PER_TASK or submitted >= MAX_TASKS:
                    return
                expected = submitted + 1
    finally:
        for task in waiting:
            task.cancel()
