"""A small model is trained on: it begins where it was, sees more statistics than before, and refuses what does not fit it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scorer.find import version_of
from scorer.model.modeling import FVQRater
from scorer.model.presets import nano
from scorer.sampling.statistics import NAMES, names_of
from scorer.spec import MODEL_INPUTS, SPECIFICATIONS, SamplerSpec
from tests.support.doubles import make_clip
from tests.support.processes import ROOT
from tests.unit.training.test_teacher import labels, made_up
from training.data import samples as sampling
from training.data.labels import fingerprint, people_of, read_apart, read_labels
from training.data.samples import Samples
from training.evaluation.agreement import Floats
from training.nano import train as training
from training.nano.kept import kept_pictures
from training.nano.start import Start, between
from training.nano.train import predict, scores_by, train
from training.recipe import MOST_BLOCKS, load_nano_recipe

RECIPE = load_nano_recipe(ROOT / "training/recipes/nano_more.yaml")
SMALL = replace(RECIPE, stage2_steps=3, settling_steps=1, contents_per_batch=2, clips_per_content=3)


def sampled(count: int, spec: SamplerSpec) -> Samples:
    clips = [make_clip(30 * i, i, spec, len(names_of(spec.statistics_version))) for i in range(count)]
    return Samples({name: np.stack([getattr(clip, name) for clip in clips]) for name in MODEL_INPUTS}, np.arange(count))


@pytest.fixture(scope="module")
def older() -> Start:
    """A model that knows nothing of how steadily a clip is delivered."""
    return Start(FVQRater(nano()[0]), SPECIFICATIONS["leaner"], "older")


def test_a_model_begins_with_the_scores_that_it_had(older: Start) -> None:
    clips = sampled(4, RECIPE.spec)
    network = older.grown(clips.arrays["statistics"]).eval()
    assert network.config.statistics_size == len(names_of(3))
    np.testing.assert_allclose(
        network(clips.batch(range(4))).score.detach(),
        scores_by(older.network, older.known(clips)),
        atol=1e-3,
    )


def test_clips_that_do_not_fit_the_model_are_refused(older: Start) -> None:
    older.check(SPECIFICATIONS["steady"])
    assert older.sees(SPECIFICATIONS["steady"])
    older.check(SPECIFICATIONS["middle"])
    assert not older.sees(SPECIFICATIONS["middle"]), "it has to learn these pictures"
    with pytest.raises(ValueError, match="older sees other temporal clips than the recipe's sampler gives"):
        older.check(SPECIFICATIONS["standard"])
    with pytest.raises(ValueError, match=rf"takes {len(names_of(3))} statistics; the sampler gives {len(NAMES)}"):
        replace(older, spec=SPECIFICATIONS["steady"]).check(SPECIFICATIONS["leaner"])


@pytest.mark.parametrize(("blocks", "views", "tolerance"), [(2, 1, 0.01), (MOST_BLOCKS, 2, 1e-4)])
def test_kept_pictures_give_the_tokens_that_the_encoder_gives(older: Start, blocks: int, views: int, tolerance: float) -> None:
    """Maps are kept in half precision, what comes of all blocks is not."""
    clips = sampled(3, older.spec)
    kept = kept_pictures(older.network, clips, blocks)
    assert all(pooled.shape[1] == views for pooled in kept.pooled.values())
    served = older.network.eval().encode(clips.batch(range(3)))
    mirrored = {name: array[:, :, :, ::-1] for name, array in clips.arrays.items() if name in kept.pooled}
    other = older.network.encode(Samples(clips.arrays | mirrored, clips.rows).batch(range(3)))
    torch.manual_seed(0)
    for drawn in (kept.drawn(older.network, torch.arange(3), RECIPE.settling) for _ in range(4)):
        for name, tokens in drawn.items():
            for clip in range(3):
                ways = [streams[name][clip] for streams in (served, other)[:views]]
                assert any(torch.allclose(tokens[clip], way, atol=tolerance, rtol=tolerance) for way in ways), name
    for name, tokens in kept.served(older.network, torch.tensor([2, 0])).items():
        assert torch.allclose(tokens, served[name][[2, 0]], atol=tolerance, rtol=tolerance), name
    hidden = kept.drawn(older.network, torch.arange(3), replace(RECIPE, image_dropout=1.0))
    assert not any(tokens.any() for tokens in hidden.values())


def test_the_blocks_that_are_not_frozen_are_trained_from_kept_pictures(
    older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "sample_all", made_up)
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    recipe = replace(SMALL, kept_pictures=True, frozen_blocks=2, encoder_learning_rate=1e-3)
    train(recipe, data, dev, tmp_path / "model", start=older)
    before, after = (
        network.vision_model.blocks.state_dict() for network in (older.network, Start.load(tmp_path / "model").network)
    )
    moved = {int(name.split(".")[0]) for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {2, 3, 4}


def test_the_weights_meet_their_start_on_the_way() -> None:
    first, last = ({"layer": torch.tensor([value]), "steps": torch.tensor(int(value))} for value in (1.0, 3.0))
    assert between(first, last, 0.25)["layer"].item() == 2.5
    assert between(first, last, 0)["layer"].item() == 3
    assert between(first, last, 1)["steps"].item() == 3, "a count is no weight"


def test_training_goes_on_from_a_model(older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "sample_all", made_up)
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    metrics = train(SMALL, data, dev, tmp_path / "model", start=older)
    again = train(SMALL, data, dev, tmp_path / "again", start=older)
    assert metrics["version"] == again["version"]
    assert json.loads((tmp_path / "model/metrics.json").read_text())["start"] == "older"
    card = (tmp_path / "model/README.md").read_text()
    assert "Before that it was version older; its card says what it was trained on. 50% of its weights stayed." in card
    trained = Start.load(tmp_path / "model")
    assert trained.spec == SPECIFICATIONS["steady"]
    moved = trained.network.state_dict()["projectors.statistics.layers.0.weight"]
    assert moved[:, len(NAMES) :].abs().sum() > 0
    files = (tmp_path / "model" / name for name in ("model.safetensors", "config.json"))
    assert len({file.stat().st_mode for file in files}) == 1, "a worker that another user runs loads it too"


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The errors that the uncertainty was taught, one entry a training. Clips are made up."""
    given_errors = []
    training_of = training.fitted

    def fitted(*given: Any, errors: Any, **options: Any) -> FVQRater:
        given_errors.append(errors)
        return training_of(*given, errors=errors, **options)

    monkeypatch.setattr(training, "fitted", fitted)
    monkeypatch.setattr(sampling, "sample_all", made_up)
    return given_errors


