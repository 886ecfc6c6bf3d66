"""Degraded segments: deterministic, resumable, and worse step by step."""

from __future__ import annotations

import csv
import errno
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from skimage import data
from typer.testing import CliRunner

from streams.cli.app import app
from training.data import synth
from training.data.compare import compare
from training.data.degradations import ladders
from training.data.ffmpeg import pipe_to_ffmpeg, run_ffmpeg
from training.data.labels import read_labels
from training.data.measures import is_measured
from training.data.references import find_sources
from training.data.synth import synthesise


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stills") / "astronaut.png"
    cv2.imwrite(str(path), data.astronaut()[..., ::-1])
    return path


def test_segments_and_labels_of_a_still(still: Path, tmp_path: Path) -> None:
    labels = synthesise(tmp_path, [still], steps=4, seconds=0.4, jobs=2, seed=1)
    rows = read_labels(labels)
    assert len(rows) == 5
    assert [row["path"].name for row in rows if row["kind"] == "reference"] == ["astronaut.sent.mkv"], "not the lossless one"
    for row in rows:
        assert row["path"].exists()
        assert 0 <= row["mos"] <= 97
        assert row["content"] == "astronaut"
    # A run that is started again makes only the missing segments, and the labels are the same.
    before = labels.read_bytes()
    written = rows[1]["path"].stat().st_mtime_ns
    rows[2]["path"].with_suffix(".json").unlink()
    assert synthesise(tmp_path, [still], steps=4, seconds=0.4, jobs=1, seed=1).read_bytes() == before
    assert rows[1]["path"].stat().st_mtime_ns == written
    # The references of other pictures would be kept, and their damage measured anew.
    for others in ({"seed": 2, "seconds": 0.4}, {"seed": 1, "seconds": 0.6}):
        with pytest.raises(ValueError, match="another seed"):
            synthesise(tmp_path, [still], steps=4, jobs=1, **others)
    assert labels.read_bytes() == before


def test_variants_are_contents_of_their_own_of_the_same_person(still: Path, tmp_path: Path) -> None:
    rows = read_labels(synthesise(tmp_path, [still], steps=1, kinds=["x264"], variants=3, seconds=0.2, jobs=1))
    assert [row["content"] for row in rows] == [name for name in ("astronaut", "astronaut-v1", "astronaut-v2") for _ in range(2)]
    assert {row["person"] for row in rows} == {"astronaut"}
    references = {row["path"].read_bytes() for row in rows if row["kind"] == "reference"}
    assert len(references) == 3


def test_a_source_that_is_called_as_a_variant_of_another_is_refused(still: Path, tmp_path: Path) -> None:
    twin = still.with_stem("astronaut-v1")
    with pytest.raises(ValueError, match="anna-v1"):
        synthesise(tmp_path, [still, twin], steps=1, variants=2, seconds=0.2)


def test_targets_fall_step_by_step() -> None:
    for kind in {step.kind for step in ladders()}:
        targets = [step.target for step in ladders() if step.kind == kind]
        if is_measured(kind):
            continue
        assert targets == sorted(targets, key=lambda target: -target)


def test_sources_of_one_name_are_refused(still: Path, tmp_path: Path) -> None:
    (tmp_path / "astronaut.png").write_bytes(still.read_bytes())
    with pytest.raises(ValueError, match="same name"):
        find_sources([still, tmp_path])
    with pytest.raises(ValueError, match="no video or still"):
        find_sources([tmp_path / "none"])


def test_labels_with_and_without_two_steps_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("path,content,kind,step,mos\na.mkv,a,x264,0,50\n")
    (tmp_path / "new.csv").write_text("path,content,kind,step,mos,relative,source_grade\na.mkv,a,x264@blur-1,0,40,50,80\n")
    (old,), (new,) = read_labels(tmp_path / "old.csv"), read_labels(tmp_path / "new.csv")
    assert (old["absolute"], old["relative"], old["source_grade"]) == (False, pytest.approx(100 * 50 / 97), 97)
    assert (new["absolute"], new["relative"], new["source_grade"]) == (True, 50, 80)


