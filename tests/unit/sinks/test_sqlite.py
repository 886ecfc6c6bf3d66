"""The SQLite sink: what is in its file after a flush."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streams.errors import SinkError
from streams.events import SegmentScore
from streams.sinks.sqlite import SqliteSink
from tests.support.sinks import make_score


def rows(sink: SqliteSink) -> list[tuple[object, ...]]:
    with sqlite3.connect(sink.path) as connection:
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


async def test_renditions_of_a_segment_are_kept_apart(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score(rendition="720p"))
    sink.add(make_score(rendition="360p"))
    await sink.flush()
    assert len(rows(sink)) == 2


async def test_the_event_is_kept_whole(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(make_score())
    await sink.flush()
    with sqlite3.connect(sink.path) as connection:
        (event,) = connection.execute("select event from scores").fetchone()
    assert SegmentScore.from_bytes(event.encode()) == make_score()


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