def errors_on(model: Start, data: Path, samples: Path, spec: SamplerSpec) -> Floats:
    """A model's errors on the clips of a labels file, as a run has kept them in its folder `samples`."""
    rows = read_labels(data)
    clips = sampling.kept_samples(samples, rows, spec, 1, sampling.parts_of(rows, SMALL.seed))
    scores = scores_by(model.network, model.known(clips))
    return np.abs(np.subtract(scores, [row["mos"] for row in rows]))


def test_the_uncertainty_learns_another_models_errors(older: Start, tmp_path: Path, taught: list[Any]) -> None:
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    torch.manual_seed(1)
    stranger = Start(FVQRater(nano()[0]), SPECIFICATIONS["leaner"], "stranger")
    train(SMALL, data, dev, tmp_path / "own", start=older)
    metrics = train(SMALL, data, dev, tmp_path / "model", start=older, errors_of=stranger)
    assert (metrics["start"], metrics["errors_of"]) == ("older", "stranger")
    assert "learned the errors of version stranger" in (tmp_path / "model/README.md").read_text()
    for errors, model in zip(taught, (older, stranger), strict=True):
        np.testing.assert_allclose(errors, errors_on(model, data, tmp_path / "model/work/train", RECIPE.spec), atol=1e-3)


def test_a_start_is_asked_for_its_errors_once(older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "sample_all", made_up)
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])

    def killed(*_given: Any, errors: Any, **_options: Any) -> FVQRater:
        raise KeyboardInterrupt(errors.sum())

    monkeypatch.setattr(training, "fitted", killed)
    with pytest.raises(KeyboardInterrupt) as first:
        train(SMALL, data, dev, tmp_path / "model", start=older)
    monkeypatch.setattr(training, "predict", lambda *_given: pytest.fail("its scores are kept"))
    with pytest.raises(KeyboardInterrupt) as second:
        train(SMALL, data, dev, tmp_path / "model", start=older)
    assert first.value.args == second.value.args
    with pytest.raises(pytest.fail.Exception, match="are kept"):
        train(SMALL, data, dev, tmp_path / "model", start=replace(older, version="another"))


