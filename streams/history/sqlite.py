"""The history in the SQLite store, `scores.sqlite`; workers may write to it meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from streams.errors import EventError, HistoryError
from streams.events import SegmentScore
from streams.history.base import QUERY_SECONDS, Bucket, check_limit, check_range, step
from streams.sinks.sqlite_file import VERSION, milliseconds, unpacked, version_of

CHECK_EVERY = 10_000
"""Instructions of SQLite's machine between two looks at the clock: about a millisecond."""

SERIES = "series in (select id from series where stream_id = :stream and (:rendition is null or rendition = :rendition))"
IN_RANGE = f"{SERIES} and start >= :start and start < :end"

COURSE = f"""
select (start - :start) / :step as bucket, avg(score), min(score), max(score), count(score), avg(uncertainty)
from answers where {IN_RANGE} and score is not null group by bucket order by bucket
"""  # noqa: S608
SEGMENTS = f"""
select event, sample from answers join series on series.id = answers.series
where answers.id in (select id from answers where {IN_RANGE} order by start desc, id desc limit :limit)
order by start desc, answers.id desc
"""  # noqa: S608
STREAM_IDS = """
select distinct stream_id from series
where exists (select 1 from answers where answers.series = series.id and start >= :start and start < :end) order by stream_id
"""
SEGMENT = f"""
select event, sample from answers join series on series.id = answers.series
where {SERIES} and segment_id = :segment order by start desc limit 1
"""  # noqa: S608


class SqliteHistory:
    """Reads one `scores.sqlite`. A file that is not there yet has no scores; the first worker makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def stream_ids(self, start: datetime, end: datetime) -> list[str]:
        """See `History.stream_ids`."""
        check_range(start, end)
        rows = await self._ask(STREAM_IDS, {"start": milliseconds(start), "end": milliseconds(end)})
        return [stream_id for (stream_id,) in rows]

    async def course(self, stream_id: str, rendition: str | None, start: datetime, end: datetime, points: int) -> list[Bucket]:
        """See `History.course`."""
        length = step(start, end, points)
        values = _range(stream_id, rendition, start, end) | {"step": length // timedelta(milliseconds=1)}
        rows = await self._ask(COURSE, values)
        return [
            Bucket(start + bucket * length, mean, low, high, count, unsure) for bucket, mean, low, high, count, unsure in rows
        ]

    async def segment(self, stream_id: str, segment_id: str, rendition: str | None = None) -> SegmentScore | None:
        """See `History.segment`."""
        rows = await self._ask(SEGMENT, {"stream": stream_id, "segment": segment_id, "rendition": rendition})
        return next(iter(self._scores(rows)), None)

    async def segments(
        self, stream_id: str, rendition: str | None, start: datetime, end: datetime, limit: int
    ) -> list[SegmentScore]:
        """See `History.segments`."""
        check_range(start, end)
        check_limit(limit)
        return self._scores(await self._ask(SEGMENTS, _range(stream_id, rendition, start, end) | {"limit": limit}))

    async def close(self) -> None:
        """Nothing is held between two questions."""

    async def _ask(self, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
        try:
            return await asyncio.to_thread(self._read, query, values)
        except (sqlite3.Error, OSError) as error:
            raise HistoryError(f"{self._path} cannot be read: {error}") from error

    def _read(self, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        end = time.monotonic() + QUERY_SECONDS
        with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > end, CHECK_EVERY)
            try:
                if (version := version_of(connection)) != VERSION:
                    return self._other_layout(connection, version)
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if time.monotonic() > end:
                    raise HistoryError(f"{self._path} did not answer within {QUERY_SECONDS:g} s: ask for less") from error
                raise

    def _other_layout(self, connection: sqlite3.Connection, version: int) -> list[tuple[Any, ...]]:
        if version == 0 and connection.execute("select 1 from sqlite_master").fetchone() is None:
            return []
        who = "a worker of this version changes it" if version < VERSION else "it is of a newer version of this program"
        raise HistoryError(f"{self._path} has layout {version}, not {VERSION}: {who}")

    def _scores(self, rows: Sequence[tuple[Any, ...]]) -> list[SegmentScore]:
        try:
            return [unpacked(event, sample) for event, sample in rows]
        except (zlib.error, EventError) as error:
            raise HistoryError(f"{self._path} is damaged: {error}") from error


def _range(stream_id: str, rendition: str | None, start: datetime, end: datetime) -> dict[str, object]:
    return {"stream": stream_id, "rendition": rendition, "start": milliseconds(start), "end": milliseconds(end)}
