"""Readers of rated sets: what they take, what they drop, and with which reason."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from training.data.rated import SPLITS, _Claim, _splits, read_rated


@pytest.fixture
def clips(tmp_path: Path, face_clip: Path) -> Path:
    """A folder of ten clips; each has another number of zero bytes at its end, so that no two are the same file."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(10):
        (folder / f"v{i}.mp4").write_bytes(face_clip.read_bytes() + bytes(i))
    return folder


def test_fvq_20k_in_every_form_of_its_labels(tmp_path: Path, clips: Path) -> None:
    lines = {"train": "name,mos\nv0.mp4,71.5\nv1.mp4, 3\n\n", "val": "v2.mp4 55\n", "test": "# rated\nv3\t12.25\nv4.mp4;99;0.3\n"}
    for split, text in lines.items():
        (tmp_path / split / "videos").mkdir(parents=True)
        (tmp_path / split / "labels.txt").write_text(text)
        for path in clips.iterdir():
            shutil.copy(path, tmp_path / split / "videos")
    rated = read_rated(tmp_path)
    assert [(clip.path.name, clip.mos, clip.split) for clip in rated.clips] == [
        ("v0.mp4", 71.5, "train"),
        ("v1.mp4", 3.0, "train"),
        ("v2.mp4", 55.0, "val"),
        ("v3.mp4", 12.25, "test"),
        ("v4.mp4", 99.0, "test"),
    ]
    assert rated.dropped == []


def test_cfvqa_is_divided_by_its_contents(tmp_path: Path, clips: Path) -> None:
    names = [f"{content}_vvc_{qp}" for content in (7, 8, 9) for qp in (22, 32, 42)]
    for name, path in zip(names, sorted(clips.iterdir()), strict=False):
        shutil.copy(path, tmp_path / f"{name}.mkv")
    (tmp_path / f"{names[0]}.mkv").rename(tmp_path / f"{names[0]}.yuv")
    table = np.empty((len(names), 3), object)
    for row, name in enumerate(names):
        table[row] = [np.array([name]), np.array([[50.0 + row]]), np.array([[0.03]])]
    savemat(tmp_path / "MOS.mat", {"MOS": table})
    rated = read_rated(tmp_path)
    assert {clip.path.stem: clip.mos for clip in rated.clips} == {name: 50.0 + row for row, name in enumerate(names) if row}
    assert {clip.content for clip in rated.clips} == {"7", "8", "9"}
    assert all(len({clip.split for clip in rated.clips if clip.content == content}) == 1 for content in "789")
    assert "ffmpeg" in rated.dropped[0].reason


def test_wrong_rows_are_dropped_with_their_line_and_the_reason(clips: Path) -> None:
    (clips / "broken.mp4").write_bytes(b"no video")
    shutil.copy(clips / "v0.mp4", clips / "again.mp4")
    rows = {
        "v0.mp4,50,train,,": "",
        "v1.mp4,101,train,,": "outside 0-100",
        "v2.mp4,good,train,,": "no number",
        "v3.mp4,nan,train,,": "no number",
        "gone.mp4,50,train,,": "missing",
        "broken.mp4,50,train,,": "unreadable",
        "again.mp4,50,train,,": "twice",
        "v4.mp4,50,holdout,,": "split",
        "v5.mp4,50,train,ann,": "later split",
        "v6.mp4,50,test,ann,2.5": "",
        "v7.mp4,50,train,,wide": "ci",
    }
    table = clips / "table.csv"
    table.write_text("\n".join(["path,mos,split,content,ci", *rows]) + "\n")
    rated = read_rated(table)
    assert [clip.path.name for clip in rated.clips] == ["v0.mp4", "v6.mp4"]
    assert rated.clips[1].ci == 2.5
    wrong = {f"{table}, line {line}": reason for line, reason in enumerate(rows.values(), start=2) if reason}
    assert [row.where for row in rated.dropped] == list(wrong)
    for row in rated.dropped:
        assert wrong[row.where] in row.reason
    assert "dropped 2: its MOS is no number" in rated.report()


def test_the_rated_queue_is_a_table_with_uris_and_streams(clips: Path) -> None:
    table = clips / "queue.csv"
    uri = (clips / "v1.mp4").resolve().as_uri()
    table.write_text(
        f"example_id,clip_uri,stream_id,mos,ci\na,{uri},live-1,40,3\nb,v2.mp4,live-1,60,4\nc,s3://bucket/v3.mp4,live-2,5,1\n"
    )
    rated = read_rated(table)
    assert [(clip.content, clip.mos, clip.ci) for clip in rated.clips] == [("live-1", 40.0, 3.0), ("live-1", 60.0, 4.0)]
    assert len({clip.split for clip in rated.clips}) == 1
    assert "missing" in rated.dropped[0].reason


def test_splits_have_their_shares_and_do_not_change_when_the_set_grows() -> None:
    claims = [_Claim("", Path(), "1", f"person {i}") for i in range(4000)]
    splits = _splits(claims, [True] * len(claims), seed=0)
    counts = Counter(splits.values())
    assert [counts[split] / 4000 for split in SPLITS] == pytest.approx([0.8, 0.05, 0.15], abs=0.02)
    part = _splits(claims[:100], [True] * 100, seed=0)
    assert all(splits[name] == split for name, split in part.items())
    assert _splits(claims, [True] * len(claims), seed=1) != splits


@pytest.mark.parametrize("text", ["file,score\na,1\n", ""])
def test_a_table_without_its_columns_is_refused(text: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=r"table\.csv.*mos"):
        read_rated(table)


def test_a_source_without_a_usable_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.txt"):
        read_rated(tmp_path)
    (tmp_path / "table.csv").write_text("path,mos\ngone.mp4,3\n")
    with pytest.raises(ValueError, match="missing"):
        read_rated(tmp_path / "table.csv")
