"""The export of ratings to the CSV that training reads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scorer.errors import MediaError
from streams.events import TrainingExample
from streams.rating.export import export
from streams.rating.store import RatingStore
from tests.support.media import make_clip
from tests.support.rating import make_example, read_file
from training.data.rated import read_rated


def rate_all(store: RatingStore, name: str, points: dict[str, float]) -> None:
    """Add a rater who rates all clips. points: example id -> the rating."""
    rater = store.sign_in(store.add_rater(name))
    assert rater is not None
    while shown := store.current(rater):
        store.rate(rater, shown.id, points[shown.key[1]], "slider", 1)


@pytest.fixture
def examples(tmp_path: Path) -> list[TrainingExample]:
    clips = [make_clip(tmp_path / f"{i}.mp4", 160 + 16 * i, 120, 0.2) for i in range(4)]
    return [make_example(clip, f"studio-{i // 2}", i) for i, clip in enumerate(clips)]


def test_training_reads_the_exported_csv(tmp_path: Path, examples: list[TrainingExample]) -> None:
    store = RatingStore(tmp_path)
    store.sync(examples)
    for name, shift in (("ada", 0), ("grace", 4), ("joan", 8)):
        rate_all(store, name, {example.example_id: 20.0 * i + shift for i, example in enumerate(examples)})
    out = tmp_path / "rated.csv"
    done = export(store, examples, read_file, out)
    assert (done.clips, done.left_out) == (4, [])
    with out.open() as file:
        rows = {row["example_id"]: row for row in csv.DictReader(file)}
    row = rows[examples[1].example_id]
    # 20, 24, 28: standard deviation 4, t of 2 degrees of freedom 4.303.
    assert (row["stream_id"], row["mos"], row["ci"], row["ratings"]) == ("studio-0", "24.00", "9.94", "3")
    rated = read_rated(out)
    assert sorted((clip.mos, clip.content, clip.ci) for clip in rated.clips) == [
        (4.0, "studio-0", 9.94), (24.0, "studio-0", 9.94), (44.0, "studio-1", 9.94), (64.0, "studio-1", 9.94),
    ]  # fmt: skip
    assert not rated.dropped


def test_clips_that_are_gone_or_have_changed_are_not_exported(tmp_path: Path, examples: list[TrainingExample]) -> None:
    store = RatingStore(tmp_path)
    store.sync(examples)
    rate_all(store, "ada", {example.example_id: 50.0 for example in examples})
    out = tmp_path / "rated.csv"
    (tmp_path / "3.mp4").unlink()
    done = export(store, examples[1:], read_file, out)
    assert done.clips == 2
    assert done.gone == 1, "the first one, whose time on the queue is over"
    assert [(example_id, "gone" in reason) for example_id, reason in done.left_out] == [(examples[3].example_id, True)]
    (tmp_path / "2.mp4").write_bytes(b"something else")
    assert export(store, examples, read_file, out).clips == 2
    few = export(store, examples, read_file, out, least=2)
    assert few.clips == 0
    assert len(few.left_out) == 4


def test_clips_of_an_object_store_are_copied_and_old_copies_are_deleted(
    tmp_path: Path, examples: list[TrainingExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"s3://bucket/{example.example_id}.ts": read_file(example.clip_uri) for example in examples}
    remote = [example.model_copy(update={"clip_uri": uri}) for example, uri in zip(examples, files, strict=True)]

    def read(uri: str) -> bytes:
        if uri not in files:
            raise MediaError("gone", kind="not-found")
        return files[uri]

    store = RatingStore(tmp_path)
    store.sync(remote)
    rate_all(store, "ada", {example.example_id: 50.0 for example in remote})
    out = tmp_path / "rated.csv"
    assert export(store, remote, read, out).clips == 4
    assert len(read_rated(out).clips) == 4
    assert export(store, remote[:2], read, out).clips == 2
    copies = {path.name for path in (tmp_path / "rated.csv.clips").iterdir()}
    assert copies == {f"{example.example_id}.ts" for example in remote[:2]}
    monkeypatch.chdir(tmp_path)
    assert export(store, remote[1:], read, Path("rated.csv")).clips == 3
    assert len(read_rated(out).clips) == 3, "a relative path names the same file"


def test_an_export_deletes_copies_of_its_own_alone_and_only_when_its_csv_stands(
    tmp_path: Path, examples: list[TrainingExample]
) -> None:
    copies = tmp_path / "rated.csv.clips"
    mine = [copies / "notes.txt", copies / f"{'a' * 64}.ts" / "folder.txt", copies / "old" / f"{'b' * 64}.ts"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("by hand")
    copy = copies / f"{'c' * 64}.ts"
    copy.write_bytes(b"of an earlier export")
    store, out = RatingStore(tmp_path), tmp_path / "rated.csv"
    store.sync(examples)
    rate_all(store, "ada", {example.example_id: 50.0 for example in examples})
    out.mkdir()  # so the CSV cannot be written
    with pytest.raises(OSError, match=r"rated\.csv"):
        export(store, examples, read_file, out)
    assert copy.exists(), "the CSV before names it"
    out.rmdir()
    assert export(store, examples, read_file, out).clips == 4
    assert not copy.exists()
    assert all(path.exists() for path in mine)


def test_the_export_says_at_which_sizes_a_clip_was_rated(tmp_path: Path, examples: list[TrainingExample]) -> None:
    store = RatingStore(tmp_path)
    store.sync(examples)
    ids = [example.example_id for example in examples]
    seen = {
        "ada": dict(zip(ids, (1, 1, None, None), strict=True)),
        "grace": dict(zip(ids, (1, 1 / 3, 2, None), strict=True)),
    }
    for name, factors in seen.items():
        rater = store.sign_in(store.add_rater(name))
        assert rater is not None
        while shown := store.current(rater):
            store.rate(rater, shown.id, 50, "acr", 1, factors[shown.key[1]])
    out = tmp_path / "rated.csv"
    export(store, examples, read_file, out)
    with out.open() as file:
        factor = {row["example_id"]: row["factor"] for row in csv.DictReader(file)}
    assert [factor[example_id] for example_id in ids] == ["1", "0.3333 1", "unknown 2", "unknown"]
    assert len(read_rated(out).clips) == 4


def test_a_new_export_keeps_the_mode_that_people_gave_the_table(tmp_path: Path, examples: list[TrainingExample]) -> None:
    store, out = RatingStore(tmp_path), tmp_path / "rated.csv"
    for _ in range(2):
        export(store, examples, read_file, out)
        out.chmod(0o600)
    export(store, examples, read_file, out)
    assert out.stat().st_mode & 0o777 == 0o600


def test_two_exports_to_one_table_at_once_leave_it_whole(
    tmp_path: Path, examples: list[TrainingExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out, replaced = RatingStore(tmp_path), tmp_path / "rated.csv", Path.replace
    store.sync(examples)
    rate_all(store, "ada", {example.example_id: 50.0 for example in examples})

    def replace(part: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replaced)
        export(store, examples, read_file, out)  # another one ends just before this one
        return replaced(part, target)

    monkeypatch.setattr(Path, "replace", replace)
    export(store, examples, read_file, out)
    assert len(read_rated(out).clips) == len(examples)
    assert not list(tmp_path.glob(".rated.csv*"))
