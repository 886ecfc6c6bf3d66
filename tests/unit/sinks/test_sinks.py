"""The sinks' shapes; the servers themselves are in the integration tests."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.errors import SinkError
from streams.events import FaceSummary, ModelRef, SegmentScore, Signals
from streams.sinks.influx import to_point
from streams.sinks.sqlite import SqliteSink


def a_score(segment: str = "s/1", score: float = 61.5, **changes: object) -> SegmentScore:
    fields: dict[str, object] = {
        "stream_id": "s",
        "segment_id": segment,
        "sequence": 1,
        "uri": "file:///a",
        "start": datetime(2026, 1, 31, 20, 15, 4, tzinfo=UTC),
        "duration": 2.0,
        "status": "scored",
        "score": score,
        "level": "good",
        "level_probs": {"good": 0.7, "fair": 0.3},
        "uncertainty": 4.0,
        "faces": FaceSummary(count=1, area=0.2),
        "model": ModelRef(name="nano", version="1"),
        "signals": Signals(black=0, freeze=0, blur=0.2, blockiness=0.1, noise=1, luma=120, contrast=40),
    }
    return SegmentScore(**(fields | changes))


def rows(sink: SqliteSink) -> list[tuple[object, ...]]:
    with sqlite3.connect(sink.path) as connection:
        return connection.execute("select segment_id, score, level, model, status from scores order by segment_id").fetchall()


async def test_a_repeated_score_overwrites_itself(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(a_score())
    sink.add(a_score("s/2"))
    await sink.flush()
    again = SqliteSink(tmp_path)
    again.add(a_score(score=20.0))
    await again.flush()
    await again.flush()
    assert rows(sink) == [("s/1", 20.0, "good", "nano@1", "scored"), ("s/2", 61.5, "good", "nano@1", "scored")]


async def test_renditions_of_a_segment_are_kept_apart(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(a_score(rendition="720p"))
    sink.add(a_score(rendition="360p"))
    await sink.flush()
    assert len(rows(sink)) == 2


async def test_the_event_is_kept_whole(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path)
    sink.add(a_score())
    await sink.flush()
    with sqlite3.connect(sink.path) as connection:
        (event,) = connection.execute("select event from scores").fetchone()
    assert SegmentScore.from_bytes(event.encode()) == a_score()


async def test_a_store_that_cannot_be_written_keeps_the_scores(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    sink = SqliteSink(blocked)
    sink.add(a_score())
    with pytest.raises(SinkError):
        await sink.flush()
    with pytest.raises(SinkError, match="FVQ_DATA_DIR"):
        await sink.check()
    blocked.unlink()
    await sink.flush()
    assert len(rows(sink)) == 1


def test_a_point_is_identified_by_stream_rendition_model_and_start() -> None:
    line = to_point(a_score(labels={"tier": "premium"})).to_line_protocol()
    tags, fields, time = line.split(" ")
    assert tags == "segment_score,model=nano@1,rendition=default,status=scored,stream_id=s"
    assert time == "1769890504000"
    assert 'segment_id="s/1"' in fields
    assert "score=61.5" in fields
    assert "p_good=0.7" in fields
    assert "premium" not in line, "labels are free text: as tags they would make series without bound"


def test_a_skipped_segment_is_a_point_too() -> None:
    fields = dict.fromkeys(("score", "level", "level_probs", "uncertainty", "faces", "signals", "model"))
    line = to_point(a_score(**fields, status="skipped", reason="late")).to_line_protocol()
    assert "status=skipped" in line
    assert 'reason="late"' in line