def test_a_model_learns_other_pictures_and_its_errors_are_those_on_what_it_knows(
    older: Start, tmp_path: Path, taught: list[Any]
) -> None:
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    train(replace(SMALL, sampler="middle"), data, dev, tmp_path / "model", start=older)
    trained = Start.load(tmp_path / "model")
    assert trained.spec == SPECIFICATIONS["middle"]
    assert np.load(tmp_path / "model/work/train/frames.npy").shape[1:] == (1, 288, 288, 3)
    np.testing.assert_allclose(taught[0], errors_on(older, data, tmp_path / "model/work/errors", older.spec), atol=1e-3)
    wrong = replace(older, spec=replace(SPECIFICATIONS["standard"], statistics_version=3), version="large")
    with pytest.raises(ValueError, match="the model large takes"):
        train(SMALL, data, dev, tmp_path / "no", start=older, errors_of=wrong)


def test_several_runs_make_their_mean(older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "sample_all", made_up)
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    train(replace(SMALL, runs=2), data, dev, tmp_path / "mean", start=older)
    rows = read_labels(data)
    clips = sampling.kept_samples(tmp_path / "mean/work/train", rows, RECIPE.spec, 1, sampling.parts_of(rows, SMALL.seed))
    answers = predict(older.network, older.known(clips), np.arange(len(clips)))
    errors = np.array([abs(score - row["mos"]) for (score, *_), row in zip(answers, rows, strict=True)])
    first, second = (
        training.fitted(clips, rows, replace(SMALL, seed=SMALL.seed + number), np.arange(len(clips)), errors=errors, start=older)
        for number in range(2)
    )
    made = Start.load(tmp_path / "mean").network.state_dict()
    assert "The mean weights of 2 such trainings, with seeds" in (tmp_path / "mean/README.md").read_text()
    ends = (first.state_dict(), second.state_dict())
    assert not torch.equal(*(weights["head.0.weight"] for weights in ends))
    for name, value in made.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (ends[0][name] + ends[1][name]) / 2, msg=name)

    def again(*_given: Any, **_options: Any) -> FVQRater:
        raise AssertionError("both runs are through, and kept")

    version = version_of(tmp_path / "mean")
    monkeypatch.setattr(training, "fitted", again)
    assert train(replace(SMALL, runs=2), data, dev, tmp_path / "mean", start=older)["version"] == version
    with pytest.raises(AssertionError, match="are through"):
        train(replace(SMALL, runs=2, learning_rate=1e-5), data, dev, tmp_path / "mean", start=older)
    with pytest.raises(ValueError, match="new networks have no mean"):
        train(replace(SMALL, runs=2), data, dev, tmp_path / "new")


