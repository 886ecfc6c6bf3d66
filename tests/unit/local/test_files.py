"""How `fvq score` goes through a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError
from scorer.registry import Registry
from streams.errors import SettingsError
from streams.local import files
from streams.local.files import WINDOWS_PER_TASK, Scoring, score_file, score_files
from streams.local.windows import SEGMENT_SECONDS, record
from tests.support.doubles import BrightnessScorer
from tests.support.local import FilePool


def test_an_empty_name_is_not_the_folder_that_the_command_runs_in(tmp_path: Path) -> None:
    scoring = Scoring("nano", "cpu", Registry(str(tmp_path), tmp_path), 8, 1, 30.0, 512)
    with pytest.raises(SettingsError, match="FILE: is empty"):
        score_files([""], scoring)


@pytest.mark.parametrize("windows", [1, 15, 16, 17, 32, 100])
@pytest.mark.parametrize("promise", [0.3, 1.0, 1.5])
def test_every_window_once_and_in_order(windows: int, promise: float, tmp_path: Path) -> None:
    """promise: the duration in the file's header, as a share of the real one."""
    path = tmp_path / "a.mp4"
    path.touch()
    pool: Any = FilePool(windows, promise=windows * SEGMENT_SECONDS * promise)
    scored_windows = score_file(path, pool, BrightnessScorer(), batch_size=8)
    assert [scored.window.start for scored in scored_windows] == [2.0 * i for i in range(windows)]
    assert pool.starts == sorted(set(pool.starts))
    assert len(pool.starts) <= windows * max(1, promise) // WINDOWS_PER_TASK + 2


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    pool: Any = FilePool(1)
    with pytest.raises(MediaError, match="no such file"):
        score_file(tmp_path / "none.mp4", pool, BrightnessScorer(), 8)


@pytest.mark.parametrize("windows", [1, 16, 40])
def test_a_header_that_promises_ages_makes_no_endless_work(windows: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.touch()
    pool: Any = FilePool(windows, promise=4e12)
    assert len(score_file(path, pool, BrightnessScorer(), batch_size=8)) == windows
    assert len(pool.starts) <= windows / WINDOWS_PER_TASK + 2 + pool.workers


def test_a_file_without_an_end_is_scored_up_to_a_cap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "MAX_TASKS", 3)
    path = tmp_path / "a.mkv"
    path.touch()
    pool: Any = FilePool(10_000)
    assert len(score_file(path, pool, BrightnessScorer(), batch_size=8)) == 3 * WINDOWS_PER_TASK


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_answered_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    pool: Any = FilePool(1)
    with pytest.raises(MediaError, match=f"not a regular file: it is a {kind}"):
        score_file(path, pool, BrightnessScorer(), 8)
    assert pool.starts == []


def test_a_file_that_is_open_here_is_found_by_the_children_that_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    pool: Any = FilePool(1)
    asked = []
    monkeypatch.setattr(pool, "submit", lambda path, **task: asked.append(path) or FilePool.submit(pool, path, **task))
    with path.open() as file:
        assert len(score_file(Path(f"/dev/fd/{file.fileno()}"), pool, BrightnessScorer(), 8)) == 1
    assert set(asked) == {path.resolve()}


def test_a_record_weighs_segments_by_their_length(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    pool: Any = FilePool(3, promise=6.0)
    windows = score_file(path, pool, BrightnessScorer(), 2)
    file_record = record(path, windows)
    assert file_record["score"] == pytest.approx(sum(scored.score.score for scored in windows) / 3, abs=0.01)
    assert len(file_record["segments"]) == 3
    facts = {"codec": "h264", "width": 64, "height": 48, "fps": 25.0, "bitrate": 100_000, "qp_mean": 24.5}
    assert [segment["bitstream"] for segment in file_record["segments"]] == [facts] * 3
    sound = {"present": True, "codec": "aac", "sample_rate": 48_000, "channels": 2, "loudness": -23.0, "peak": -6.02}
    sound |= {"silent": 0.25, "clipped": 0.0, "offset_ms": 21.3}
    assert [segment["audio"] for segment in file_record["segments"]] == [sound] * 3
    assert file_record["faces"] == {"count": 1, "area": 0.2}
