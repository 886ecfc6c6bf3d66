"""The export of the queue: the clips' files, and the table for raters."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from streams.queue.clips import ClipStore
from streams.queue.export import COLUMNS, export_queue
from tests.support.queue import clip_of, scored, stored_example


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "queue.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_has_all_columns_and_names_the_file_of_its_clip(store: ClipStore, tmp_path: Path) -> None:
    score = scored(1, 20)
    example = stored_example(store, score)
    folder = tmp_path / "out"
    assert export_queue([example], store, folder) == []
    (row,) = table(folder)
    assert tuple(row) == COLUMNS
    assert (folder / row["path"]).read_bytes() == clip_of(score)
    assert (row["stream_id"], row["segment_id"], row["example_id"]) == (score.stream_id, score.segment_id, example.example_id)
    assert (row["score"], row["uncertainty"], row["reason"], row["model"]) == ("20.0", "5.0", "low-score", "1")
    assert row["start"] == score.start.isoformat()


def test_the_column_mos_is_empty(store: ClipStore, tmp_path: Path) -> None:
    export_queue([stored_example(store, scored(1))], store, tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert row["mos"] == ""


def test_the_same_clip_of_two_streams_gets_two_files(store: ClipStore, tmp_path: Path) -> None:
    first = stored_example(store, scored(1, stream="a"))
    data = store.read(first.clip_uri)
    second = first.model_copy(update={"stream_id": "b", "clip_uri": store.uri("b", data)})
    store.put(second, data)
    assert export_queue([first, second], store, tmp_path / "out") == []
    rows = table(tmp_path / "out")
    assert {row["stream_id"] for row in rows} == {"a", "b"}
    assert len({row["path"] for row in rows}) == 2
    assert all((tmp_path / "out" / row["path"]).read_bytes() == data for row in rows)


def test_a_clip_that_is_gone_has_a_reason_and_no_row(store: ClipStore, tmp_path: Path) -> None:
    gone, kept = (stored_example(store, scored(number)) for number in range(2))
    store.delete(gone.clip_uri)
    (reason,) = export_queue([gone, kept], store, tmp_path / "out")
    assert "not in the store any more" in reason
    assert [row["example_id"] for row in table(tmp_path / "out")] == [kept.example_id]
    assert len(list((tmp_path / "out/clips").iterdir())) == 1


@pytest.mark.parametrize("first", ["=", "+", "-", "@"])
def test_a_stream_whose_id_looks_like_a_formula_is_quoted(store: ClipStore, tmp_path: Path, first: str) -> None:
    example = stored_example(store, scored(1, stream=f"{first}cmd"))
    export_queue([example], store, tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert row["stream_id"] == f"'{first}cmd"


def test_a_row_is_one_line_whatever_the_stream_is_called(store: ClipStore, tmp_path: Path) -> None:
    example = stored_example(store, scored(1, stream="\ta\nb\x1b[2J 晚间"))
    export_queue([example], store, tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert row["stream_id"] == r"\ta\nb\x1b[2J 晚间"
    assert len((tmp_path / "out/queue.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_an_empty_queue_gives_a_table_without_rows(store: ClipStore, tmp_path: Path) -> None:
    assert export_queue([], store, tmp_path / "out") == []
    assert (tmp_path / "out/queue.csv").read_text().strip() == ",".join(COLUMNS)


def test_clips_of_an_earlier_export_that_wait_no_more_are_deleted(store: ClipStore, tmp_path: Path) -> None:
    """`fvq forget` finds the clips of an export by its table: one that no row names would stay."""
    gone, kept = (stored_example(store, scored(number)) for number in range(2))
    folder = tmp_path / "out"
    export_queue([gone, kept], store, folder)
    (folder / "clips/notes.txt").write_text("a rater's own file")
    assert export_queue([kept], store, folder) == []
    assert {path.name for path in (folder / "clips").iterdir()} == {"notes.txt", Path(table(folder)[0]["path"]).name}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_that_people_have_filled_in_is_not_overwritten(store: ClipStore, tmp_path: Path, mark: str) -> None:
    example = stored_example(store, scored(1))
    path = tmp_path / "out/queue.csv"
    export_queue([example], store, path.parent)
    export_queue([example], store, path.parent)
    rated = path.read_text().replace(",,", ",4,").replace(",", mark)
    path.write_text("\ufeff" + rated)
    with pytest.raises(ValueError, match="has ratings in its column `mos`"):
        export_queue([example], store, path.parent)
    assert path.read_text() == "\ufeff" + rated
    assert list((path.parent / "clips").iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("heading", ["path,mos_1-5", "path,MOS", "sep=,\npath,mos", "path,mos,rater"])
def test_a_table_that_people_have_changed_is_not_overwritten(
    store: ClipStore, tmp_path: Path, heading: str, encoding: str
) -> None:
    example, folder = stored_example(store, scored(1)), tmp_path / "out"
    export_queue([example], store, folder)
    changed = f"{heading}\nclips/a.mp4,4,ada\n".encode(encoding)
    (folder / "queue.csv").write_bytes(changed)
    with pytest.raises(ValueError, match="name another folder"):
        export_queue([example], store, folder)
    assert (folder / "queue.csv").read_bytes() == changed


def test_an_export_that_fails_half_way_leaves_the_table_of_the_clips_that_are_there(
    store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples, folder = [stored_example(store, scored(number)) for number in range(3)], tmp_path / "out"
    export_queue(examples, store, folder)
    before, read = table(folder), store.read
    monkeypatch.setattr(store, "read", lambda uri: read(uri) if uri == examples[0].clip_uri else away())

    def away() -> bytes:
        raise OSError("the store is away")

    with pytest.raises(OSError, match="the store is away"):
        export_queue(examples, store, folder)
    assert table(folder) == before
    assert {path.name for path in (folder / "clips").iterdir()} == {Path(row["path"]).name for row in before}
