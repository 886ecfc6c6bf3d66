"""Readers of rated sets: what they take, what they drop, and with which reason."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.support.media import write_frames
from training.data.rated import read_rated
from training.data.splits import FEWEST, SPLITS, choose_splits


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
    wrong = {f"{where}: {clips}/gone.mp4" if reason == "missing" else where: reason for where, reason in wrong.items()}
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
    people, clips = [f"person {i}" for i in range(4000)], [f"clip {i}" for i in range(4000)]
    splits = choose_splits(people, [""] * 4000, clips, seed=0)
    counts = Counter(splits.values())
    assert [counts[split] / 4000 for split in SPLITS] == pytest.approx([0.8, 0.05, 0.15], abs=0.02)
    part = choose_splits(people[:100], [""] * 100, clips[:100], seed=0)
    assert all(splits[name] == split for name, split in part.items())
    assert choose_splits(people, [""] * 4000, clips, seed=1) != splits


def shared_clips(folder: Path, streams: Mapping[str, Collection[int]]) -> Path:
    """A table of streams. streams: stream -> the numbers of its clips; the clips of one number are the same file."""
    lines = ["path,mos,content"]
    for number in sorted({number for numbers in streams.values() for number in numbers}):
        write_frames(folder / f"{number}.mp4", [np.full((48, 64, 3), 10 * number, np.uint8)] * 2, 25.0)
        lines += [f"{number}.mp4,50,{stream}" for stream, numbers in streams.items() if number in numbers]
    (folder / "rated.csv").write_text("\n".join(lines) + "\n")
    return folder / "rated.csv"


def test_a_clip_that_is_there_twice_counts_once_when_the_splits_are_chosen(tmp_path: Path) -> None:
    table = shared_clips(tmp_path, {"news": range(8), "news again": range(8), "sport": range(8, 14)})
    for seed in range(6):
        rated = read_rated(table, seed)
        assert (len(rated.of("train")), len(rated.of("test"))) == (8, 6)
        assert [row.reason for row in rated.dropped] == ["the same clip is there twice"] * 8


def test_streams_that_share_half_of_their_clips_share_a_split(tmp_path: Path) -> None:
    table = shared_clips(tmp_path, {"a": range(6), "b": range(3, 9), "c": range(6, 13), "other": range(13, 21)})
    for seed in range(6):
        rated = read_rated(table, seed)
        assert {clip.content for clip in rated.of("test")} == {"other"}
        assert {clip.content for clip in rated.of("train")} == {"a", "b", "c"}


def test_a_stream_that_shares_half_of_its_clips_with_one_of_a_named_split_is_in_that_split(tmp_path: Path) -> None:
    shared_clips(tmp_path, {"a": range(6), "b": range(3, 9), "other": range(9, 20)})
    rows = [f"{number}.mp4,50,a,test" for number in range(6)] + [f"{number}.mp4,50,b," for number in range(3, 9)]
    rows += [f"{number}.mp4,50,other,train" for number in range(9, 20)]
    (tmp_path / "named.csv").write_text("\n".join(["path,mos,content,split", *rows]) + "\n")
    for seed in range(6):
        assert {clip.content for clip in read_rated(tmp_path / "named.csv", seed).of("test")} == {"a", "b"}


def test_streams_that_all_show_one_advertisement_are_still_divided(tmp_path: Path) -> None:
    streams = {name: {0, *range(6 * place + 1, 6 * place + 7)} for place, name in enumerate("abc")} | {"advertisement": {0}}
    table = shared_clips(tmp_path, streams)
    for seed in range(6):
        rated = read_rated(table, seed)
        assert (len(rated.of("train")), len(rated.of("test"))) in ((12, 7), (13, 6))


def test_a_clip_of_several_streams_counts_for_the_one_whose_row_is_kept(tmp_path: Path) -> None:
    streams = {name: {0, *range(4 * place + 1, 4 * place + 5)} for place, name in enumerate("abcd")}
    table = shared_clips(tmp_path, streams)
    assert all(len(read_rated(table, seed).of("test")) >= FEWEST for seed in range(12))


def test_clips_that_very_many_streams_show_join_none_of_them() -> None:
    rows = [(f"stream {number}", clip) for number in range(60) for clip in ("one", "two", f"own {number}")]
    contents, clips = [content for content, _ in rows], [clip for _, clip in rows]
    splits = choose_splits(contents, [""] * len(rows), clips, seed=0)
    assert Counter(splits.values())["train"] == pytest.approx(48, abs=8)


def test_rows_of_an_unknown_split_do_not_count_when_the_splits_are_chosen(clips: Path) -> None:
    rows = [f"v{i}.mp4,50,,{'a' if i < 5 else 'b'}" for i in range(10)]
    for content in ("c", "d", "e"):
        for i in range(5):
            shutil.copy(clips / "v0.mp4", clips / f"{content}{i}.mp4")
            with (clips / f"{content}{i}.mp4").open("ab") as file:
                file.write(f"{content}{i}".encode())
            rows.append(f"{content}{i}.mp4,50,holdout,{content}")
    (clips / "table.csv").write_text("\n".join(["path,mos,split,content", *rows]) + "\n")
    for seed in range(6):
        assert len(read_rated(clips / "table.csv", seed).of("test")) == 5


@pytest.mark.parametrize("text", ["file,score\na,1\n", ""])
def test_a_table_without_its_columns_is_refused(text: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=r"table\.csv.*mos"):
        read_rated(table)


def test_a_source_without_a_usable_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.txt"):
        read_rated(tmp_path)
    (tmp_path / "table.csv").write_text("path,mos\ngone.mp4,30\n")
    with pytest.raises(ValueError, match="missing"):
        read_rated(tmp_path / "table.csv")


def rated_as(clips: Path, header: str, *ratings: str, scale: str | None = None, encoding: str = "utf-8") -> list[float]:
    """The points of clips that a table rates like this. header: after the path's column."""
    table = clips / "table.csv"
    rows = [f"path{header[:1]}{header[1:]}", *(f"v{i}.mp4{header[:1]}{rating}" for i, rating in enumerate(ratings))]
    table.write_bytes("\n".join(rows).encode(encoding))
    return [round(clip.mos, 3) for clip in read_rated(table, 0, scale).clips]


