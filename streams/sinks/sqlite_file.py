"""The file `scores.sqlite`: its tables, how a score is put in and taken out, and how old ones leave it.

A score is a narrow row of `answers`, which queries read, with the rest of its event compressed. `answers` is in the order in
which scores came, so that new rows go to its end and old ones leave at its beginning. The view `scores` is for people.

Events of one series differ in few bytes. Each is compressed with the first one of its series as dictionary: 820 bytes of JSON
become about 140.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from scorer.spec import LEVELS
from streams.events import MAX_EVENT_BYTES, SegmentScore
from streams.events.base import EPOCH
from streams.write_ahead import write_ahead

log = logging.getLogger(__name__)
FILE = "scores.sqlite"
VERSION = 2
"""The file's `user_version`. 0 is a new file, or one of the layout before: a table `scores` with the whole event as JSON."""

WAIT_SECONDS = 30.0
"""How long a writer waits for another one's transaction."""

SAMPLE_BYTES = 8192
"""As much of a series' first event is its dictionary."""

MARK_SECONDS = 600
"""How often the file notes which row was the next one: a row leaves it up to so much after its time."""

LEAP_SECONDS = 2 * 86400
"""A longer time since the last mark is a leap: the file was not open so long, or the clock is ahead now."""

TRUST_SECONDS = 6 * 3600
"""So long after a leap its time counts for no score: a clock that is ahead has time to be set right."""

MOVED_ROWS = 2000
"""Rows of the layout before that are moved in one transaction: some 0.1 s in which other writers wait."""

TABLES = """
create table if not exists series (
    id integer primary key, stream_id text not null, rendition text not null, sample blob not null,
    unique (stream_id, rendition)
);
create table if not exists models (id integer primary key, name text not null unique);
create table if not exists answers (
    id integer primary key autoincrement, series integer not null, segment_id text not null, start integer not null,
    duration integer not null, score real, uncertainty real, level integer, model integer, event blob not null,
    unique (series, segment_id)
);
create index if not exists answers_by_start on answers (series, start, score, uncertainty);
create table if not exists marks (first_id integer primary key, at integer not null);
"""
"""start, duration: milliseconds. score: null for a skipped segment. at: seconds since 1970 at which row `first_id` was next."""

LEAP = "create table if not exists leap (since integer not null, at integer not null)"
"""At most one row: from when to when the clock last leapt, seconds since 1970. Files in this layout may lack the table."""

VIEW = f"""
create view if not exists scores as
select series.stream_id, series.rendition, segment_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', start / 1000.0, 'unixepoch') as start, duration / 1000.0 as duration,
    iif(score is null, 'skipped', 'scored') as status, score,
    case level {" ".join(f"when {number} then '{level}'" for number, level in enumerate(LEVELS))} end as level,
    uncertainty, models.name as model
from answers join series on series.id = answers.series left join models on models.id = answers.model;
"""  # noqa: S608

PUT = """
insert into answers (series, segment_id, start, duration, score, uncertainty, level, model, event)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (series, segment_id) do update set start = excluded.start, duration = excluded.duration, score = excluded.score,
    uncertainty = excluded.uncertainty, level = excluded.level, model = excluded.model, event = excluded.event
    where excluded.score is not null or score is null or abs(start - excluded.start) >= max(duration, 1)
"""
"""A segment that was scored, and is read again too late to be scored, keeps its score. Another ingester's start of it may differ
by milliseconds; one that differs by the duration is of another segment, of a packager that begins its ids again."""

ENDS = """
with since as (
    select * from marks where first_id > coalesce((
        select max(first_id) from marks where at > (select at from marks order by first_id desc limit 1)
    ), 0)
)
select (select min(first_id) from since where at <= ?1), (select min(first_id) from since where at > ?1)
"""
"""The first old mark and the first young one since the clock was last set back. A mark that is still to come is of a clock that
was ahead, or the present clock is behind: what was put in up to it is as old as the marks after it say."""


@dataclass(frozen=True)
class Row:
    """A score as the file takes it. start, duration: milliseconds. event: its JSON."""

    stream_id: str
    rendition: str
    segment_id: str
    start: int
    duration: int
    score: float | None
    uncertainty: float | None
    level: str | None
    model: str | None
    event: bytes


def row_of(score: SegmentScore) -> Row:
    """The row for a score."""
    model = f"{score.model.name}@{score.model.version}" if score.model else None
    return Row(
        score.stream_id, score.rendition or "", score.segment_id, milliseconds(score.start), round(score.duration * 1000),
        score.score, score.uncertainty, score.level, model, score.to_bytes(),
    )  # fmt: skip


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection that writes, to a file with its tables; a file of the layout before is brought to this one first.

    Any thread may use it, one at a time. Raises `sqlite3.Error` or OSError where the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        write_ahead(connection, WAIT_SECONDS)
        connection.execute("pragma synchronous = full")
        version = version_of(connection)
        if version > VERSION:
            raise sqlite3.DatabaseError(f"the file has layout {version}, of a newer version of this program")
        if version < VERSION:
            _bring_up(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection) -> int:
    """The layout of the file."""
    version: int = connection.execute("pragma user_version").fetchone()[0]
    return version


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction of the only writer: on the disk when the context ends, undone where it raises."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:  # a full disk has undone it already
            connection.execute("rollback")
        raise


def put(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Put scores in, within a transaction; one that is there already is overwritten."""
    for row in rows:
        series, sample = _series(connection, row)
        model = None if row.model is None else _model(connection, row.model)
        level = LEVELS.index(row.level) if row.level is not None else None
        values = (row.start, row.duration, row.score, row.uncertainty, level, model, packed(row.event, sample))
        connection.execute(PUT, (series, row.segment_id, *values))


def packed(event: bytes, sample: bytes) -> bytes:
    """An event's JSON, compressed with its series' sample."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=sample)
    return packer.compress(event) + packer.flush()


def unpacked(data: bytes, sample: bytes) -> SegmentScore:
    """The score in a row. Raises `EventError` or `zlib.error` where the file is damaged."""
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS, zdict=sample)
    return SegmentScore.from_bytes(unpacker.decompress(data, MAX_EVENT_BYTES + 1))


