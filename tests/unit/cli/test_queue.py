"""`fvq queue` without a broker, where the clip store is the queue."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from streams import parts
from streams.cli.app import app
from streams.events import TrainingExample
from streams.privacy.exports import exports
from streams.queue.clips import ClipStore
from streams.queue.topic import QueuePlace
from streams.rating.store import RatingStore
from streams.settings import Settings
from tests.support.queue import scored, stored_example


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    return Settings()


def fvq_queue(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["queue", *arguments])


def examples_of(settings: Settings) -> list[TrainingExample]:
    return parts.queue(settings).read()[0]


@pytest.fixture
def waiting(settings: Settings) -> list[TrainingExample]:
    """Two clips of stream a, the first of which is also in stream b."""
    store = parts.clip_store(settings)
    first, second = (stored_example(store, scored(number, stream="a")) for number in range(2))
    data = store.read(first.clip_uri)
    copy = first.model_copy(update={"stream_id": "b", "clip_uri": store.uri("b", data)})
    store.put(copy, data)
    return [first, second, copy]


def rate_all(settings: Settings) -> RatingStore:
    store = RatingStore(settings.data_dir)
    store.sync(examples_of(settings))
    rater = store.sign_in(store.add_rater("ada"))
    assert rater is not None
    while shown := store.current(rater):
        store.rate(rater, shown.id, 50.0, "slider", 1.0)
    return store


def test_a_clip_is_deleted_in_all_its_streams_with_its_ratings(settings: Settings, waiting: list[TrainingExample]) -> None:
    ratings = rate_all(settings)
    assert {rating.key for rating in ratings.ratings()} == {(example.stream_id, example.example_id) for example in waiting}
    assert fvq_queue("rm", waiting[0].example_id[:12]).exit_code == 0
    assert [example.key for example in examples_of(settings)] == [waiting[1].key]
    assert {rating.key[1] for rating in ratings.ratings()} == {waiting[1].example_id}


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--stream", "b"]])
def test_a_stored_clip_without_an_example_is_not_left_out_in_silence(
    settings: Settings, waiting: list[TrainingExample], arguments: list[str]
) -> None:
    assert fvq_queue("ls", *arguments).stderr == ""
    for example, text in zip(waiting[1:], (None, "{}"), strict=True):
        file = Path(example.clip_uri.removeprefix("file://")).with_suffix(".json")
        file.unlink() if text is None else file.write_text(text)
    result = fvq_queue("ls", *arguments)
    assert result.exit_code == 0
    if "--stream" in arguments:
        wanted = f"1 stored clip is not listed, as no example that can be read lies beside {waiting[2].clip_uri}"
    else:
        wanted = "2 stored clips are not listed, as no example that can be read lies beside them: "
        assert json.loads(fvq_queue("ls", "--json").stdout)[0]["example_id"] == waiting[0].example_id
    assert result.stderr.startswith(f"fvq: {wanted}")


def test_a_stream_is_deleted_with_its_ratings(settings: Settings, waiting: list[TrainingExample]) -> None:
    ratings = rate_all(settings)
    assert fvq_queue("rm", "--stream", "a").exit_code == 0
    assert [example.key for example in examples_of(settings)] == [waiting[2].key]
    assert {rating.key[0] for rating in ratings.ratings()} == {"b"}


def test_clips_that_cannot_be_read_are_named_and_the_others_exported(
    settings: Settings,
    waiting: list[TrainingExample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = stored_example(ClipStore(str(tmp_path / "other")), scored(7))
    broken_address = elsewhere.model_copy(update={"clip_uri": "nonsense"})
    monkeypatch.setattr(QueuePlace, "read", lambda _: ([*waiting, elsewhere, broken_address], {}))
    exported = fvq_queue("export", str(tmp_path / "out"))
    assert exported.exit_code == 1
    assert exported.stderr.count("not a clip of the store") == 2
    assert "3 clips in" in exported.stdout
    with (tmp_path / "out/queue.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    removed = fvq_queue("rm", elsewhere.example_id)
    assert removed.exit_code == 1
    assert "FVQ_CLIP_STORE" in removed.stderr


def test_a_refused_export_is_not_noted_for_deletion(settings: Settings, waiting: list[TrainingExample], tmp_path: Path) -> None:
    table = tmp_path / "own" / "queue.csv"
    table.parent.mkdir()
    table.write_text("channel,rating\n1,good\n")
    refused = fvq_queue("export", str(table.parent))
    assert refused.exit_code == 1
    assert "name another folder" in str(refused.exception)
    assert list(exports(settings.data_dir)) == []
    assert fvq_queue("export", str(tmp_path / "out")).exit_code == 0
    assert [export.path for export in exports(settings.data_dir)] == [tmp_path / "out"]


def test_an_empty_list_says_where_it_looked(settings: Settings) -> None:
    """As in a terminal of another folder, where FVQ_DATA_DIR is another one."""
    listed = fvq_queue("ls")
    assert f"none in the clip store {settings.data_dir / 'clips'}, which is read because FVQ_BROKER is not set" in listed.stderr
    assert fvq_queue("ls", "--json").stdout == "[]\n"


def test_a_stream_without_clips_is_told_from_an_empty_queue(settings: Settings, waiting: list[TrainingExample]) -> None:
    assert "none in" not in fvq_queue("ls", "--stream", "c").stderr


def test_scripts_can_read_the_list(settings: Settings, waiting: list[TrainingExample]) -> None:
    listed = fvq_queue("ls", "--stream", "a", "--json")
    assert {example["segment_id"] for example in json.loads(listed.stdout)} == {example.segment_id for example in waiting[:2]}


def test_the_names_of_streams_are_shown_as_they_are(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stored_example(parts.clip_store(settings), scored(1, stream="old [/x]\x1b[2J"))
    result = fvq_queue("ls")
    assert result.exit_code == 0, result.output
    assert r" old [/x]\x1b[2J " in result.output