@pytest.mark.parametrize(
    ("ratings", "scale"),
    [
        (("2.2", "3.2", "4.2", "4.9", "1.2", "2.2"), "1-5"),
        (("1", "5", "3"), "1-5"),
        (("0.31", "0.82", "0.9"), "0-1"),
        (("3", "7.5", "9.8"), "0-10"),
        (("2", "3", "4", "2", "3", "4", "2", "3", "4", "45"), "1-5"),
        (("-2", "0", "1.5"), "1-5"),
        (("1", "2", "3", "4", "5", "4", "3", "2", "1", "33", "44", "50"), "1-5"),
        (("1", "2", "3", "4", "33", "44", "50", "60", "70", "80", "90", "95"), "1-5"),
        (("0.2", "0.4", "0.9", "55"), "0-1"),
    ],
)
def test_ratings_that_look_like_another_scale_are_asked_for(clips: Path, ratings: tuple[str, ...], scale: str) -> None:
    with pytest.raises(ValueError, match=rf"table\.csv: .*scale of {scale}.* mos_{scale} or mos_100 .*--scale {scale}"):
        rated_as(clips, ",mos", *ratings)


@pytest.mark.parametrize(
    "ratings", [("3", "45", "60", "80"), ("1", "8", "22", "35", "40", "50", "61", "72", "83", "94"), ("11", "12", "13"), ("30",)]
)
def test_points_of_which_a_few_are_bad_are_not_asked_for(clips: Path, ratings: tuple[str, ...]) -> None:
    assert rated_as(clips, ",mos", *ratings) == [float(rating) for rating in ratings]


@pytest.mark.parametrize(
    ("column", "scale", "points"),
    [
        ("mos_5", None, [0, 50, 100]),
        ("MOS (1-5)", None, [0, 50, 100]),
        ("mos_1-5", None, [0, 50, 100]),
        ("mos_5-1", None, [100, 50, 0]),
        ("mos_10", None, [10, 30, 50]),
        ("mos_100", None, [1, 3, 5]),
        ("mos", "1-5", [0, 50, 100]),
        ("mos", "0-100", [1, 3, 5]),
        ("dmos", "5-1", [100, 50, 0]),
        ("dmos_100-0", None, [99, 97, 95]),
        ("mos_5", "0-100", [1, 3, 5]),
    ],
)
def test_a_scale_is_said_by_the_column_or_by_the_option(clips: Path, column: str, scale: str | None, points: list[float]) -> None:
    assert rated_as(clips, f",{column}", "1", "3", "5", scale=scale) == points


@pytest.mark.parametrize("column", ["dmos", "DMOS", "dmos_5"])
def test_differences_of_opinions_are_asked_which_end_is_worse(clips: Path, column: str) -> None:
    with pytest.raises(ValueError, match=r"table\.csv: .*count more as worse.*mos_100-0.*--scale 100-0"):
        rated_as(clips, f",{column}", "20", "60")


@pytest.mark.parametrize("scale", ["five", "5", "3-3", "1-5-9", ""])
def test_an_option_that_is_no_scale_says_what_to_write(clips: Path, scale: str) -> None:
    with pytest.raises(ValueError, match="WORST-BEST, as 1-5"):
        rated_as(clips, ",mos", "20", scale=scale)


