"""Scores in one SQLite file: the sink that needs no server. Its tables: `streams/sinks/sqlite_file.py`."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from streams.errors import SinkError
from streams.events import SegmentScore
from streams.sinks.base import Rejected, Sink
from streams.sinks.sqlite_file import FILE, VERSION, Row, mark, open_file, prune, put, row_of, version_of, writing

DAY = 24 * 3600

PRUNED = 4
"""A flush deletes at most as many old rows for each row that it writes: deleting keeps up, and no flush waits for it long."""


DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteSink(Sink):
    """Writes scores to `scores.sqlite` in a folder. days: after this time a score is deleted; 0 keeps all for ever.

    The file stays open between two flushes: SQLite moves its log into the file when the last connection closes, which took ten
    times as long as the rows of a batch. Any number of workers may write.
    """

    def __init__(self, directory: Path, days: float = 0) -> None:
        self.path = directory / FILE
        self._days = days
        self._waiting: list[SegmentScore] = []
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._lock = threading.Lock()  # `check` may be asked while a flush writes

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting.append(score)

    async def flush(self) -> list[Rejected]:
        """Write the buffer in one transaction, which is on the disk when this returns; this sink refuses no score."""
        if not self._waiting:
            return []
        rows = [row_of(score) for score in self._waiting]
        try:
            await asyncio.to_thread(self._write, rows, time.time())
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"{self.path}: {error}{_remedy(error)}") from error
        self._waiting.clear()
        return []

    async def check(self) -> str:
        """Open the file for writing."""
        try:
            await asyncio.to_thread(self._write, [], time.time())
        except (sqlite3.Error, OSError) as error:
            remedy = _remedy(error) or "; set FVQ_DATA_DIR to a folder that can"
            raise SinkError(f"{self.path} cannot be written: {error}{remedy}") from error
        kept = (
            f"scores are kept {self._days:g} {'day' if self._days == 1 else 'days'}" if self._days else "scores are kept for ever"
        )
        return f"SQLite store {self.path}, {kept}"

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    def _write(self, rows: Sequence[Row], now: float) -> None:
        with self._lock:
            connection = self._open()
            try:
                with writing(connection):
                    mark(connection, now)
                    put(connection, rows)
                    if self._days:
                        prune(connection, now - self._days * DAY, PRUNED * len(rows))
            except BaseException:
                self._disconnect()
                raise

    def _open(self) -> sqlite3.Connection:
        """The connection; another one where the file was deleted, moved, put in place of or brought to another layout."""
        if self._connection is not None and (self._identity() != self._opened or version_of(self._connection) != VERSION):
            self._disconnect()
        if self._connection is None:
            self._connection = open_file(self.path)
            self._opened = self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        """Which file is at the path, by device and number; None where there is none."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _close(self) -> None:
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _remedy(error: Exception) -> str:
    """What to do about a damaged file; '' for another error, which may pass."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
        return ""
    return (
        "; stop all that use it, move it away with its -wal and -shm, and start them again: they begin a new one, "
        "and `fvq history fill` puts in what Kafka still has"
    )
