"""Scores in one SQLite file: the sink that needs no server. Its tables: `streams/sinks/sqlite_file.py`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from streams.errors import SinkError
from streams.events import SegmentScore
from streams.sinks.base import Rejected, Sink
from streams.sinks.sqlite_file import FILE, Row, mark, open_file, prune, put, row_of, writing

DAY = 24 * 3600

PRUNED = 4
"""A flush deletes at most as many old rows for each row that it writes: deleting keeps up, and no flush waits for it long."""


class SqliteSink(Sink):
    """Writes scores to `scores.sqlite` in a folder. days: after this time a score is deleted; 0 keeps all for ever."""

    def __init__(self, directory: Path, days: float = 0) -> None:
        self.path = directory / FILE
        self._days = days
        self._waiting: dict[tuple[str, str, str], SegmentScore] = {}

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting[score.stream_id, score.rendition or "", score.segment_id] = score

    async def flush(self) -> list[Rejected]:
        """Write the buffer in one transaction, which is on the disk when this returns; this sink refuses no score."""
        if not self._waiting:
            return []
        rows = [row_of(score) for score in self._waiting.values()]
        try:
            await asyncio.to_thread(self._write, rows, time.time())
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"{self.path}: {error}") from error
        self._waiting.clear()
        return []

    async def check(self) -> str:
        """Open the file for writing."""
        try:
            await asyncio.to_thread(self._write, [], time.time())
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"{self.path} cannot be written: {error}; set FVQ_DATA_DIR to a folder that can") from error
        kept = f"scores are kept {self._days:g} days" if self._days else "scores are kept for ever"
        return f"SQLite store {self.path}, {kept}"

    def _write(self, rows: Sequence[Row], now: float) -> None:
        # One connection for each flush: flushes are rare, and any thread of any number of workers may write.
        with closing(open_file(self.path)) as connection, writing(connection):
            mark(connection, now)
            put(connection, rows)
            if self._days:
                prune(connection, now - self._days * DAY, PRUNED * len(rows))
