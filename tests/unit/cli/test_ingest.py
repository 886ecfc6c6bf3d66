"""`fvq ingest` without a broker: which events are announced, and what is said of files that cannot be played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from streams.cli.app import app
from streams.events import SegmentEvent
from streams.ingest import announce
from tests.support.media import make_clip

Announced = list[SegmentEvent]


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Announced:
    """The events that the command has announced."""
    events: Announced = []

    def take(source: Iterator[SegmentEvent], _: object, sent: Callable[[SegmentEvent], None], __: object) -> int:
        for event in source:
            events.append(event)
            sent(event)
        return len(events)

    monkeypatch.setattr(announce, "announce", take)
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    return events


def fvq_ingest(source: Path) -> Result:
    return CliRunner().invoke(app, ["ingest", "--fast", "--source", str(source)])


def test_a_file_that_cannot_be_played_is_reported_and_the_others_play(announced: Announced, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    make_clip(folder / "good.mp4", 160, 120, 0.4)
    (folder / "bad.mp4").write_bytes(b"no video")
    result = fvq_ingest(folder)
    assert result.exit_code == 1
    assert [event.stream_id for event in announced] == ["good"]
    assert f"fvq: not played: {folder}/bad.mp4: the file cannot be opened as media" in result.stderr


def test_two_files_that_differ_in_their_ending_are_two_streams(announced: Announced, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("cam.mp4", "cam.mkv"):
        make_clip(folder / name, 160, 120, 0.4)
    result = fvq_ingest(folder)
    assert result.exit_code == 0, result.output
    assert {event.stream_id for event in announced} == {"cam.mp4", "cam.mkv"}
    assert len({event.uri.rsplit("/", 1)[0] for event in announced}) == 2


def test_where_nothing_can_be_played_nothing_is_announced(announced: Announced, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    result = fvq_ingest(tmp_path / "bad.mp4")
    assert result.exit_code == 1
    assert "bad.mp4: the file cannot be opened as media" in str(result.exception)
    assert announced == []


def test_a_name_cannot_print_lines_of_its_own(announced: Announced, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 160, 120, 0.4).rename(tmp_path / "a\n2 segments\x1b[2J.mp4")
    result = fvq_ingest(tmp_path / "a\n2 segments\x1b[2J.mp4")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith(r"a\n2 segments\x1b[2J/")
