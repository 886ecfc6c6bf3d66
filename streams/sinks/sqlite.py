"""Scores in one SQLite file: the sink that needs no server."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from streams.errors import SinkError
from streams.events import SegmentScore
from streams.sinks.base import Rejected, Sink

SCHEMA = """
create table if not exists scores (
    stream_id text not null, rendition text not null, segment_id text not null, start text not null,
    duration real not null, status text not null, score real, level text, uncertainty real, model text,
    event text not null,
    primary key (stream_id, rendition, segment_id)
) without rowid;
create index if not exists scores_by_time on scores (stream_id, start);
"""


class SqliteSink(Sink):
    """Writes scores to `scores.sqlite` in a folder: columns for queries, and the whole event as JSON."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "scores.sqlite"
        self._waiting: dict[tuple[str, str, str], SegmentScore] = {}

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting[score.stream_id, score.rendition or "", score.segment_id] = score

    async def flush(self) -> list[Rejected]:
        """Write the buffer in one transaction, which is on the disk when this returns; this sink refuses no score."""
        if not self._waiting:
            return []
        rows = [_row(score) for score in self._waiting.values()]
        try:
            await asyncio.to_thread(self._write, rows)
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"{self.path}: {error}") from error
        self._waiting.clear()
        return []

    async def check(self) -> str:
        """Open the file for writing."""
        try:
            await asyncio.to_thread(self._write, [])
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"{self.path} cannot be written: {error}; set FVQ_DATA_DIR to a folder that can") from error
        return f"SQLite store {self.path}"

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        # One connection for each flush: flushes are rare, and any thread of any number of workers may write.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.executescript(SCHEMA)
            with connection:
                connection.executemany("insert or replace into scores values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        finally:
            connection.close()


def _row(score: SegmentScore) -> tuple[object, ...]:
    model = f"{score.model.name}@{score.model.version}" if score.model else None
    return (
        score.stream_id, score.rendition or "", score.segment_id, score.start.isoformat(), score.duration, score.status,
        score.score, score.level, score.uncertainty, model, score.to_bytes().decode(),
    )  # fmt: skip
