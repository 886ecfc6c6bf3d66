"""How `fvq score` goes through a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError
from streams.local import files
from streams.local.files import WINDOWS_PER_TASK, score_file
from streams.local.windows import SEGMENT_SECONDS, record
from tests.support.doubles import BrightnessScorer
from tests.support.local import FilePool


@pytest.mark.parametrize("windows", [1, 15, 16, 17, 32, 100])
@pytest.mark.parametrize("promise", [0.3, 1.0, 1.5])
def test_every_window_once_and_in_order(windows: int, promise: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """promise: the duration in the file's header, as a share of the real one."""
    path = tmp_path / "a.mp4"
    path.touch()

    class Facts:
        duration = windows * SEGMENT_SECONDS * promise

    monkeypatch.setattr(files, "probe", lambda _: Facts)
    pool: Any = FilePool(windows)
    scored_windows = score_file(path, pool, BrightnessScorer(), batch_size=8)
    assert [scored.window.start for scored in scored_windows] == [2.0 * i for i in range(windows)]
    assert pool.starts == sorted(set(pool.starts))
    assert len(pool.starts) <= windows * max(1, promise) // WINDOWS_PER_TASK + 2


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    pool: Any = FilePool(1)
    with pytest.raises(MediaError, match="no such file"):
        score_file(tmp_path / "none.mp4", pool, BrightnessScorer(), 8)


def test_a_record_weighs_segments_by_their_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()

    class Facts:
        duration = 6.0

    monkeypatch.setattr(files, "probe", lambda _: Facts)
    pool: Any = FilePool(3)
    windows = score_file(path, pool, BrightnessScorer(), 2)
    file_record = record(path, windows)
    assert file_record["score"] == pytest.approx(sum(scored.score.score for scored in windows) / 3, abs=0.01)
    assert len(file_record["segments"]) == 3
    assert file_record["faces"] == {"count": 1, "area": 0.2}