def test_the_card_says_what_was_sampled_and_who_judged(older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def but_the_first(rows: Any, *given: Any) -> Any:
        return ((place, clip) for place, clip in made_up(rows, *given) if rows[place]["person"] != "Ann B")

    monkeypatch.setattr(sampling, "sample_all", but_the_first)
    data, dev = labels(tmp_path / "train", ["Ann B", "Bob B"]), labels(tmp_path / "dev", ["eve"])
    train(SMALL, data, dev, tmp_path / "model", start=older)
    card = (tmp_path / "model/README.md").read_text()
    half = len(read_labels(data)) // 2
    assert f"- {half} segments of 1 people, labels file {fingerprint(data)}" in card
    assert f"segments of 1 people that are not in the training data (labels file {fingerprint(dev)})" in card


def test_a_killed_run_leaves_nothing_of_the_weights_before(older: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "sample_all", made_up)
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    train(SMALL, data, dev, tmp_path / "model", start=older)
    before, results = version_of(tmp_path / "model"), ("model.onnx", "metrics.json", "README.md")
    assert all((tmp_path / "model" / name).exists() for name in results)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "evaluate_samples", killed)
    with pytest.raises(KeyboardInterrupt):
        train(replace(SMALL, learning_rate=1e-2), data, dev, tmp_path / "model", start=older)
    assert version_of(tmp_path / "model") != before
    assert not any((tmp_path / "model" / name).exists() for name in results)


def test_nobody_who_judges_is_among_the_steady_clips(older: Start, tmp_path: Path) -> None:
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["eve"])
    steady = labels(tmp_path / "steady", ["ann", "eve"])
    with pytest.raises(ValueError, match=r"dev/labels.csv: eve is in .*steady/labels.csv too"):
        train(SMALL, data, dev, tmp_path / "model", start=older, steady=steady)
    assert not (tmp_path / "model/work/steady").exists()


def test_a_model_is_not_judged_by_people_that_it_was_trained_on(older: Start, tmp_path: Path) -> None:
    data, dev = labels(tmp_path / "train", ["ann", "bob"]), labels(tmp_path / "dev", ["bob", "eve"])
    with pytest.raises(ValueError, match=r"dev/labels.csv: bob is in .*train/labels.csv too"):
        train(SMALL, data, dev, tmp_path / "model", start=older)
    assert not (tmp_path / "model/work/train").exists()


def test_a_model_is_not_judged_by_clips_that_it_was_trained_on_under_another_name(tmp_path: Path) -> None:
    contents = {"train/a.mkv": b"one", "train/b.mkv": b"two", "dev/c.mkv": b"six", "dev/d.mkv": b"two", "dev/e.mkv": b"three"}
    for file, content in contents.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    for name, rows in (
        ("train", ["a.mkv,ann", "b.mkv,bob"]),
        ("dev", ["c.mkv,carl", "d.mkv,dan", "e.mkv,eve", "missing.mkv,eve"]),
    ):
        (tmp_path / name / "labels.csv").write_text(
            "\n".join(["path,content,kind,step,mos", *(f"{row},x264,1,50" for row in rows)])
        )
    data, dev = tmp_path / "train/labels.csv", tmp_path / "dev/labels.csv"
    with pytest.raises(
        ValueError, match=r"dev/labels\.csv: .*dev/d\.mkv is the same clip as .*train/b\.mkv of .*train/labels\.csv"
    ):
        read_apart(data, dev)
    (tmp_path / "dev/d.mkv").write_bytes(b"ten")
    assert [len(rows) for rows in read_apart(data, dev)] == [2, 4]


def test_a_person_of_a_cast_is_found_in_another_one(tmp_path: Path) -> None:
    for name, casts in (("train", ["Ann B+bob", "bob"]), ("dev", ["Ann B+carl"])):
        rows = [f"{place}.mkv,{cast},{cast},{cast.split('+')[0]},x264,1,50" for place, cast in enumerate(casts)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,content,person,people,kind,step,mos", *rows]))
    with pytest.raises(ValueError, match=r"dev\.csv: Ann B is in .*train\.csv too"):
        read_apart(tmp_path / "train.csv", tmp_path / "dev.csv")
    assert people_of(read_labels(tmp_path / "train.csv")) == {"Ann B", "bob"}


def test_one_person_is_too_few_for_a_new_model_before_clips_are_sampled(tmp_path: Path) -> None:
    data, dev = labels(tmp_path / "train", ["ann"]), labels(tmp_path / "dev", ["eve"])
    with pytest.raises(ValueError, match=r"train/labels\.csv: all clips are of one person, .* more people, or .* --start"):
        train(SMALL, data, dev, tmp_path / "model")
    assert not any((tmp_path / "model/work").iterdir())
