"""`fvq score`: scores of files and folders, without any server.

file -> windows of a segment's length, sampled in the pool -> batches -> scores -> one record per file.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from scorer.sampling import SamplerPool, probe
from scorer.spec import LEVELS, ClipScore, SampledClip, Scorer, Window
from streams import parts
from streams.errors import MediaError
from streams.local.view import score_bar
from streams.media.videos import VIDEO_SUFFIXES, find_videos
from streams.settings import Settings

SEGMENT_SECONDS = 2.0
WINDOWS_PER_TASK = 16


@dataclass(frozen=True)
class ScoredWindow:
    """One segment of a file."""

    window: Window
    clip: SampledClip
    score: ClipScore


Sampled = list[tuple[Window, SampledClip]]


def score_file(path: Path, pool: SamplerPool, scorer: Scorer, batch_size: int) -> list[ScoredWindow]:
    """Every window of a file with its score, in order. Raises `MediaError` where the file cannot be scored."""
    windows: list[ScoredWindow] = []
    for sampled in _sampled(path, pool):
        for i in range(0, len(sampled), batch_size):
            part = sampled[i : i + batch_size]
            scores = scorer.score([clip for _, clip in part])
            windows += [ScoredWindow(window, clip, score) for (window, clip), score in zip(part, scores, strict=True)]
    if not windows:
        raise MediaError("no frame could be decoded")
    return windows


def _sampled(path: Path, pool: SamplerPool) -> Iterator[Sampled]:
    """A file's windows, some at a time and in order; a few tasks ahead of the reader, for an hour of video fills no memory."""
    if not path.exists():
        raise MediaError("no such file", kind="not-found")
    stride = WINDOWS_PER_TASK * SEGMENT_SECONDS
    promised = math.ceil(probe(path).duration / stride)
    ahead: deque[Future[Sampled]] = deque()
    submitted = 0
    while True:
        while len(ahead) <= pool.workers and submitted < max(1, promised):
            ahead.append(pool.submit(path, window_seconds=SEGMENT_SECONDS, start=submitted * stride, limit=WINDOWS_PER_TASK))
            submitted += 1
        sampled = ahead.popleft().result()
        yield sampled
        if not ahead and submitted >= promised:
            # Headers can promise too little: go on as long as tasks come back full.
            if len(sampled) < WINDOWS_PER_TASK:
                return
            promised = submitted + 1


def record(path: Path, windows: Sequence[ScoredWindow]) -> dict[str, Any]:
    """The record of one file: the mean over its segments, weighted by their length, and the segments' course."""
    weights = np.array([w.clip.info.duration or SEGMENT_SECONDS for w in windows])
    weights /= weights.sum()

    def mean(values: Sequence[float]) -> float:
        return float(np.dot(weights, values))

    probabilities = {level: round(mean([w.score.level_probs[level] for w in windows]), 4) for level in LEVELS}
    names = windows[0].clip.signals
    return {
        "file": str(path),
        "score": round(mean([w.score.score for w in windows]), 2),
        "level": max(LEVELS, key=lambda level: probabilities[level]),
        "level_probs": probabilities,
        "uncertainty": round(mean([w.score.uncertainty for w in windows]), 2),
        "faces": {
            "count": int(np.median([w.clip.face_summary.count for w in windows])),
            "area": round(mean([w.clip.face_summary.area for w in windows]), 4),
        },
        "signals": {name: round(mean([w.clip.signals[name] for w in windows]), 4) for name in names},
        "segments": [_segment(w) for w in windows],
        "model": asdict(windows[0].score.model),
    }


def _segment(scored: ScoredWindow) -> dict[str, Any]:
    return {
        "start": round(scored.window.start, 3),
        "duration": round(scored.clip.info.duration, 3),
        "score": scored.score.score,
        "level": scored.score.level,
        "uncertainty": scored.score.uncertainty,
        "faces": asdict(scored.clip.face_summary) | {"area": round(scored.clip.face_summary.area, 4)},
        "signals": {name: round(value, 4) for name, value in scored.clip.signals.items()},
    }


def score_files(
    paths: Sequence[Path], settings: Settings, *, form: str = "table", plot: Path | None = None, out: TextIO = sys.stdout
) -> int:
    """Score files and folders, print the result in that form ("table", "json" or "csv"); returns the exit code.

    A file that cannot be scored is reported in its place, the others are scored, and the exit code is 1.
    """
    from scorer.engine import load_engine

    files = find_videos(paths)
    if not files:
        raise MediaError(f"no video in {', '.join(map(str, paths))}; known endings are {' '.join(sorted(VIDEO_SUFFIXES))}")
    engine = load_engine(settings.model, settings.device, parts.registry(settings))
    writers: dict[str, type[_JsonLines | _Csv | _Table]] = {"json": _JsonLines, "csv": _Csv, "table": _Table}
    writer = writers[form](out)
    courses: list[tuple[Path, list[ScoredWindow]]] = []
    failed = 0
    with (
        SamplerPool(
            engine.spec, settings.sampler_workers, settings.sample_timeout * WINDOWS_PER_TASK, settings.sample_memory_mb
        ) as pool,
        Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task("scoring", total=len(files))
        for path in files:
            try:
                windows = score_file(path, pool, engine, settings.batch_size)
            except MediaError as error:
                failed += 1
                writer.add({"file": str(path), "error": error.reason})
            else:
                writer.add(record(path, windows))
                if plot is not None:
                    courses.append((path, windows))
            progress.advance(task)
    writer.close()
    if plot is not None and courses:
        from streams.local.plot import plot_courses

        plot_courses(courses, plot)
    return 1 if failed else 0


class _JsonLines:
    """One JSON object per line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, one: dict[str, Any]) -> None:
        print(json.dumps(one), file=self._out, flush=True)

    def close(self) -> None:
        pass


class _Csv:
    """One row per segment, and one row per file that failed."""

    FIELDS = ("file", "start", "duration", "score", "level", "uncertainty", "faces", "error")

    def __init__(self, out: TextIO) -> None:
        self._writer = csv.DictWriter(out, self.FIELDS, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def add(self, one: dict[str, Any]) -> None:
        for segment in one.get("segments", [{}]):
            faces = {"faces": segment["faces"]["count"]} if segment else {}
            self._writer.writerow(one | segment | faces if segment else one)

    def close(self) -> None:
        pass


class _Table:
    """A table for people, printed at the end."""

    def __init__(self, out: TextIO) -> None:
        # A pipe has no width of its own, and a name that is broken into lines cannot be searched for.
        self._console = Console(file=out, width=None if out.isatty() else 200)
        self._table = Table(Column("file", overflow="fold"), "score", "", "level", "±", "faces", "worst segment")

    def add(self, one: dict[str, Any]) -> None:
        if "error" in one:
            self._table.add_row(one["file"], "[red]error[/red]", "", one["error"])
            return
        worst = min(one["segments"], key=lambda segment: segment["score"])
        self._table.add_row(
            one["file"], f"{one['score']:.1f}", score_bar(one["score"]), one["level"], f"{one['uncertainty']:.0f}",
            str(one["faces"]["count"]), f"{worst['score']:.1f} at {worst['start']:.0f} s",
        )  # fmt: skip

    def close(self) -> None:
        self._console.print(self._table)