def test_intervals_are_on_the_scale_too_and_what_is_outside_it_is_dropped(clips: Path) -> None:
    table = clips / "table.csv"
    table.write_text("path,mos_5,ci\nv0.mp4,3,0.4\nv1.mp4,6,0.4\nv2.mp4,0,\n")
    rated = read_rated(table)
    assert [(clip.mos, clip.ci) for clip in rated.clips] == [(50.0, 10.0)]
    assert ["outside its scale" in row.reason for row in rated.dropped] == [True, True]


def test_small_ratings_in_our_own_exports_are_points(clips: Path) -> None:
    table = clips / "rated.csv"
    table.write_text("path,stream_id,mos,ci,ratings,example_id\nv0.mp4,a,3,1,2,x\nv1.mp4,b,4,1,2,y\n")
    assert [clip.mos for clip in read_rated(table).clips] == [3, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_tables_of_spreadsheets_are_read_in_their_encoding(clips: Path, encoding: str) -> None:
    (clips / "v1.mp4").rename(clips / "Zo\u00e9.mp4")
    table = clips / "table.csv"
    table.write_bytes("path,mos\nv0.mp4,50\nZo\u00e9.mp4,60\n".encode(encoding))
    assert [clip.mos for clip in read_rated(table).clips] == [50, 60]


@pytest.mark.parametrize(
    "text", ["sep=;\npath;mos\n{}", "path;mos\r\n{}", "path\tmos\n{}", 'path,mos\nv0.mp4,"50,5"\n"v1.mp4","60"']
)
def test_semicolons_tabs_and_decimal_commas_are_read(clips: Path, text: str) -> None:
    separator = "\t" if "\t" in text else ";"
    table = clips / "table.csv"
    table.write_text(text.format(f"v0.mp4{separator}50,5\nv1.mp4{separator}60"), newline="")
    assert [clip.mos for clip in read_rated(table).clips] == [50.5, 60]


@pytest.mark.parametrize("data", ["path,mos\nv0.mp4,50\n".encode("utf-16-le"), b"path,mos\nv\x81.mp4,50\n", b"\xff\xfep"])
def test_a_table_that_is_no_text_is_named_with_what_to_do(clips: Path, data: bytes) -> None:
    (clips / "table.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"table\.csv.*save it as UTF-8"):
        read_rated(clips / "table.csv")


@pytest.mark.parametrize(
    "line", ["v0.mp4 71,5", "v0.mp4;71,5", "v0.mp4;71.5;0,3", "v0.mp4\t71,5", "v0.mp4, 71.5", "v0.mp4,71.5,0.3"]
)
def test_decimal_commas_in_fvq_20k(tmp_path: Path, clips: Path, line: str) -> None:
    (tmp_path / "train" / "videos").mkdir(parents=True)
    shutil.copy(clips / "v0.mp4", tmp_path / "train" / "videos")
    (tmp_path / "train" / "labels.txt").write_text(f"{line}\n")
    assert [clip.mos for clip in read_rated(tmp_path).clips] == [71.5]


def test_a_person_is_one_content_however_the_name_is_typed(tmp_path: Path) -> None:
    lines = ["path,mos,content"]
    for number in range(16):
        write_frames(tmp_path / f"{number}.mp4", [np.full((48, 64, 3), 10 * number, np.uint8)] * 2, 25.0)
        name = ("anna", "anna ", "Jos\u00e9", "Jose\u0301")[number % 4]
        lines.append(f"{number}.mp4,{20 + number},{name}")
    (tmp_path / "rated.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert {clip.content for clip in read_rated(tmp_path / "rated.csv").clips} == {"anna", "Jos\u00e9"}


def test_a_path_that_cannot_be_one_drops_its_row_alone(tmp_path: Path) -> None:
    write_frames(tmp_path / "good.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 2, 25.0)
    (tmp_path / "rated.csv").write_text(f"path,mos\n//[bad/x.mp4,40\n{'x' * 300}.mp4,50\n good.mp4 ,60\n")
    rated = read_rated(tmp_path / "rated.csv")
    assert [clip.path.name for clip in rated.clips] == ["good.mp4"]
    assert [dropped.reason for dropped in rated.dropped] == ["the file is missing"] * 2
    assert rated.dropped[-1].where == f"{tmp_path}/rated.csv, line 3: {tmp_path}/{'x' * 300}.mp4", "where it was looked for"


def test_a_table_with_numbered_rows_has_each_file_as_a_content(clips: Path) -> None:
    # pandas writes such a first column, without a name.
    rows = [f"{number},v{number}.mp4,{50 + number}" for number in range(3)]
    (clips / "numbered.csv").write_text("\n".join([",path,mos", *rows]) + "\n")
    assert [clip.content for clip in read_rated(clips / "numbered.csv").clips] == ["v0", "v1", "v2"]
