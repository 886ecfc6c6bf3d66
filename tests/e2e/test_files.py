"""`fvq score` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import pytest

from scorer.spec import LEVELS
from tests.support.media import with_empty_tracks
from tests.support.processes import ROOT, fvq

DEMO = ROOT / "examples/face.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip, a bad clip in a sub-folder, a file that is named .mp4 but is no video, and a text file, which is ignored."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "sub").mkdir()
    for name, second in (("good.mp4", "2"), ("sub/bad.mp4", "10")):
        cut = ["-ss", second, "-t", "3", "-i", str(DEMO), "-c:v", "libx264", "-crf", "12", str(folder / name)]
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut], check=True)
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    (folder / "notes.txt").write_text("no video, and not named as one")
    return folder


def test_a_folder_as_json(folder: Path) -> None:
    result = fvq("score", "--json", str(folder))
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record["file"]).name for record in records] == ["broken.mp4", "good.mp4", "bad.mp4"]
    broken, good, bad = records
    assert set(broken) == {"file", "error"}
    assert result.returncode == 1
    assert good["score"] > bad["score"] + 10
    for record in (good, bad):
        assert list(record) == ["file", "score", "level", "level_probs", "uncertainty", "faces", "signals", "segments", "model"]
        assert record["level"] == max(LEVELS, key=lambda level: record["level_probs"][level])
        assert sum(record["level_probs"].values()) == pytest.approx(1, abs=0.01)
        assert record["faces"]["count"] == 1
        assert record["model"]["name"] == "nano"
        # 3 s in segments of 2 s: the last second is long enough for a segment of its own.
        assert [(segment["start"], segment["duration"]) for segment in record["segments"]] == [(0.0, 2.0), (2.0, 1.0)]
        scores = [segment["score"] for segment in record["segments"]]
        assert min(scores) <= record["score"] <= max(scores)


def test_two_runs_agree_to_the_last_digit(folder: Path) -> None:
    first, second = (fvq("score", "--json", str(folder / "good.mp4")) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout


def test_csv_has_a_row_per_segment(folder: Path) -> None:
    result = fvq("score", "--csv", str(folder))
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [Path(row["file"]).name for row in rows] == ["broken.mp4", "good.mp4", "good.mp4", "bad.mp4", "bad.mp4"]
    assert rows[0]["error"]
    assert rows[1]["level"] in LEVELS


def test_every_name_and_every_hostile_file_is_answered(tmp_path: Path) -> None:
    good = tmp_path / "old [" / "x] 100%.mp4"
    good.parent.mkdir()
    cut = ["-t", "2", "-i", str(DEMO), "-c:v", "libx264", "-crf", "12", str(good)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut], check=True)
    for name in (b"a\nb\x1b[2J.mp4", b"caf\xe9.mp4"):
        shutil.copy(good, os.fsencode(tmp_path) + b"/" + name)
    with_empty_tracks(good, tmp_path / "tracks.mp4", 1001)
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "none")
    result = fvq("score", "--json", str(tmp_path), seconds=100)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    records = {Path(record["file"]).name: record for record in map(json.loads, result.stdout.splitlines())}
    assert set(records) == {path.name for path in [*tmp_path.iterdir(), good] if path != good.parent}
    assert {name for name in records if "error" in records[name]} == {"tracks.mp4", "pipe.ts", "gone.mp4"}
    assert len({record["score"] for record in records.values() if "score" in record}) == 1
    table = fvq("score", os.path.join(str(tmp_path), os.fsdecode(b"caf\xe9.mp4")), PYTHONIOENCODING="ascii")
    assert table.returncode == 0, table.stderr
    assert r"caf\xe9.mp4" in table.stdout


def test_plot_writes_a_picture(folder: Path, tmp_path: Path) -> None:
    picture, clip = tmp_path / "plot.png", tmp_path / "$face_{.mp4"
    clip.symlink_to(DEMO)
    result = fvq("score", "--plot", str(picture), str(clip))
    assert result.returncode == 0, result.stderr
    image = cv2.imread(str(picture))
    assert image.shape[0] > 300
    assert image.std() > 20
    assert "$face_{.mp4" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["score", "/no/such/file.mp4"], 1, "no such file"),
        (["score", "--plot", "x.unknown", str(DEMO)], 2, "unknown"),
        (["score", "--plot", "/no/such/folder/x.png", str(DEMO)], 1, "there is no folder /no/such/folder"),
        (["score", "--json", "--csv", str(DEMO)], 2, "--json or --csv"),
        (["up", "--source", "/no/such/file.mp4"], 1, "no such file"),
        (["worker"], 2, "FVQ_BROKER"),
        (["topics", "create"], 2, "FVQ_BROKER"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    result = fvq(*arguments, FVQ_DATA_DIR=str(tmp_path))
    assert result.returncode == code
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_no_broker(tmp_path: Path) -> None:
    result = fvq("worker", FVQ_BROKER="127.0.0.1:1", FVQ_DATA_DIR=str(tmp_path))
    assert result.returncode == 1
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    result = fvq("score", str(DEMO), FVQ_MODEL=str(tmp_path / "none"))
    assert result.returncode == 1
    assert "none" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_fails_only_the_checks_of_what_is_broken(tmp_path: Path) -> None:
    healthy = fvq("doctor", "--json", FVQ_DATA_DIR=str(tmp_path))
    assert healthy.returncode == 0, healthy.stdout
    assert {check["name"] for check in json.loads(healthy.stdout)["checks"]} == {
        "system libraries",
        "detectors",
        "ffmpeg",
        "model",
        "scorer",
        "second model",
        "large model",
        "broker",
        "rights",
        "codecs",
        "sink",
        "clip store",
        "variables",
        "media",
        "alert policy",
        "data folder",
    }
    broken = fvq("doctor", "--json", FVQ_BROKER="127.0.0.1:1", FVQ_INFLUX_URL="http://127.0.0.1:1", FVQ_INFLUX_TOKEN="s3cret")
    assert broken.returncode == 1
    assert {check["name"] for check in json.loads(broken.stdout)["checks"] if not check["ok"]} == {"broker", "sink"}
    assert all(check["fix"] for check in json.loads(broken.stdout)["checks"] if not check["ok"])
    assert "s3cret" not in broken.stdout + broken.stderr
