"""Scores of videos that are not shown as they are coded: each as the video that a viewer sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.media import face_frames, ffmpeg, write_frames
from tests.support.odd_pictures import sound_with_cover
from tests.support.processes import fvq

H264 = ("-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-g", "100")
BT709 = ("-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709", "-color_range", "tv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene, stored in several ways, and sound with a cover."""
    work = tmp_path_factory.mktemp("work")
    folder = tmp_path_factory.mktemp("videos")
    master = write_frames(work / "master.mkv", face_frames(640, 360, 2, 50), 50, (*BT709, "-c:v", "ffv1", "-pix_fmt", "yuv420p"))
    base = folder / "base.mp4"
    ffmpeg("-i", master, "-vf", "select=not(mod(n\\,2))", "-fps_mode", "passthrough", *H264, base)
    tff = ("-flags", "+ilme+ildct", "-x264opts", "tff=1")
    ffmpeg("-i", master, "-vf", "interlace=lowpass=0,setfield=tff", *H264, *tff, folder / "interlaced.ts")
    ffmpeg("-i", base, "-vf", "setfield=tff", *H264, *tff, folder / "flagged-only.ts")
    for name, change, option in (
        ("mirrored", "hflip", ("-display_hflip",)),
        ("upside-down", "vflip", ("-display_vflip",)),
        ("on-its-side", "transpose=clock", ("-display_rotation", "90")),
    ):
        ffmpeg("-i", base, "-vf", change, *H264, "-crf", "16", work / f"{name}.mp4")
        ffmpeg(*option, "-i", work / f"{name}.mp4", "-c", "copy", folder / f"{name}.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=black:size=320x180:rate=25", "-t", "2", *H264, work / "black.mp4")
    marks = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    ffmpeg("-i", work / "black.mp4", "-i", base, "-map", "0", "-map", "1", "-c", "copy", *marks, folder / "second-track.mp4")
    sound_with_cover(work / "radio.mp4").rename(folder / "radio.mp4")
    return folder


def test_each_scores_as_what_a_viewer_sees(folder: Path) -> None:
    result = fvq("score", "--json", *map(str, sorted(folder.iterdir())))
    records = {Path(record["file"]).name: record for record in map(json.loads, result.stdout.splitlines())}
    assert "cover picture" in records.pop("radio.mp4")["error"]
    base = records["base.mp4"]["score"]
    assert base > 60  # a portrait that was enlarged to fill the picture
    for name, record in records.items():
        assert record["score"] == pytest.approx(base, abs=6), name  # of combed lines only one field is left
        assert record["faces"]["count"] == 1, name


def test_what_is_cut_scores_as_its_file(folder: Path, tmp_path: Path) -> None:
    names = ["on-its-side.mp4", "mirrored.mp4", "second-track.mp4", "interlaced.ts"]
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    scored = fvq("score", "--json", *(str(folder / name) for name in names))
    files = {Path(record["file"]).stem: record["score"] for record in map(json.loads, scored.stdout.splitlines())}
    played = fvq("up", "--source", str(tmp_path), "--fast", "--json", FVQ_DATA_DIR=str(tmp_path / "data"))
    segments = [json.loads(line) for line in played.stdout.splitlines() if '"segment_id"' in line]
    assert {segment["stream_id"]: segment["score"] for segment in segments} == pytest.approx(files, abs=0.02)
