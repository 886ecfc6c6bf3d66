"""How `fvq score` goes through a file."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError
from scorer.spec import Window
from streams.local import files
from streams.local.files import SEGMENT_SECONDS, WINDOWS_PER_TASK, record, score_file
from tests.support.doubles import BrightnessScorer, make_clip


class FilePool:
    """Samples a file of a known length; remembers how many tasks waited at once."""

    workers = 2

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.starts: list[float] = []

    def submit(self, path: Path, window_seconds: float, start: float, limit: int) -> Future[Any]:
        self.starts.append(start)
        first = round(start / window_seconds)
        answer: Future[Any] = Future()
        answer.set_result(
            [(Window(i * 2.0, 2.0), make_clip(10 + i % 200)) for i in range(first, min(first + limit, self.windows))]
        )
        return answer


@pytest.mark.parametrize("windows", [1, 15, 16, 17, 32, 100])
@pytest.mark.parametrize("promise", [0.3, 1.0, 1.5])
def test_every_window_once_and_in_order(windows: int, promise: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()

    class Facts:
        duration = windows * SEGMENT_SECONDS * promise

    monkeypatch.setattr(files, "probe", lambda _: Facts)
    pool: Any = FilePool(windows)
    found = score_file(path, pool, BrightnessScorer(), batch_size=8)
    assert [one.window.start for one in found] == [2.0 * i for i in range(windows)]
    assert pool.starts == sorted(set(pool.starts))
    assert len(pool.starts) <= windows * max(1, promise) // WINDOWS_PER_TASK + 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
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
    one = record(path, windows)
    assert one["score"] == pytest.approx(sum(w.score.score for w in windows) / 3, abs=0.01)
    assert len(one["segments"]) == 3
    assert one["faces"] == {"count": 1, "area": 0.2}
