"""What leaves `scores.sqlite` beside the flushes of a sink: old scores where no new ones come, and all of one stream."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streams.sinks.sqlite_file import mark, open_file, prune, writing

TOGETHER = 5000
"""Rows that are deleted in one transaction: some 0.1 s in which workers wait."""


def prune_all(path: Path, before: float, now: float) -> int:
    """Delete all scores that were put in before a time; returns how many. before, now: seconds since 1970.

    A sink deletes old scores when it writes new ones, so without this they would stay where no stream sends any more. Raises
    `sqlite3.Error` or OSError.
    """
    with _erasing(path) as connection:
        if connection is None:
            return 0
        with writing(connection):
            mark(connection, now)
        return _repeated(connection, lambda: prune(connection, before, TOGETHER))


def delete_stream(path: Path, stream_id: str) -> int:
    """Delete all scores of a stream; returns how many. Raises `sqlite3.Error` or OSError.

    A worker may write meanwhile; what it writes after this is there.
    """
    of_stream = "series in (select id from series where stream_id = ?)"
    rows = f"delete from answers where id in (select id from answers where {of_stream} limit ?)"  # noqa: S608
    with _erasing(path) as connection:
        if connection is None:
            return 0
        count = _repeated(connection, lambda: connection.execute(rows, (stream_id, TOGETHER)).rowcount)
        with writing(connection):
            # With what a worker has written since: without its series, a row cannot be read.
            count += connection.execute(f"delete from answers where {of_stream}", (stream_id,)).rowcount  # noqa: S608
            connection.execute("delete from series where stream_id = ?", (stream_id,))
        return count


def count_stream(path: Path, stream_id: str) -> int:
    """The number of a stream's scores; 0 where there is no file, or one without tables. Raises `sqlite3.Error`."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        # A table in the layout before, a view in the present one.
        if not connection.execute("select 1 from sqlite_master where name = 'scores'").fetchone():
            return 0
        count: int = connection.execute("select count(*) from scores where stream_id = ?", (stream_id,)).fetchone()[0]
        return count


@contextmanager
def _erasing(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection whose deleted rows are overwritten, also in the log, when the context ends; None where there is no file."""
    if not path.exists():
        yield None
        return
    with closing(open_file(path)) as connection:
        connection.execute("pragma secure_delete = on")
        yield connection
        connection.execute("pragma wal_checkpoint(truncate)")


def _repeated(connection: sqlite3.Connection, delete: Callable[[], int]) -> int:
    """Delete in small transactions until nothing is left; returns how many rows."""
    count = 0
    while True:
        with writing(connection):
            deleted = delete()
        count += deleted
        if deleted < TOGETHER:
            return count