def mark(connection: sqlite3.Connection, now: float) -> None:
    """Note, every 10 minutes and before rows are put in, which row is the next one. now: seconds since 1970."""
    last = connection.execute("select at from marks order by first_id desc limit 1").fetchone()
    if last is None or abs(now - last[0]) >= MARK_SECONDS:
        newest = connection.execute("select seq from sqlite_sequence where name = 'answers'").fetchone()
        first_id = newest[0] + 1 if newest else 1
        connection.execute("insert or replace into marks values (?, ?)", (first_id, int(now)))
        if last is not None and now - last[0] > LEAP_SECONDS:
            connection.execute(LEAP)
            connection.execute("delete from leap")
            connection.execute("insert into leap values (?, ?)", (last[0], int(now)))
            log.warning(
                "the clock is %.0f days after this store was last open: if it is ahead, set it right within %.0f hours, "
                "after which scores that are too old by it are deleted", (now - last[0]) / 86400, TRUST_SECONDS / 3600,
            )  # fmt: skip


def _may_be_ahead(connection: sqlite3.Connection) -> int:
    """Seconds by which the clock is ahead if it leapt by mistake, a short time before the newest mark."""
    if not connection.execute("select 1 from sqlite_master where name = 'leap'").fetchone():
        return 0
    newest: int = connection.execute("select at from marks order by first_id desc limit 1").fetchone()[0]
    leap = connection.execute("select since from leap where ?1 between at and at + ?2", (newest, TRUST_SECONDS)).fetchone()
    return newest - leap[0] if leap else 0


def prune(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete at most `limit` of the rows that were put in before a time, seconds since 1970, the oldest first; returns how many.

    For some hours after a leap of the clock only those that were old before it. After `mark`.
    """
    before -= _may_be_ahead(connection)
    # From a mark on rows were put in for MARK_SECONDS at most; then the next mark was made. The first young mark ends what is
    # old: an old one behind it is of a clock that was behind for a while.
    first_old, end = connection.execute(ENDS, (before - MARK_SECONDS,)).fetchone()
    if first_old is None or end is None or end < first_old:
        return 0
    old = "select id from answers where id < ? order by id limit ?"
    series = connection.execute(f"delete from answers where id in ({old}) returning series", (end, limit)).fetchall()  # noqa: S608
    for row in set(series):
        connection.execute("delete from series where id = ?1 and not exists (select 1 from answers where series = ?1)", row)
    if len(series) < limit:
        connection.execute("delete from marks where first_id < ?", (end,))
    return len(series)


def _series(connection: sqlite3.Connection, row: Row) -> tuple[int, bytes]:
    """The id and the sample of a row's series. Asked for in each transaction: another worker may have deleted an empty one."""
    name = (row.stream_id, row.rendition)
    series = connection.execute("select id, sample from series where stream_id = ? and rendition = ?", name).fetchone()
    if series is not None:
        return series[0], series[1]
    sample = row.event[:SAMPLE_BYTES]
    added = connection.execute("insert into series (stream_id, rendition, sample) values (?, ?, ?)", (*name, sample))
    assert added.lastrowid is not None
    return added.lastrowid, sample


def _model(connection: sqlite3.Connection, name: str) -> int:
    model = connection.execute("select id from models where name = ?", (name,)).fetchone()
    if model is None:
        model = (connection.execute("insert into models (name) values (?)", (name,)).lastrowid,)
    number: int = model[0]
    return number


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, and move the rows of the layout before in small transactions; several processes may do so at once."""
    with writing(connection):
        for statement in TABLES.split(";"):
            connection.execute(statement)
        mark(connection, time.time())  # what is moved is kept from now on
    moved = 0
    while rows := _move(connection):
        if not moved:
            log.info("the scores in %s are moved into its new layout", path)
        moved += rows
    if moved:
        log.info("%d scores in %s are in its new layout", moved, path)


def _move(connection: sqlite3.Connection) -> int:
    """Move some rows of the layout before; returns how many. Where none is left, the file gets its new layout's number."""
    with writing(connection):
        if not connection.execute("select 1 from sqlite_master where type = 'table' and name = 'scores'").fetchone():
            _finish(connection)
            return 0
        columns = "stream_id, rendition, segment_id, start, duration, score, uncertainty, level, model, event"
        old = connection.execute(f"select {columns} from scores limit {MOVED_ROWS}").fetchall()  # noqa: S608
        if not old:
            connection.execute("drop table scores")
            _finish(connection)
            return 0
        put(connection, (_moved_row(*values) for values in old))
        keys = [values[:3] for values in old]
        connection.executemany("delete from scores where stream_id = ? and rendition = ? and segment_id = ?", keys)
    return len(old)


def _finish(connection: sqlite3.Connection) -> None:
    connection.execute(VIEW)
    connection.execute(f"pragma user_version = {VERSION}")


def _moved_row(
    stream_id: str, rendition: str, segment_id: str, start: str, duration: float, score: float | None,
    uncertainty: float | None, level: str | None, model: str | None, event: str,
) -> Row:  # fmt: skip
    """The row for one of the layout before, whose start is text as 2026-01-31T20:15:04+00:00."""
    starts, lasts = milliseconds(datetime.fromisoformat(start)), round(duration * 1000)
    return Row(stream_id, rendition, segment_id, starts, lasts, score, uncertainty, level, model, event.encode())
