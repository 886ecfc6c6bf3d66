"""`fvq train`, `fvq evaluate`: options that do not go together are refused with what to do, before anything is loaded or read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scorer.errors import ModelError, ScorerError
from streams import parts
from streams.cli.training import ablate, crossvalidate, evaluate, synth, train
from streams.errors import BrokerError, SettingsError
from streams.ports import free_port
from streams.queue.topic import QueuePlace
from streams.rating.store import RatingStore
from streams.settings import Settings
from tests.support.processes import ROOT
from tests.support.queue import scored, stored_example
from training.adapter.replay import FROZEN

NANO, ADAPTER = ROOT / "training/recipes/nano.yaml", ROOT / "training/recipes/nano_adapter.yaml"
FILE, HOST = Path("labels.csv"), "127.0.0.1"


def test_unlabelled_clips_need_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give --teacher"):
        train(NANO, tmp_path, data=FILE, dev=FILE, unlabelled=tmp_path)


@pytest.mark.parametrize(
    ("option", "given"),
    [("--teacher", {"teacher": "nano"}), ("--steady", {"steady": FILE}), ("--errors-of", {"errors_of": "nano"})],
)
def test_what_a_whole_model_learns_from_is_not_for_adapters(tmp_path: Path, option: str, given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=rf"{option}.*without --from-queue"):
        train(ADAPTER, tmp_path, from_queue=True, **given)
    with pytest.raises(SettingsError, match=f"leave {option} out"):
        train(ADAPTER, tmp_path, data=FILE, **given)


def test_a_whole_models_recipe_is_not_for_the_queue(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"it makes a whole model.*nano_adapter\.yaml"):
        train(NANO, tmp_path, from_queue=True)


def test_scenes_are_for_a_benchmark_that_is_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--scenes and --against belong to --benchmark"):
        evaluate("nano", data=FILE, scenes=3)
    with pytest.raises(SettingsError, match=r"--ladder and --scenes say .* need --people"):
        evaluate("nano", benchmark=tmp_path, scenes=3)


@pytest.mark.parametrize("name", ["picture.none", "picture", "nowhere/picture.png"])
def test_a_picture_that_cannot_be_written_is_told_before_the_long_work(name: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.touch()
    with pytest.raises((SettingsError, ValueError), match=r"^--plot.*(one of the endings .*\.png|there is no folder)"):
        evaluate("nano", data=labels, plot=tmp_path / name)
    with pytest.raises((SettingsError, ValueError), match=r"^--sheet.*(one of the endings .*\.jpg|there is no folder)"):
        synth(tmp_path / "out", [ROOT / "examples/face.mp4"], scenes=1, sheet=tmp_path / name)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="no rows"):
        evaluate("nano", data=labels, plot=tmp_path / "PICTURE.PNG")


def test_a_run_that_goes_on_with_its_ratings_asks_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: QueuePlace) -> None:
        raise BrokerError("the broker is away")

    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(QueuePlace, "read", away)
    monkeypatch.setattr("training.run.tune_from_queue", lambda *_: {"version": "tuned"})
    with pytest.raises(BrokerError):
        train(ADAPTER, tmp_path / "model", from_queue=True)
    frozen = tmp_path / "model" / FROZEN
    frozen.parent.mkdir(parents=True)
    frozen.write_text("path,mos_100,split,content,ci\n")
    train(ADAPTER, tmp_path / "model", from_queue=True)


def test_a_run_from_the_queue_tells_which_raters_and_clips_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("training.run.tune_from_queue", lambda *_: {})
    store, clips = RatingStore(tmp_path), parts.clip_store(Settings())
    examples = [stored_example(clips, scored(number)) for number in range(3)]
    store.sync(examples)
    rater = store.sign_in(store.add_rater("ada"))
    assert rater is not None
    while shown := store.current(rater):
        store.rate(rater, shown.id, 50.0, "slider", 1.0)
    clips.delete(examples[0].clip_uri)
    Path(urlsplit(examples[1].clip_uri).path).write_bytes(b"another clip")
    train(ADAPTER, tmp_path / "model", from_queue=True)
    told = capsys.readouterr().err.splitlines()
    assert "ada: 3 clips, +0.0 against the mean; kept" in told
    assert any(line.startswith(f"left out {examples[1].example_id[:12]}: the clip in the store is not") for line in told)
    assert "left out 1 rated clip that is not on the queue any more" in told
    assert told[-1] == "1 clip exported"


def test_a_run_from_a_queue_without_ratings_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=rf"no rated clip is on the queue.* 0 clips wait in the clip store {tmp_path / 'clips'}"):
        train(ADAPTER, tmp_path / "model", from_queue=True)
    assert not (tmp_path / "model").exists()


def test_training_without_another_model_needs_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the library of an object store that holds it."""
    monkeypatch.setenv("FVQ_REGISTRY", "none://registry")
    monkeypatch.setattr("training.run.run", lambda *_, **__: {})
    train(NANO, tmp_path, data=FILE, dev=FILE)


