"""Damage that no model was trained on: each step is further away from the picture than the one before."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from tests.bench.unseen import CHANGES, CODECS, KINDS, STEPS, main, make
from tests.support.processes import ROOT
from training.data.damage.catalogue import LADDERS
from training.data.damage.pictures import read, shape_of

PICTURE = cv2.resize(np.asarray(data.astronaut())[..., ::-1], (128, 128), interpolation=cv2.INTER_AREA).astype(np.uint8)
TIMES = np.arange(50) / 25
"""Of the pictures of a clip, seconds."""


@pytest.mark.parametrize("name", CHANGES)
def test_each_step_is_worse_than_the_one_before(name: str) -> None:
    amounts, change = CHANGES[name]
    distances = [
        float(np.mean([np.abs(change(PICTURE, amount, time).astype(float) - PICTURE).mean() for time in TIMES]))
        for amount in amounts
    ]
    assert len(amounts) == STEPS
    assert distances[0] > 0
    assert distances == sorted(set(distances))


def test_they_are_nobodys_ladders() -> None:
    assert not set(KINDS) & set(LADDERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_what_a_codec_leaves_is_as_long_as_it_was(name: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    make(name, STEPS - 1, ROOT / "examples/face.mp4", clip)
    assert shape_of(clip) == shape_of(ROOT / "examples/face.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]
    assert not np.array_equal(next(read(clip)), next(read(ROOT / "examples/face.mp4")))


@pytest.mark.slow
def test_a_kind_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path, [ROOT / "examples/face.mp4"], "nano", ["defocused disc"])
    _, _, row = capsys.readouterr().out.splitlines()
    name, in_order, worst, scores, seen = (cell.strip() for cell in row.split("|")[1:-1])
    assert (name, in_order, worst, seen) == ("defocused disc", "1.00", "1.00", "")
    assert len(scores.split()) == 1 + STEPS
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    main(tmp_path, [ROOT / "examples/face.mp4"], "nano", ["defocused disc"])
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
