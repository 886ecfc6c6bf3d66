"""The SQLite sink: what is in its file after a flush."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import HistoryError, SinkError
from streams.events import SegmentScore
from streams.history.sqlite import SqliteHistory
from streams.sinks import sqlite as sqlite_sink
from streams.sinks import sqlite_file
from streams.sinks.sqlite import DAY, SqliteSink
from streams.sinks.sqlite_file import MARK_SECONDS, TABLES, TRUST_SECONDS, mark, prune, put, row_of, writing
from streams.sinks.sqlite_sweep import prune_all
from tests.support.sinks import make_score

START = datetime(2026, 1, 31, 20, 15, 4, tzinfo=UTC)


def rows(sink: SqliteSink) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(sink.path)) as connection:
        return connection.execute("select segment_id, score, level, model, status from scores order by segment_id").fetchall()


async def test_a_repeated_score_overwrites_the_first(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    sink.add(make_score(segment_id="s/2"))
    await sink.flush()
    restarted = SqliteSink(tmp_path)
    restarted.add(make_score(score=20.0))
    await restarted.flush()
    await restarted.flush()
    assert rows(sink) == [("s/1", 20.0, "good", "nano@1", "scored"), ("s/2", 61.5, "good", "nano@1", "scored")]


async def test_a_score_stays_where_its_segment_is_read_again_too_late_to_be_scored(tmp_path: Path) -> None:
    nothing = {"status": "skipped", "score": None, "level": None, "uncertainty": None, "model": None}
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    await sink.flush()
    sink.add(make_score(**nothing))
    sink.add(make_score(segment_id="s/2"))
    sink.add(make_score(segment_id="s/2", **nothing))
    sink.add(make_score(start=START + timedelta(milliseconds=3), **nothing))  # as a second ingester has counted it
    await sink.flush()
    assert [row[:2] for row in rows(sink)] == [("s/1", 61.5), ("s/2", 61.5)]
    sink.add(make_score(start=START + timedelta(hours=1), **nothing))
    await sink.flush()
    assert rows(sink)[0][:2] == ("s/1", None), "another segment, of a packager that begins its ids again"


async def test_renditions_of_a_segment_are_kept_apart(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score(rendition="720p"))
    sink.add(make_score(rendition="360p"))
    await sink.flush()
    assert len(rows(sink)) == 2


async def test_people_read_the_scores_in_a_view(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score(rendition="720p"))
    sink.add(make_score(segment_id="s/2", status="skipped", score=None, level=None, uncertainty=None, model=None))
    await sink.flush()
    with sqlite3.connect(sink.path) as connection:
        assert connection.execute("select * from scores order by segment_id").fetchall() == [
            ("s", "720p", "s/1", "2026-01-31T20:15:04.000Z", 2.0, "scored", 61.5, "good", 4.0, "nano@1"),
            ("s", "", "s/2", "2026-01-31T20:15:04.000Z", 2.0, "skipped", None, None, None, None),
        ]


OLD_LAYOUT = """
create table scores (
    stream_id text not null, rendition text not null, segment_id text not null, start text not null,
    duration real not null, status text not null, score real, level text, uncertainty real, model text,
    event text not null,
    primary key (stream_id, rendition, segment_id)
) without rowid;
create index scores_by_time on scores (stream_id, start);
"""


def old_row(score: SegmentScore) -> tuple[object, ...]:
    """A row as this sink wrote it in the layout before."""
    model = f"{score.model.name}@{score.model.version}" if score.model else None
    return (
        score.stream_id, score.rendition or "", score.segment_id, score.start.isoformat(), score.duration, score.status,
        score.score, score.level, score.uncertainty, model, score.to_bytes().decode(),
    )  # fmt: skip


def old_file(path: Path, scores: list[SegmentScore]) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD_LAYOUT)
        connection.executemany("insert into scores values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(old_row, scores))


async def test_a_file_of_the_layout_before_is_moved_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "MOVED_ROWS", 7)
    old = [make_score(segment_id=f"s/{i}", score=float(i), start=START + timedelta(seconds=i)) for i in range(40)]
    old_file(tmp_path / "scores.sqlite", old)
    history = SqliteHistory(tmp_path / "scores.sqlite")
    with pytest.raises(HistoryError, match="a worker of this version changes it"):
        await history.segment("s", "s/1")
    sink = SqliteSink(tmp_path, days=1)
    sink.add(make_score(segment_id="s/3", score=99.0, start=START + timedelta(seconds=3)))
    sink.add(make_score(segment_id="s/40", start=START + timedelta(seconds=40)))
    await sink.flush()
    scores = {score.segment_id: score for score in await history.segments("s", None, START, START + timedelta(days=1), 1000)}
    assert len(scores) == 41
    assert scores["s/3"].score == 99.0, "the newer answer stays"
    assert all(scores[score.segment_id] == score for score in old if score.segment_id != "s/3")
    assert len(rows(sink)) == 41


def test_two_workers_bring_an_old_file_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "MOVED_ROWS", 50)
    old_file(tmp_path / "scores.sqlite", [make_score(segment_id=f"s/{i}") for i in range(1000)])
    sinks = [SqliteSink(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for checked in [pool.submit(asyncio.run, sink.check()) for sink in sinks]:
            assert "SQLite store" in checked.result(60)
    assert len(rows(sinks[0])) == 1000


async def test_a_worker_of_the_version_before_waits_and_loses_nothing(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    await sink.check()
    with pytest.raises(sqlite3.Error), sqlite3.connect(sink.path) as connection:
        connection.executescript(OLD_LAYOUT.replace("create table", "create table if not exists"))


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        connection.execute("pragma user_version = 3")
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    with pytest.raises(SinkError, match="newer version"):
        await sink.flush()


async def test_a_file_that_was_deleted_or_put_in_place_of_is_made_or_used_anew(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score(segment_id="a"))
    await sink.flush()
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    sink.add(make_score(segment_id="b"))
    await sink.flush()
    assert [row[0] for row in rows(sink)] == ["b"]
    other = SqliteSink(tmp_path / "other")
    other.add(make_score(segment_id="c"))
    await other.flush()
    await other.close()
    await sink.close()
    other.path.rename(sink.path)
    sink.add(make_score(segment_id="d"))
    await sink.flush()
    assert [row[0] for row in rows(sink)] == ["c", "d"]


async def test_a_file_that_a_newer_version_brings_up_meanwhile_is_left_alone(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    await sink.flush()
    with closing(sqlite3.connect(sink.path)) as connection:
        connection.execute("pragma user_version = 3")
    sink.add(make_score(segment_id="s/2"))
    with pytest.raises(SinkError, match="newer version"):
        await sink.flush()


async def test_the_sink_is_checked_while_it_writes(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    await sink.flush()
    for i in range(200):
        sink.add(make_score(segment_id=f"s/{i}"))
    await asyncio.gather(sink.flush(), *(sink.check() for _ in range(20)))
    assert len(rows(sink)) == 200


@pytest.mark.parametrize("damage", [b"no database, but some text" * 400, None])
async def test_of_a_damaged_file_it_is_said_what_to_do(tmp_path: Path, damage: bytes | None) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    await sink.flush()
    await sink.close()
    header = sink.path.read_bytes()[:4096]
    sink.path.write_bytes(damage or header + os.urandom(sink.path.stat().st_size - 4096))
    sink.add(make_score(segment_id="s/2"))
    for ask in (sink.flush, sink.check):
        with pytest.raises(SinkError, match=r"move it away with its -wal and -shm.*`fvq history fill`"):
            await ask()
    sink.path.rename(tmp_path / "away")
    await sink.flush()
    assert len(rows(sink)) == 1


async def test_when_it_is_closed_the_file_alone_has_every_score(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    await sink.flush()
    await sink.close()
    assert os.listdir(tmp_path) == ["scores.sqlite"]


async def put_at(sink: SqliteSink, monkeypatch: pytest.MonkeyPatch, now: float, *scores: SegmentScore) -> None:
    """Flush scores at a time, seconds since 1970."""
    monkeypatch.setattr(sqlite_sink.time, "time", lambda: now)
    for score in scores:
        sink.add(score)
    await sink.flush()


async def stay_on(sink: SqliteSink, monkeypatch: pytest.MonkeyPatch, since: float, until: float) -> None:
    """Look at the store once a day, as a machine that is on does more often."""
    for days in range(1, int((until - since) / DAY) + 1):
        monkeypatch.setattr(sqlite_sink.time, "time", lambda days=days: since + days * DAY)
        await sink.check()


async def test_scores_are_deleted_after_their_time_a_few_with_each_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, start = SqliteSink(tmp_path, days=2), 1_800_000_000.0
    await put_at(sink, monkeypatch, start, *(make_score(segment_id=f"old/{i:02}", stream_id="gone") for i in range(10)))
    await put_at(sink, monkeypatch, start + DAY, make_score(segment_id="b", start=START - timedelta(days=900)))
    await put_at(sink, monkeypatch, start + 2 * DAY + MARK_SECONDS - 1, make_score(segment_id="c"))
    assert len(rows(sink)) == 12
    await put_at(sink, monkeypatch, start + 2 * DAY + MARK_SECONDS, make_score(segment_id="d"))
    assert [row[0] for row in rows(sink)] == ["b", "c", "d", *(f"old/{i:02}" for i in range(4, 10))], "four for one"
    for i in range(2):
        await put_at(sink, monkeypatch, start + 2 * DAY + MARK_SECONDS + i, make_score(segment_id=f"e{i}"))
    assert [row[0] for row in rows(sink)] == ["b", "c", "d", "e0", "e1"], "by when it was stored, not by its start"
    with sqlite3.connect(sink.path) as connection:
        assert connection.execute("select stream_id from series").fetchall() == [("s",)], "a stream without scores is gone"
    await put_at(sink, monkeypatch, start + 2 * DAY + MARK_SECONDS + 60, make_score(segment_id="again", stream_id="gone"))
    assert rows(sink)[0][0] == "again"


async def test_a_clock_that_was_behind_for_a_while_deletes_no_score_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, start = SqliteSink(tmp_path, days=30), 1_800_000_000.0
    await put_at(sink, monkeypatch, start, make_score(segment_id="old"))
    await put_at(sink, monkeypatch, start + 20 * DAY, make_score(segment_id="a"))
    await put_at(sink, monkeypatch, 5.0, make_score(segment_id="b"))  # a machine that has just started, before its clock is set
    await put_at(sink, monkeypatch, start + 20 * DAY + 60, make_score(segment_id="c"))
    assert [row[0] for row in rows(sink)] == ["a", "b", "c", "old"]
    await stay_on(sink, monkeypatch, start + 20 * DAY + 60, start + 30 * DAY + MARK_SECONDS)
    await put_at(sink, monkeypatch, start + 30 * DAY + MARK_SECONDS, make_score(segment_id="d"))
    assert [row[0] for row in rows(sink)] == ["a", "b", "c", "d"]
    await stay_on(sink, monkeypatch, start + 30 * DAY + MARK_SECONDS, start + 51 * DAY)
    await put_at(sink, monkeypatch, start + 51 * DAY, make_score(segment_id="e"))
    assert [row[0] for row in rows(sink)] == ["d", "e"]


async def test_a_clock_that_was_ahead_for_a_while_keeps_scores_for_no_longer_than_twice_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, start = SqliteSink(tmp_path, days=2), 1_800_000_000.0
    await put_at(sink, monkeypatch, start + 365 * DAY, make_score(segment_id="a"))
    await put_at(sink, monkeypatch, start, make_score(segment_id="b"))
    await put_at(sink, monkeypatch, start + DAY, make_score(segment_id="c"))
    await put_at(sink, monkeypatch, start + 2 * DAY + MARK_SECONDS, make_score(segment_id="d"))
    assert [row[0] for row in rows(sink)] == ["c", "d"]


@pytest.mark.parametrize("ahead", [20 * DAY, 40 * 365 * DAY])
async def test_a_clock_that_is_ahead_for_hours_deletes_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ahead: float
) -> None:
    sink, start = SqliteSink(tmp_path, days=10), 1_800_000_000.0
    await put_at(sink, monkeypatch, start, make_score(segment_id="a"))
    await put_at(sink, monkeypatch, start + 3600, make_score(segment_id="b", start=START + timedelta(days=50_000)))
    for hours in range(6):  # the sink, and the sweep of the data folder
        now = start + ahead + hours * 3600
        await put_at(sink, monkeypatch, now, make_score(segment_id=f"c{hours}"))
        assert prune_all(sink.path, now - 10 * DAY, now) == 0
    assert "set it right within" in caplog.text
    now = start + 8 * 3600  # it is set right
    await put_at(sink, monkeypatch, now, make_score(segment_id="d"))
    assert prune_all(sink.path, now - 10 * DAY, now) == 0
    assert len(rows(sink)) == 9


async def test_scores_of_before_a_long_pause_go_some_hours_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, start = SqliteSink(tmp_path, days=10), 1_800_000_000.0
    await put_at(sink, monkeypatch, start, make_score(segment_id="a"))
    for hours, deleted in ((0, 0), (1, 0), (TRUST_SECONDS / 3600 + 1, 1)):
        now = start + 20 * DAY + hours * 3600
        assert prune_all(sink.path, now - 10 * DAY, now) == deleted
    assert rows(sink) == []


async def test_a_machine_that_is_on_for_some_hours_a_week_keeps_no_score_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, start = SqliteSink(tmp_path, days=10), 1_800_000_000.0
    for week in range(6):
        for hours in range(4):
            now = start + week * 7 * DAY + hours * 3600
            await put_at(sink, monkeypatch, now, make_score(segment_id=f"{week}-{hours}"))
            prune_all(sink.path, now - 10 * DAY, now)
    assert sorted({row[0][0] for row in rows(sink)}) == ["3", "4", "5"]  # those of 10 days before it was last off, and since


async def test_scores_are_kept_for_ever_without_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = SqliteSink(tmp_path)
    await put_at(sink, monkeypatch, 1_000_000_000.0, make_score(segment_id="a"))
    await put_at(sink, monkeypatch, 2_000_000_000.0, make_score(segment_id="b"))
    assert [row[0] for row in rows(sink)] == ["a", "b"]
    assert "for ever" in await sink.check()


async def test_the_scores_of_a_file_that_was_brought_up_are_kept_their_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(tmp_path / "scores.sqlite", [make_score(segment_id="old")])
    sink, now = SqliteSink(tmp_path, days=1), 1_800_000_000.0
    await put_at(sink, monkeypatch, now, make_score(segment_id="a"))
    await put_at(sink, monkeypatch, now + DAY + MARK_SECONDS - 1, make_score(segment_id="b"))
    assert [row[0] for row in rows(sink)] == ["a", "b", "old"]
    await put_at(sink, monkeypatch, now + DAY + MARK_SECONDS, make_score(segment_id="c"))
    assert [row[0] for row in rows(sink)] == ["b", "c"]


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 6)), min_size=1, max_size=40))
def test_no_score_is_deleted_before_its_time_and_each_is_gone_in_the_end(flushes: list[tuple[int, int]]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in TABLES.split(";"):
            connection.execute(statement)
        now, kept, put_at = 1_800_000_000, 100_000, {}
        for pause, count in [*flushes, (kept + MARK_SECONDS, 60), (kept + MARK_SECONDS, 60), (kept + MARK_SECONDS, 60)]:
            now += pause
            scores = [make_score(segment_id=f"{now}/{i}/{len(put_at)}") for i in range(count)]
            put_at |= {score.segment_id: now for score in scores}
            with writing(connection):
                mark(connection, now)
                put(connection, map(row_of, scores))
                prune(connection, now - kept, 4 * count)
            stored = {segment_id for (segment_id,) in connection.execute("select segment_id from answers")}
            assert {segment_id for segment_id, time in put_at.items() if time > now - kept} <= stored
        assert stored == {segment_id for segment_id, time in put_at.items() if time == now}


async def test_a_store_that_cannot_be_written_keeps_the_scores(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    sink = SqliteSink(blocked)
    sink.add(make_score())
    with pytest.raises(SinkError):
        await sink.flush()
    with pytest.raises(SinkError, match="FVQ_DATA_DIR"):
        await sink.check()
    blocked.unlink()
    await sink.flush()
    assert len(rows(sink)) == 1
