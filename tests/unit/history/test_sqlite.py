"""The history of the SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import HistoryError
from streams.history import sqlite as history_module
from streams.history.base import step
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from tests.support.history import START, HistoryCases, Store, after, score_at


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    sink = SqliteSink(tmp_path)
    history = SqliteHistory(sink.path)
    yield Store(sink, history)
    await history.close()


class TestSqliteHistory(HistoryCases):
    """The cases on the SQLite store."""


async def test_the_whole_event_comes_back(store: Store) -> None:
    written = [score_at(2 * i, i, labels={"tier": f"{i}"}, uri=f"https://origin/a/{i}.ts") for i in range(20)]
    await store.put(*written)
    assert await store.history.segments("s", None, START, after(60), 100) == written[::-1]


async def test_a_store_without_a_file_has_no_scores(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "nowhere" / "scores.sqlite")
    assert await history.course("s", None, START, after(1), 5) == []
    assert await history.segment("s", "s/1") is None
    (tmp_path / "empty.sqlite").touch()
    assert await SqliteHistory(tmp_path / "empty.sqlite").segments("s", None, START, after(1), 5) == []


async def test_a_question_that_takes_too_long_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.put(*(score_at(i) for i in range(2000)))
    monkeypatch.setattr(history_module, "QUERY_SECONDS", 0.0)
    monkeypatch.setattr(history_module, "CHECK_EVERY", 10)
    with pytest.raises(HistoryError, match="ask for less"):
        await store.history.course("s", None, START, after(4000), 500)


async def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    other = tmp_path / "scores.sqlite"
    other.write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(HistoryError, match=r"scores\.sqlite cannot be read"):
        await SqliteHistory(other).segment("s", "s/1")


async def test_a_damaged_event_is_an_error_of_the_history(store: Store, tmp_path: Path) -> None:
    await store.put(score_at(0))
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        connection.execute("update answers set event = x'00ff00ff'")
    with pytest.raises(HistoryError, match="damaged"):
        await store.history.segment("s", "s/0")


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.timedeltas(timedelta(microseconds=1)), st.integers(1, 5000))
def test_as_many_steps_as_points_cover_the_range(start: datetime, length: timedelta, points: int) -> None:
    length = min(length, timedelta(days=4000))
    each = step(start, start + length, points)
    assert each % timedelta(milliseconds=1) == timedelta(0)
    assert each * points >= length
    assert (each - timedelta(milliseconds=1)) * points < length