def test_a_variable_that_is_no_setting_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FVQ_BROKR", "kafka:9092")
    monkeypatch.setattr("training.run.run", lambda *_, **__: {})
    train(NANO, tmp_path, data=FILE, dev=FILE, teacher="nano", start="nano", errors_of="nano")
    assert capsys.readouterr().err.count("FVQ_BROKR") == 1


def test_a_wrong_recipe_is_told_before_a_teacher_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, labels, out = tmp_path / "recipe.yaml", tmp_path / FILE, tmp_path / "out"
    recipe.write_text(NANO.read_text() + "learning_rat: 1\n")
    labels.touch()
    monkeypatch.setattr("streams.cli.training._lesson", lambda *_: pytest.fail("it is loaded, for minutes"))
    with pytest.raises(ValueError, match="learning_rat: there is no such key"):
        train(recipe, out, data=labels, dev=labels, teacher="nano")
    recipe.write_text(ADAPTER.read_text() + "learning_rat: 1\n")
    with pytest.raises(ValueError, match="learning_rat: there is no such key"):
        train(recipe, out, data=labels)
    assert not out.exists()


def test_a_model_that_is_not_there_is_told_before_a_benchmark_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.benchmark.make_benchmark", lambda *_: pytest.fail("it is made, for hours"))
    for models in ({"model": "nothing"}, {"model": "nano", "against": ["nothing"]}):
        with pytest.raises(ModelError, match="'nothing': there is no such directory"):
            evaluate(benchmark=tmp_path / "made", people=[ROOT / "examples/face.mp4"], **models)
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        evaluate("nano", benchmark=tmp_path / "made", people=[ROOT / "examples/face.mp4"], train_data=tmp_path / "gone.csv")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("work", ["model", "nothing"])
def test_samples_are_looked_for_in_the_folder_of_a_training(work: str, tmp_path: Path) -> None:
    (tmp_path / "model/work/train").mkdir(parents=True)
    labels = tmp_path / FILE
    labels.touch()
    for command in (partial(ablate, dev=labels), crossvalidate):
        with pytest.raises(SettingsError, match=f"--work: {tmp_path / work} has no samples of a training"):
            command(NANO, data=labels, work=tmp_path / work)
    assert not (tmp_path / work / "train").exists()


def test_a_served_teacher_that_is_away_is_named(tmp_path: Path) -> None:
    address, labels, out = f"http://127.0.0.1:{free_port(HOST)}", [tmp_path / "ann.csv", tmp_path / "eve.csv"], tmp_path / "out"
    for file in labels:
        file.write_text(f"path,content,kind,step,mos\na.mkv,{file.stem},x264,1,50\n")
    with pytest.raises(ScorerError, match=address):
        train(NANO, out, data=labels[0], dev=labels[1], teacher=address)
    assert sorted(tmp_path.iterdir()) == labels