@pytest.mark.parametrize(
    ("column", "value"), [("mos", "many"), ("mos", "101"), ("step", ""), ("relative", "101"), ("source_grade", "x")]
)
def test_a_wrong_label_is_named_with_its_line(column: str, value: str, tmp_path: Path) -> None:
    row = {"path": "a.mkv", "content": "a", "kind": "x264", "step": "0", "mos": "50", "relative": "50", "source_grade": "97"}
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows([row, row | {column: value}])
    with pytest.raises(ValueError, match="line 3"):
        read_labels(path)


def test_labels_that_a_spreadsheet_has_written_are_the_same(tmp_path: Path) -> None:
    text = "path,content,kind,step,mos,psnr\na 1.mkv,a,x264,2,50.5,31.25\n"
    (tmp_path / "labels.csv").write_text(text)
    wanted = read_labels(tmp_path / "labels.csv")
    for other in (
        "sep=;\nPath;Content;Kind;Step;MOS;PSNR\na 1.mkv;a;x264;2;50,5;31,25\n",
        "\ufeff" + text.replace(",", "\t").replace("\n", "\r\n"),
        text.replace(",", ", ").replace(" 2,", " 2.0,"),
        'mos,path,person,content,step,kind,psnr\n"50,5",a 1.mkv,,a,2,x264,31.25\n',
    ):
        (tmp_path / "labels.csv").write_text(other, newline="")
        assert read_labels(tmp_path / "labels.csv") == wanted, other


def test_a_clip_that_is_there_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    """As where tables are joined, and one of them twice."""
    (tmp_path / "labels.csv").write_text("path,content,kind,step,mos\na.mkv,a,x264,1,50\nb.mkv,a,x264,2,40\na.mkv,a,x264,1,50\n")
    with pytest.raises(ValueError, match=r"labels\.csv, line 4: a\.mkv is there already, in line 2"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("header", ["path,content,kind,step,mos,MOS", "path,mos,content,mos,kind,step"])
def test_a_column_that_is_there_twice_is_refused(header: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"{header}\na.mkv,a,x264,1,50,60\n")
    with pytest.raises(ValueError, match=r"labels\.csv: the column mos is there twice"):
        read_labels(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("path,content,kind,step,mos,,\na.mkv,a,x264,1,50,,\n")
    assert read_labels(tmp_path / "labels.csv")[0]["mos"] == 50, "columns without a name say nothing"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.mkv,a,x264,0,nan", "mos is nan, not a number"),
        ("a.mkv,a,x264,one,50", "step is one, not a number"),
        ("a.mkv,a,x264,1.5,50", "step is 1.5, not a whole number"),
        ("a.mkv,a,x264,1,-1", "mos -1 is outside 0-100"),
        (",a,x264,1,50", "it has no path; needed are"),
        ("a.mkv,,x264,1,50", "it has no content; needed are"),
        ("a.mkv,a,x264,1,50,much", "psnr is much, not a number"),
    ],
)
def test_a_wrong_row_of_labels_is_told_in_words(row: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"path,content,kind,step,mos,psnr\n{row}\n")
    with pytest.raises(ValueError, match=rf"labels\.csv, line 2: {reason}"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("name", ["Anna's talk", "a, b", "talk [1]", "x: y", "semi;colon", "back\\slash"])
def test_a_clip_is_measured_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    clip = tmp_path / name / f"{name}.mkv"
    clip.parent.mkdir()
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x192:r=25:d=0.2", "-c:v", "libx264", "-qp", "0", clip)
    assert compare(clip, clip, 25.0)["vmaf"] > 90
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


def test_a_source_that_gives_no_reference_is_left_out_and_named(
    still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "._hidden.mp4").write_bytes(b"no video")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x192:r=25:d=0.04", "-c:v", "libx264", tmp_path / "short.mp4")
    sources = find_sources([tmp_path, still])
    assert [source.stem for source in sources] == ["broken", "short", "astronaut"]
    rows = read_labels(synthesise(tmp_path / "out", sources, steps=0, seconds=0.2, jobs=1))
    assert [row["content"] for row in rows] == ["astronaut"]
    said = capsys.readouterr().err
    assert "broken.mp4: left out" in said
    assert "short.mp4: it has no pictures after" in said
    with pytest.raises(ValueError, match="no reference could be made of any source"):
        synthesise(tmp_path / "none", sources[:2], steps=0, seconds=0.2, jobs=1)


def test_a_segment_for_which_ffmpeg_takes_too_long_is_left_out(
    still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("ffmpeg", 300)

    monkeypatch.setattr(synth, "degrade", late)
    rows = read_labels(synthesise(tmp_path, [still], steps=1, seconds=0.2, jobs=1))
    assert [row["kind"] for row in rows] == ["reference"]
    assert "left out, ffmpeg took more than 300 s" in capsys.readouterr().err
    monkeypatch.setattr(synth, "send", late)
    with pytest.raises(ValueError, match="no segment could be made"):
        synthesise(tmp_path / "another", [still], steps=1, seconds=0.2, jobs=1)


def test_what_is_made_never_becomes_a_clean_source(still: Path, tmp_path: Path) -> None:
    (tmp_path / "astronaut.png").write_bytes(still.read_bytes())
    done = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), str(tmp_path), "--steps", "1"])
    assert isinstance(done.exception, ValueError)
    assert "would be taken for clean sources" in str(done.exception)
    judged = ["evaluate", "nano", "--benchmark", str(tmp_path / "judged"), "--people", str(tmp_path)]
    assert "would be taken for clean sources" in str(CliRunner().invoke(app, judged).exception)


