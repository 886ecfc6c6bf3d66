"""Tuning an adapter in both stages, on the real classes scaled down; the brighter a clip, the higher its label."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from scorer.engine import Engine, load_model
from scorer.errors import ModelError
from scorer.load import load_engine
from scorer.model.bases import Base, load_base, sampler_spec
from scorer.sampling.statistics import NAMES
from scorer.spec import MODEL_INPUTS, ModelId, SampledClip, SamplerSpec
from tests.support import tiny
from tests.support.doubles import make_clip
from training.adapter import tune as tuning
from training.adapter.clips import frozen_streams
from training.adapter.loop import Checkpoint, Curve, Order, learning_rate, steps_of
from training.data.rated import RatedClip, RatedSet
from training.data.samples import Samples
from training.data.trained import not_trained_on
from training.recipe import StagePart, TuneRecipe, load_tune_recipe
from training.run import run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
STAGE = {"epochs": 4, "batch_size": 8, "learning_rate": 5.0e-3, "weight_decay": 0.01, "warmup": 0.1}
CLIPS = 40


def clips(folder: Path, shift: float = 0.0) -> list[RatedClip]:
    """Rated clips without files: clip `i.mp4` is the brighter the larger i. Each is a content; a fifth is val, a fifth test."""
    labels = np.linspace(15, 75, CLIPS) + shift
    splits = ("train", "val", "test", "train", "train")
    return [RatedClip(folder / f"{i}.mp4", float(mos), f"p{i}", splits[i % 5]) for i, mos in enumerate(labels)]


def sampled(rated: list[RatedClip], spec: SamplerSpec) -> list[SampledClip]:
    return [make_clip(int(20 + 200 * int(clip.path.stem) / CLIPS), int(clip.path.stem), spec, len(NAMES)) for clip in rated]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    return tiny.bases(tmp_path_factory.mktemp("bases"))


def without_videos(patch: pytest.MonkeyPatch) -> None:
    """Replace reading and sampling, which other tests cover, by `clips` and their made-up samples."""

    def arrays(rated: list[RatedClip], spec: SamplerSpec, work: Path) -> Samples:
        samples = sampled(rated, spec)
        stacked = {name: np.stack([getattr(sample, name) for sample in samples]) for name in MODEL_INPUTS}
        return Samples(stacked, np.arange(len(samples)))

    patch.setattr(tuning, "sampled", arrays)
    patch.setattr(tuning, "read_rated", lambda data, seed, scale: RatedSet(clips(data, float(data.name))))


@pytest.fixture(autouse=True)
def no_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    without_videos(monkeypatch)


def recipe(base: Base, **changes: object) -> TuneRecipe:
    part = {"model": base.model} | ({"motion": base.motion, "face": base.face, "frames": 2} if base.motion else {})
    values = {
        "name": "tiny",
        "seed": 0,
        "base": part,
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.05, "targets": tiny.TARGETS},
        "stage1": STAGE,
        "stage2": STAGE | {"epochs": 8},
        "text_weight": 0.1,
        "uncertainty_weight": 0.1,
        "clips_per_device": 4,
        "checkpoint_steps": 3,
    }
    return TuneRecipe.model_validate(values | changes)


def curve(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tuned(bases: dict[str, Base], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an adapter whose run was not interrupted."""
    out = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        without_videos(patch)
        tuning.tune(recipe(bases["qwen2"]), Path("/data/0"), out)
    return out


def scores(directory: Path) -> np.ndarray:
    engine = load_engine(str(directory), "cpu")
    return np.array([score.score for score in engine.score(sampled(clips(Path("/data/0")), engine.spec))])


