"""`fvq score` of files whose clock jumps, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.jumping import JUMPING, X264, make_jumping
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


def test_every_clock_gives_the_score_of_the_clip(tmp_path: Path) -> None:
    """A gap that is no jump is frozen time, and a smaller picture has another score."""
    names = [name for name in JUMPING if not name.startswith(("gap", "resized"))]
    (tmp_path / "made").mkdir()
    for name in names:
        make_jumping(tmp_path / "made", name).rename(tmp_path / name)
    records = [json.loads(line) for line in fvq("score", "--json", *(str(tmp_path / name) for name in names)).stdout.splitlines()]
    steady = next(record["score"] for record in records if record["file"].endswith("promising.mkv"))
    wrong = {record["file"]: record["score"] for record in records if abs(record["score"] - steady) > 6}
    assert not wrong
    assert all(0 <= record["signals"]["freeze"] < 0.2 for record in records)
    assert all(len(record["segments"]) == 1 for record in records)
