"""`fvq score` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import pytest

from scorer.spec import LEVELS
from tests.support.processes import ROOT, fvq

DEMO = ROOT / "examples/face.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip, a bad one in a sub-folder, a file that is no video, and one that is not looked at."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "sub").mkdir()
    for name, second in (("good.mp4", "2"), ("sub/bad.mp4", "10")):
        cut = ["-ss", second, "-t", "3", "-i", str(DEMO), "-c:v", "libx264", "-crf", "12", str(folder / name)]
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut], check=True)
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    (folder / "notes.txt").write_text("no video, and not called one")
    return folder


def test_a_folder_as_json(folder: Path) -> None:
    done = fvq("score", "--json", str(folder))
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["file"]).name for one in records] == ["broken.mp4", "good.mp4", "bad.mp4"]
    broken, good, bad = records
    assert set(broken) == {"file", "error"}
    assert done.returncode == 1
    assert good["score"] > bad["score"] + 10
    for one in (good, bad):
        assert list(one) == ["file", "score", "level", "level_probs", "uncertainty", "faces", "signals", "segments", "model"]
        assert one["level"] == max(LEVELS, key=lambda level: one["level_probs"][level])
        assert sum(one["level_probs"].values()) == pytest.approx(1, abs=0.01)
        assert one["faces"]["count"] == 1
        assert one["model"]["name"] == "nano"
        # 3 s in segments of 2 s: the rest is long enough to stand alone.
        assert [(s["start"], s["duration"]) for s in one["segments"]] == [(0.0, 2.0), (2.0, 1.0)]
        assert min(s["score"] for s in one["segments"]) <= one["score"] <= max(s["score"] for s in one["segments"])


def test_two_runs_agree_to_the_last_digit(folder: Path) -> None:
    first, second = (fvq("score", "--json", str(folder / "good.mp4")) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout


def test_csv_has_a_row_per_segment(folder: Path) -> None:
    done = fvq("score", "--csv", str(folder))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [Path(row["file"]).name for row in rows] == ["broken.mp4", "good.mp4", "good.mp4", "bad.mp4", "bad.mp4"]
    assert rows[0]["error"]
    assert rows[1]["level"] in LEVELS


def test_the_picture(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "plot.png"
    done = fvq("score", "--plot", str(picture), str(DEMO))
    assert done.returncode == 0, done.stderr
    image = cv2.imread(str(picture))
    assert image.shape[0] > 300
    assert image.std() > 20
    assert "face.mp4" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["score", "/no/such/file.mp4"], 1, "no such file"),
        (["score", "--plot", "x.unknown", str(DEMO)], 1, "unknown"),
        (["up", "--source", "/no/such/file.mp4"], 1, "no such file"),
        (["worker"], 2, "FVQ_BROKER"),
        (["topics", "create"], 2, "FVQ_BROKER"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = fvq(*arguments, FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_no_broker(tmp_path: Path) -> None:
    done = fvq("worker", FVQ_BROKER="127.0.0.1:1", FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    done = fvq("score", str(DEMO), FVQ_MODEL=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_finds_everything_but_what_is_broken(tmp_path: Path) -> None:
    well = fvq("doctor", "--json", FVQ_DATA_DIR=str(tmp_path))
    assert well.returncode == 0, well.stdout
    assert {one["name"] for one in json.loads(well.stdout)["checks"]} == {
        "system libraries",
        "mediapipe",
        "ffmpeg",
        "model",
        "broker",
        "sink",
        "clip store",
    }
    ill = fvq("doctor", "--json", FVQ_BROKER="127.0.0.1:1", FVQ_INFLUX_URL="http://127.0.0.1:1", FVQ_INFLUX_TOKEN="s3cret")
    assert ill.returncode == 1
    assert {one["name"] for one in json.loads(ill.stdout)["checks"] if not one["ok"]} == {"broker", "sink"}
    assert all(one["fix"] for one in json.loads(ill.stdout)["checks"] if not one["ok"])
    assert "s3cret" not in ill.stdout + ill.stderr