@pytest.mark.parametrize("column", ["path", "content", "kind", "step", "mos"])
def test_a_labels_file_without_a_column_is_named_with_what_it_needs(column: str, tmp_path: Path) -> None:
    row = {"path": "a.mkv", "content": "a", "kind": "x264", "step": "0", "mos": "50"}
    del row[column]
    (tmp_path / "labels.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(ValueError, match=rf"labels\.csv, line 2: it has no {column}; needed are path, content, kind, step, mos"):
        read_labels(tmp_path / "labels.csv")


def test_a_labels_file_that_was_cut_off_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,content,kind,step,mos\na.mkv,a,x264,1,50\nb.mkv,b")
    with pytest.raises(ValueError, match=r"labels\.csv, line 3"):
        read_labels(tmp_path / "labels.csv")


def test_a_kind_of_damage_that_there_is_not_is_named_with_those_that_there_are(still: Path, tmp_path: Path) -> None:
    wrong = ["synth", str(tmp_path / "out"), str(still), "--kinds", "x264,blurr"]
    assert "no kind of damage is called blurr; there are x264, x265" in str(CliRunner().invoke(app, wrong).exception)
    assert "no kind of damage is called blurr; " in str(CliRunner().invoke(app, [*wrong[:-1], " x264, blurr,"]).exception)
    assert "--kinds: names no kind of damage; there are x264" in str(CliRunner().invoke(app, [*wrong[:-1], ","]).exception)
    # Scenes have more kinds.
    assert "called mpeg2;" in str(CliRunner().invoke(app, [*wrong[:-1], "mpeg2"]).exception)
    assert "called blurr;" in str(CliRunner().invoke(app, [*wrong[:-1], "mpeg2,blurr", "--scenes", "1"]).exception)


def test_a_full_disk_is_no_fault_of_a_source(tmp_path: Path) -> None:
    source = tmp_path / "anna.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=1", source)
    pictures = [bytes(64 * 48 * 3)] * 50
    full = ("-f", "matroska", "/dev/full")  # which takes nothing, as a full disk
    for write in (lambda: run_ffmpeg("-i", source, *full), lambda: pipe_to_ffmpeg(pictures, "bgr24", 64, 48, 25, *full)):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'") as caught:
            write()
        assert caught.value.errno == errno.ENOSPC


def test_what_an_interruption_ended_is_not_called_a_fault_of_the_segment(
    still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C reaches ffmpeg too, which then ends with 255 in the threads."""

    def interrupted(items: Iterable[Any], what: str, *, total: int) -> Iterator[Any]:
        if what == "segments":
            raise KeyboardInterrupt
        yield from items

    def ended(*_: object) -> None:
        raise subprocess.CalledProcessError(255, "ffmpeg")

    monkeypatch.setattr(synth, "Progress", interrupted)
    monkeypatch.setattr(synth, "degrade", ended)
    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path, [still], steps=4, seconds=0.2, jobs=2)
    assert capsys.readouterr().err == ""
