"""The picture of `fvq score --plot`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from scorer.registry import Registry
from scorer.spec import Window
from streams.errors import SettingsError
from streams.local.files import Scoring, score_files
from streams.local.plot import check_panels, plot_courses
from streams.local.windows import ScoredWindow, record
from tests.support.doubles import BrightnessScorer, make_clip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The pictures that are written."""
    written: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: written.append(figure))
    return written


def course(*lengths: float) -> list[ScoredWindow]:
    """Windows of these lengths, s, each brighter than the one before."""
    windows, start = [], 0.0
    for number, length in enumerate(lengths):
        clip = make_clip(20 + 100 * number)
        clip = replace(clip, info=replace(clip.info, duration=length))
        windows.append(ScoredWindow(Window(start, 2.0), clip, BrightnessScorer().score([clip])[0]))
        start += length
    return windows


def test_the_score_above_a_course_is_that_of_the_files_record(figures: list[Figure]) -> None:
    windows = course(2.0, 0.1)
    plot_courses([("a.mp4", windows)], Path("plot.png"))
    score = record("a.mp4", windows)["score"]
    assert abs(score - sum(scored.score.score for scored in windows) / 2) > 2, "else this test says nothing"
    assert figures[0].axes[0].get_title() == f"a.mp4: {score:.0f}"


def test_many_files_are_below_each_other_without_a_layout_that_compares_all_with_all(figures: list[Figure]) -> None:
    plot_courses([(f"{number}.mp4", course(2.0)) for number in range(50)], Path("plot.png"))
    axes = figures[0].axes
    assert [axes[2 * number].get_title().partition(":")[0] for number in range(50)] == [f"{number}.mp4" for number in range(50)]
    boxes = [axis.get_position(original=True) for axis in axes]
    assert boxes[0].y1 <= 1
    assert boxes[-1].y0 >= 0
    assert all(below.y1 < above.y0 for above, below in pairwise(boxes))
    assert figures[0].get_layout_engine() is None


def test_more_files_than_a_picture_has_room_for_are_refused_before_they_are_scored(tmp_path: Path) -> None:
    check_panels(Path("plot.png"), 175)
    check_panels(Path("plot.WEBP"), 43)
    with pytest.raises(SettingsError, match="room for 43 files, and these are 44"):
        check_panels(Path("plot.WEBP"), 44)
    scoring = Scoring("none", "cpu", Registry(str(tmp_path), tmp_path), 8, 1, 30.0, 512)
    with pytest.raises(SettingsError, match="--plot: a picture has room for 175 files, and these are 176: name fewer of them"):
        score_files(["a.mp4"] * 176, scoring, plot=tmp_path / "plot.png")
