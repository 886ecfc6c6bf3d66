"""The file `ratings.sqlite` in FVQ_DATA_DIR: its tables, and transactions that are on the disk when they end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streams.errors import FvqError
from streams.write_ahead import write_ahead

NAME = "ratings.sqlite"

WAIT_SECONDS = 30.0
"""How long a writer waits for another one's transaction."""

REMEDIES = {
    sqlite3.SQLITE_FULL: "free some space there",
    sqlite3.SQLITE_IOERR: "is there space left on the disk, and is the disk well?",
    sqlite3.SQLITE_CANTOPEN: "the file and its folder have to be writable",
    sqlite3.SQLITE_READONLY: "the file and its folder have to be writable",
    sqlite3.SQLITE_BUSY: "another program writes into it and does not end",
    sqlite3.SQLITE_NOTADB: "it is damaged: put a back-up in its place, or move it away with its -wal and -shm",
    sqlite3.SQLITE_CORRUPT: "it is damaged: put a back-up in its place, or move it away with its -wal and -shm",
}
"""What to do, by SQLite's primary result code. Other codes are a bug's."""

SCHEMA = """
create table if not exists raters (
    id integer primary key, name text not null unique, token_hash text, seed text not null, created text not null
);
create table if not exists examples (
    stream_id text not null, example_id text not null, clip_uri text not null, queued_at text not null, queued integer not null,
    primary key (stream_id, example_id)
) without rowid;
create table if not exists presentations (
    id text primary key, rater integer not null references raters (id), position integer not null,
    stream_id text not null, example_id text not null, repeat integer not null, shown text not null,
    skipped integer not null default 0, unique (rater, position)
);
create table if not exists ratings (
    id integer primary key, presentation text not null references presentations (id) on delete cascade,
    points real not null check (points between 0 and 100), scale text not null check (scale in ('acr', 'slider')),
    seconds real not null, time text not null, undone integer not null default 0
);
create unique index if not exists one_rating on ratings (presentation) where undone = 0;
create index if not exists presentations_of on presentations (stream_id, example_id);
"""

ADDED = (
    ("ratings", "factor", "real check (factor > 0)"),
    ("examples", "duration", "real"),
)
"""Columns (table, name, definition) that the first files did not have; a new file gets them in the same way. Null: unknown."""


class RatingsFileError(FvqError):
    """The ratings file cannot be read or written now."""


class Database:
    """The ratings file of a data folder; made if it is missing. Any number of threads and processes may use it.

    It and its methods raise `RatingsFileError`, with what to do.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        directory.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            write_ahead(db, WAIT_SECONDS)
            db.executescript(SCHEMA)
        with self.transaction() as db:  # two processes may open an old file at once: only one adds the columns
            for table, name, definition in ADDED:
                if name not in {column[1] for column in db.execute(f"pragma table_info({table})")}:
                    db.execute(f"alter table {table} add column {name} {definition}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction. It is on the disk when the context ends, and undone where the context raises."""
        with self._connection() as db:
            db.execute("begin immediate")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # SQLite itself has ended it where the disk is full
                    db.execute("rollback")
                raise
            db.execute("commit")

    def empty_log(self) -> None:
        """Move the write-ahead log into the file and empty it: until then the log still holds the rows that were deleted."""
        with self._connection() as db:
            db.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            # One connection for each call: calls are rare, and any thread may make them.
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)) as db:
                db.execute("pragma synchronous = full")
                db.execute("pragma foreign_keys = on")
                # SQLite overwrites deleted rows with zeros: a person may have asked for the deletion.
                db.execute("pragma secure_delete = on")
                yield db
        except sqlite3.DatabaseError as error:
            remedy = REMEDIES.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
            if remedy is None:
                raise
            raise RatingsFileError(f"{self.path}: {error}: {remedy}") from error