def test_both_stages_learn_and_the_engine_scores_with_what_they_wrote(tuned: Path) -> None:
    rows = curve(tuned)
    for stage in "12":
        losses = [float(row["loss"]) for row in rows if row["stage"] == stage]
        assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    metrics = json.loads((tuned / "metrics.json").read_text())
    assert metrics["test"]["srcc"] > 0.9
    assert metrics["clips"] == {"train": 24, "val": 8, "test": 8}
    assert metrics["val"]["uncertainty_mean"] == pytest.approx(metrics["val"]["error_mean"], rel=0.02)
    labels = np.array([clip.mos for clip in clips(Path("/data/0"))])
    assert np.abs(scores(tuned) - labels).mean() == pytest.approx(metrics["mae"], abs=4)
    assert load_engine(str(tuned), "cpu").model.version == metrics["version"]
    card = (tuned / "README.md").read_text()
    assert metrics["version"] in card
    assert Base.load(tuned).fingerprint in card
    assert (tuned / "curve.png").stat().st_size > 1000


def test_the_base_keeps_every_bit(tuned: Path) -> None:
    base = Base.load(tuned)
    merged, untouched = load_model(tuned), load_base(base)
    changed = {name for name, p in merged.named_parameters() if not torch.equal(p, untouched.get_parameter(name))}
    assert all(name.startswith(("projectors.", "head.", "vision_model.", "language_model.")) for name in changed)
    assert any(name.startswith("vision_model.") for name in changed)
    assert any(name.startswith("language_model.") for name in changed)
    assert sum(file.stat().st_size for file in tuned.glob("*.safetensors")) < 2e6


def test_a_killed_run_ends_with_the_same_weights_as_one_that_was_not_killed(
    tuned: Path, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = Checkpoint.save
    for stop in (2, 7):
        count = 0

        def save(self: Checkpoint, path: Path, stop: int = stop) -> None:
            nonlocal count
            saved(self, path)
            count += 1
            if count == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            tuning.tune(recipe(bases["qwen2"]), Path("/data/0"), tmp_path)
        # The killed run had written steps that are after its checkpoint.
        Curve(tmp_path / "curve.csv").add(2, 999, 0.1, 0.1)
    monkeypatch.setattr(Checkpoint, "save", saved)
    tuning.tune(recipe(bases["qwen2"]), Path("/data/0"), tmp_path)
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == (tuned / "adapter_model.safetensors").read_bytes()
    assert curve(tmp_path) == curve(tuned)


def test_a_checkpoint_of_another_recipe_is_refused(tuned: Path, bases: dict[str, Base]) -> None:
    with pytest.raises(ValueError, match="another recipe"):
        tuning.tune(recipe(bases["qwen2"], seed=1), Path("/data/0"), tuned)


def test_a_checkpoint_of_a_clip_that_was_replaced_under_its_path_is_refused(bases: dict[str, Base], tmp_path: Path) -> None:
    def train() -> None:
        tuning.tune(recipe(bases["qwen2"]), tmp_path / "0", tmp_path / "out")

    for clip in clips(tmp_path / "0"):
        clip.path.parent.mkdir(exist_ok=True)
        clip.path.write_bytes(b"first")
    train()
    train()
    (tmp_path / "0" / "3.mp4").write_bytes(b"other")
    with pytest.raises(ValueError, match="other data"):
        train()


def test_a_shifted_opinion_moves_the_scores(tuned: Path, bases: dict[str, Base], tmp_path: Path) -> None:
    tuning.tune(recipe(bases["qwen2"]), Path("/data/20"), tmp_path)
    assert (scores(tmp_path) - scores(tuned)).mean() == pytest.approx(20, abs=5)


def test_other_classes_and_every_option_that_saves_memory(bases: dict[str, Base], tmp_path: Path) -> None:
    short = {"stage1": STAGE | {"epochs": 1}, "stage2": STAGE | {"epochs": 1}}
    plain = recipe(bases["qwen3"], **short, lora={"rank": 2, "alpha": 4, "dropout": 0, "targets": tiny.TARGETS})
    thrifty = plain.model_copy(update={"gradient_checkpointing": True, "cache_vision": True, "clips_per_device": 3})
    for name, chosen in (("plain", plain), ("thrifty", thrifty)):
        tuning.tune(chosen, Path("/data/0"), tmp_path / name)
    np.testing.assert_allclose(scores(tmp_path / "plain"), scores(tmp_path / "thrifty"), atol=0.5)


def test_streams_that_are_kept_are_those_of_the_clips(bases: dict[str, Base], tmp_path: Path) -> None:
    network = load_base(bases["qwen3"])
    spec = sampler_spec(network.config, 2, 1)
    ours, others = (
        Samples({name: np.stack([getattr(clip, name) for clip in made]) for name in MODEL_INPUTS}, np.arange(len(made)))
        for made in ([make_clip(light, light, spec, len(NAMES)) for light in lights] for lights in ((40, 90), (150, 210)))
    )
    first, of_others, again = (frozen_streams(network, clips, tmp_path, with_vision=True) for clips in (ours, others, ours))
    for name, tokens in first.items():
        assert torch.equal(again[name], tokens)
        assert not torch.equal(of_others[name], tokens)


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (r"language_model\..*\.q_proj", "matches nothing in the vision_model"),
        ("(vision|language)_model\\.[a-z]+", "lora.targets: Target module"),
        ("no_such_module", "lora.targets: "),
    ],
)
def test_targets_that_fit_the_base_nowhere_are_told_before_the_clips_are_read(
    targets: str, reason: str, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "read_rated", lambda *_: pytest.fail("they are read, for minutes"))
    lora = {"rank": 4, "alpha": 8, "dropout": 0.05, "targets": targets}
    for base in (bases["qwen2"], Base("nano")):
        with pytest.raises(ModelError, match=reason) as error:
            tuning.tune(recipe(base, lora=lora), Path("/data/0"), tmp_path)
        assert "\n" not in str(error.value)


