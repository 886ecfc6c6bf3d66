"""The shipped model puts real encodes in the right order."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.support.processes import ROOT, fvq

CRFS = (18, 26, 32, 38, 44)
DEMO = ROOT / "examples/face.mp4"
FACES = Path(os.environ.get("FVQ_FACES_DIR", ROOT.parent / "shared" / "data" / "faces"))
"""A folder with `dev/*.mp4`, clean clips of people that the model was not trained on; without it, their test is skipped."""


def ladder_scores(clips: list[Path], folder: Path, seconds: float) -> dict[str, list[float]]:
    """Name of a clip -> scores of its x264 ladder by `fvq score`, best encode first. seconds: used of each clip."""
    for clip in clips:
        for crf in CRFS:
            encode = ["-t", str(seconds), "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf)]
            out = folder / f"{clip.stem}.{crf}.mp4"
            subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip), *encode, str(out)], check=True)
    done = fvq("score", "--json", str(folder), seconds=280)
    assert done.returncode == 0, done.stderr
    scores = {Path(line["file"]).name: line["score"] for line in map(json.loads, done.stdout.splitlines())}
    return {clip.stem: [scores[f"{clip.stem}.{crf}.mp4"] for crf in CRFS] for clip in clips}


def in_order(scores: list[float]) -> bool:
    return all(better > worse for better, worse in pairwise(scores))


def test_the_demo_clips_ladder_is_in_order(tmp_path: Path) -> None:
    scores = ladder_scores([DEMO], tmp_path, seconds=4)["face"]
    assert in_order(scores), scores
    assert scores[0] - scores[-1] > 30


def test_ladders_of_unseen_people_are_in_order(tmp_path: Path) -> None:
    clips = sorted((FACES / "dev").glob("*.mp4"))
    if not clips:
        pytest.skip(f"no clips under {FACES / 'dev'}: set FVQ_FACES_DIR to a folder that holds dev/*.mp4")
    for name, scores in ladder_scores(clips, tmp_path, seconds=4).items():
        print(name, scores)
        assert in_order(scores), f"{name}: {scores}"
