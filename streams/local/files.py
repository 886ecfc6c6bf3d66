"""`fvq score`: scores of files, folders and addresses, without any server.

file -> windows of a segment's length, sampled in the pool -> batches -> scores -> one record per file.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.registry import Registry
from scorer.sampling import SamplerPool
from scorer.spec import SampledClip, Scorer, Window
from streams.errors import MediaError, SettingsError
from streams.local.output import Form, open_writer
from streams.local.shown_progress import ShownProgress
from streams.local.windows import SEGMENT_SECONDS, ScoredWindow, record, without_pixels
from streams.media.videos import VIDEO_SUFFIXES, check_file, find_videos, for_children

if TYPE_CHECKING:
    from streams.media.fetch import FetchLimits

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
    paths: Sequence[str | Path],
    scoring: Scoring,
    *,
    fetch: FetchLimits | None = None,
    form: Form = "table",
    plot: Path | None = None,
) -> int:
    """Score files, folders and addresses, and print a record of each video; returns the exit code.

    paths: an address has `://` in it. fetch: what may be fetched; None refuses addresses. form: "table", "json" or "csv". plot:
    also write a picture of the scores to this file. Where a video cannot be scored, its record says why, the others are scored,
    and the exit code is 1. Raises `MediaError` where there is no video, `SettingsError` where a path is empty or a
    picture has no room for so many, `ValueError` where the picture cannot be written, and `ModelError`.
    """
    from scorer.load import load_engine

    videos = _videos(paths, fetch)
    if not videos:
        raise MediaError(f"no video in {', '.join(map(str, paths))}; known endings are {' '.join(sorted(VIDEO_SUFFIXES))}")
    if plot is not None:
        from streams.local.plot import check_panels, check_picture  # imports matplotlib

        check_picture(plot)
        check_panels(plot, len(videos))
    engine = load_engine(scoring.model, scoring.device, scoring.registry)
    writer, progress = open_writer(form, sys.stdout), ShownProgress(len(videos), sys.stderr)
    courses: list[tuple[str, list[ScoredWindow]]] = []
    failed = 0
    # Few files keep few children busy, and a child takes longer to start than a short file to be sampled.
    seconds = scoring.window_timeout * WINDOWS_PER_TASK
    with SamplerPool(engine.spec, scoring.workers, seconds, scoring.memory_mb, eager=False) as pool:
        for number, (name, local) in enumerate(videos, 1):
            tell = partial(progress.show, number, name)
            tell(0.0)
            try:
                with local as path:
                    windows = score_file(path, pool, engine, scoring.batch_size, tell)
            except MediaError as error:
                failed += 1
                answer: dict[str, Any] = {"file": name, "error": error.reason}
            else:
                answer = record(name, windows)
                if plot is not None:
                    courses.append((name, windows))
            finally:
                progress.clear()
            writer.add(answer)
    writer.close()
    if plot is not None and courses:
        from streams.local.plot import plot_courses

        plot_courses(courses, plot)
    return 1 if failed else 0


def _videos(paths: Sequence[str | Path], fetch: FetchLimits | None) -> list[tuple[str, AbstractContextManager[Path]]]:
    """Each video in order: its name in records, and what gives its local file."""
    videos: list[tuple[str, AbstractContextManager[Path]]] = []
    for path in map(str, paths):
        if not path:  # as of a shell's variable that is not set; as a path it would be the folder that this runs in
            raise SettingsError("FILE", "is empty: name a file, a folder or an address; `.` is this folder")
        if fetch is not None and "://" in path:
            from streams.local import addresses  # imports an HTTP client

            if addresses.is_address(path):
                videos.append((addresses.shown(path), addresses.fetched(path, fetch)))
                continue
        videos += [(str(video), nullcontext(video)) for video in find_videos([Path(path)])]
    return videos


def score_file(
    path: Path, pool: SamplerPool, scorer: Scorer, batch_size: int, tell: Callable[[float], None] = lambda _: None
) -> list[ScoredWindow]:
    """Every window of a file with its score, in order. Raises `MediaError` where the file cannot be scored.

    tell: is called with the seconds of the file that are scored.
    """
    windows: list[ScoredWindow] = []
    for sampled in _sampled(path, pool):
        for i in range(0, len(sampled), batch_size):
            batch = sampled[i : i + batch_size]
            scores = scorer.score([clip for _, clip in batch])
            windows += [
                ScoredWindow(window, without_pixels(clip), score) for (window, clip), score in zip(batch, scores, strict=True)
            ]
            tell(windows[-1].window.start + SEGMENT_SECONDS)
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
    path = for_children(path)
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