def test_another_model_in_the_place_of_the_temporal_encoder_is_named(bases: dict[str, Base], tmp_path: Path) -> None:
    base = replace(bases["qwen2"], motion=bases["qwen2"].model)
    with pytest.raises(ModelError, match=f"temporal encoder {base.motion}: its model type is 'internvl'; it must be"):
        tuning.tune(recipe(base), Path("/data/0"), tmp_path)


def test_a_checkpoint_that_was_cut_off_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    Checkpoint(1, 3, {}, {}, "key").save(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 100):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{file}: it is damaged: remove it"):
            Checkpoint.load(file, "key")


def test_a_curve_is_whole_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve_file = Curve(tmp_path / "curve.csv")
    curve_file.cut(0, 0)
    curve_file.add(1, 1, 0.1, 0.5)
    kept = curve_file.path.read_text()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        curve_file.cut(1, 1)
    assert curve_file.path.read_text() == kept


@pytest.mark.parametrize("left", ["train", "test"])
def test_clips_that_cannot_be_sampled_end_a_run_that_has_too_few_of_a_split(
    left: str, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuning.sampled

    def some(rated: list[RatedClip], spec: SamplerSpec, work: Path) -> Samples:
        places = np.array([place for place, clip in enumerate(rated) if clip.split == left])
        arrays = whole(rated, spec, work).arrays
        return Samples({name: array[places] for name, array in arrays.items()}, places)

    monkeypatch.setattr(tuning, "sampled", some)
    counts = "24 train, 0 val, 0 test" if left == "train" else "0 train, 0 val, 8 test"
    with pytest.raises(ValueError, match=f"/data/0: {counts} could be sampled; there have to be clips to train on, and 5"):
        tuning.tune(recipe(bases["qwen2"]), Path("/data/0"), tmp_path)


def test_the_folder_tells_what_the_model_was_trained_on(tuned: Path) -> None:
    assert {clip.split for clip in not_trained_on(tuned, clips(Path("/data/0")))} == {"val", "test"}


def test_a_base_in_half_precision_has_an_adapter_in_full_precision(
    tuned: Path, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "has_bf16", lambda: True)
    # Accelerate allows one precision in a process, and all tests here share one process.
    AcceleratorState._reset_state(reset_partial_state=True)
    tuning.tune(recipe(bases["qwen2"]), Path("/data/0"), tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float32}
    assert Base.load(tmp_path).fingerprint == Base.load(tuned).fingerprint
    assert json.loads((tmp_path / "metrics.json").read_text())["srcc"] > 0.85
    assert np.abs(scores(tmp_path) - scores(tuned)).mean() < 5


def test_a_base_with_a_graph_is_trained_in_the_numbers_that_it_scores_in(bases: dict[str, Base]) -> None:
    assert tuning.keeps_float32("nano")
    assert not tuning.keeps_float32(bases["qwen2"].model)
    assert not tuning.keeps_float32("OpenGVLab/InternVL3-8B-hf"), "a hub id"


def test_every_clip_is_seen_once_before_one_is_seen_twice() -> None:
    order = Order(7, seed=3)
    seen = order.places(0, 21).reshape(3, 7)
    assert all(sorted(shuffle) == list(range(7)) for shuffle in seen.tolist())
    assert seen[0].tolist() != seen[1].tolist()
    assert order.places(5, 4).tolist() == seen.flatten()[5:9].tolist()


def test_the_learning_rate_rises_and_then_falls() -> None:
    stage = StagePart(**STAGE)
    rates = [learning_rate(stage, step, 100) for step in range(100)]
    assert np.argmax(rates) in (9, 10)
    assert rates[0] == pytest.approx(stage.learning_rate / 10)
    assert max(rates) == pytest.approx(stage.learning_rate)
    assert rates[-1] < 0.001 * stage.learning_rate
    assert steps_of(stage, 20) == 10


@pytest.mark.parametrize("file", sorted((ROOT / "training/recipes").glob("*internvl*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_valid_and_their_targets_match_the_real_names(file: Path, bases: dict[str, Base]) -> None:
    from scorer.model.adapters import Lora, attach

    tuned = attach(load_base(bases["qwen3"]), Lora(**load_tune_recipe(file).lora.model_dump()))
    adapted = {name.split(".lora_A")[0].rsplit(".", 1)[1] for name, _ in tuned.named_parameters() if "lora_A" in name}
    attention = {"q_proj", "k_proj", "v_proj"}
    assert adapted == attention | {"projection_layer", "fc1", "fc2", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not any("motion_model" in name for name, p in tuned.named_parameters() if p.requires_grad)


def test_a_wrong_recipe_names_file_and_keys(tmp_path: Path) -> None:
    values = recipe(Base("nano")).model_dump(mode="json")
    values["stage1"]["learning_rat"] = values["stage1"].pop("learning_rate")
    values["lora"]["rank"] = 0
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"wrong\.yaml") as caught:
        run(file, tmp_path, None, tmp_path / "out")
    for key in ("stage1.learning_rate: ", "stage1.learning_rat: ", "lora.rank: "):
        assert key in str(caught.value)
    file.write_text("- 1\n")
    with pytest.raises(ValueError, match="mapping"):
        run(file, tmp_path, None, tmp_path / "out")


def test_the_recipe_sets_how_many_frames_and_portraits_are_sampled(bases: dict[str, Base]) -> None:
    part = recipe(bases["qwen2"]).base
    for changes, sampled_images in (({}, (2, 1)), ({"frames": 8}, (8, 4)), ({"frames": 8, "portrait_frames": 1}, (8, 1))):
        network, spec, _ = tuning.new_network(part.model_copy(update=changes), torch.float32)
        assert (spec.frames, spec.portrait_frames) == sampled_images
        (score,) = Engine(network, spec, ModelId("tiny", "1")).score([make_clip(100, 0, spec, len(NAMES))])
        assert 0 < score.score < 100


def test_a_whole_base_settles_its_own_sampling(tmp_path: Path) -> None:
    values = recipe(Base("nano")).model_dump(mode="json", exclude_unset=True)
    values["base"]["portrait_frames"] = 3
    with pytest.raises(ValueError, match="portrait_frames"):
        tuning.tune(TuneRecipe.model_validate(values), Path("/data/0"), tmp_path)
