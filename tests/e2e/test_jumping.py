"""`fvq score` of files whose clock jumps, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.jumping import JUMPING, STEADY, X264, make_jumping, steady_twin
from tests.support.media import ffmpeg, make_clip
from tests.support.processes import fvq


def test_parts_that_are_joined_keep_their_own_scores(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mkv", 640, 360, 2, kind="face", options=("-c:v", "ffv1", "-pix_fmt", "yuv420p"))
    parts = []
    for number, crf in enumerate((20, 44, 20)):
        part = tmp_path / f"{number}.part"
        ffmpeg("-i", source, *X264, "-crf", str(crf), "-f", "mpegts", part)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    (record,) = (json.loads(line) for line in fvq("score", "--json", str(path)).stdout.splitlines())
    assert [(segment["start"], segment["duration"]) for segment in record["segments"]] == [(0, 2), (2, 2), (4, 2)]
    good, bad, again = (segment["score"] for segment in record["segments"])
    assert good > 60
    assert bad < 45
    assert abs(good - again) < 1


def test_every_clock_gives_the_score_of_the_same_pictures_on_a_steady_one(tmp_path: Path) -> None:
    """A gap that is no jump is frozen time, and a smaller picture has another score."""
    jumping = [name for name in JUMPING if not name.startswith(("gap", "resized"))]
    (tmp_path / "made").mkdir()
    for name in (*jumping, *STEADY):
        make_jumping(tmp_path / "made", name).rename(tmp_path / name)
    files = [str(tmp_path / name) for name in (*jumping, *STEADY)]
    records = [json.loads(line) for line in fvq("score", "--json", *files).stdout.splitlines()]
    scores = {Path(record["file"]).name: record["score"] for record in records}
    moved = {name: scores[name] - scores[steady_twin(name)] for name in jumping}
    assert not {name: points for name, points in moved.items() if abs(points) > 2}
    assert all(0 <= record["signals"]["freeze"] < 0.2 for record in records)
    assert all(len(record["segments"]) == 1 for record in records)
