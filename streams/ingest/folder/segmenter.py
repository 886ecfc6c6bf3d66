"""From a complete file to its segments: the file itself, or, where it is long, pieces of it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from scorer.sampling import SamplerPool, VideoFacts
from scorer.spec import SamplerSpec
from streams.errors import OWN_FAULTS, MediaError
from streams.events import LONGEST_SEGMENT
from streams.ingest.files import CutLimits, CutSegment, Source, cut

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
"""Between two looks at pieces that are too old."""


@dataclass(frozen=True)
class SegmenterOptions:
    """How files become segments.

    directory: where pieces are written. segment_seconds: the length of a piece, at least. cut_over: seconds; a longer file is
    cut. keep_hours: pieces are deleted after this time; None for never.
    """

    directory: Path
    segment_seconds: float = 2.0
    cut_over: float = 15.0
    keep_hours: float | None = 24.0


@dataclass(frozen=True)
class Segments:
    """A file's segments, at least one. problem: why the file cannot be measured; then it is one segment of unknown length."""

    segments: list[CutSegment]
    problem: str = ""

    @property
    def length(self) -> float:
        """Seconds from the beginning of the first to the end of the last."""
        return self.segments[-1].start + self.segments[-1].duration


class Segmenter:
    """Measures and cuts files in child processes. Use it as a context manager; many folders share one."""

    def __init__(self, options: SegmenterOptions, limits: CutLimits) -> None:
        self._options, self._limits = options, limits
        self._pool: SamplerPool | None = None
        self._swept = 0.0

    def __enter__(self) -> Self:
        self._pool = SamplerPool(SamplerSpec(), 1, self._limits.seconds, self._limits.memory_mb)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.close()

    async def segments(self, stream_id: str, path: Path) -> Segments:
        """The segments of a file. One that cannot be read is a segment too: the worker says why it is none.

        Raises `MediaError` or OSError where the fault is this machine's, so that the file has to be tried again.
        """
        facts, problem = await self._probe(path)
        longest = min(self._options.cut_over, LONGEST_SEGMENT)
        if facts is None:
            return Segments([CutSegment(path, 0.0, self._options.segment_seconds)], problem)
        is_short = 0 < facts.duration <= longest
        if is_short and await asyncio.to_thread(_size, path) <= self._limits.segment_mb << 20:
            return Segments([CutSegment(path, 0.0, facts.duration)])
        try:
            return Segments(await asyncio.to_thread(self._cut, Source(stream_id, path), facts))
        except MediaError as error:
            if error.kind in OWN_FAULTS:
                raise
            duration = facts.duration if 0 < facts.duration <= LONGEST_SEGMENT else self._options.segment_seconds
            return Segments([CutSegment(path, 0.0, duration)], error.reason)

    async def _probe(self, path: Path) -> tuple[VideoFacts | None, str]:
        """What the file's header says; None and the reason where it cannot be read."""
        assert self._pool is not None, "the segmenter is not open"
        try:
            facts = await asyncio.wrap_future(self._pool.probe(path))
        except MediaError as error:
            if error.kind in OWN_FAULTS:
                raise
            return None, error.reason
        return facts, ""

    def _cut(self, source: Source, facts: VideoFacts) -> list[CutSegment]:
        self._sweep()
        options = self._options
        segments = cut(source, options.directory, options.segment_seconds, lambda _: facts, self._limits)
        # The first packet of a stream need not be at 0, and the file's own clock counts from there.
        first = segments[0].start
        return [replace(segment, start=segment.start - first) for segment in segments]

    def _sweep(self) -> None:
        """Delete pieces that are too old; also what a killed process left."""
        now = time.time()
        self._options.directory.mkdir(parents=True, exist_ok=True)
        if self._options.keep_hours is None or now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        for folder in self._options.directory.iterdir():
            try:
                if folder.stat().st_mtime < now - 3600 * self._options.keep_hours:
                    shutil.rmtree(folder)
            except OSError as error:
                log.warning("old pieces in %s cannot be deleted: %s", folder, error.strerror)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # deleted meanwhile, which the caller finds out
