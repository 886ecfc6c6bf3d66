"""The engine: models that it loads or refuses, and its scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from scorer import engine as engine_module
from scorer.answer import clip_scores
from scorer.engine import load_model
from scorer.errors import ModelError
from scorer.find import SHIPPED, version_of
from scorer.load import load_engine
from scorer.model.configuration import STREAMS
from scorer.model.modeling import FVQRater
from scorer.sampling.statistics import names_of
from scorer.spec import LEVELS, SPECIFICATIONS, ModelId
from tests.support.doubles import SPEC, make_clip
from tests.unit.scorer.test_modeling import nano_like, random_batch


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model for clips of `tests.support.doubles.SPEC`."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    FVQRater(nano_like(statistics_size=20)).save_pretrained(path)
    SPEC.save(path)
    return path


def test_scores_are_in_order_and_within_bounds(directory: Path) -> None:
    engine = load_engine(str(directory), "cpu")
    clips = [make_clip(light, seed) for seed, light in enumerate((20, 120, 220))]
    together = engine.score(clips)
    assert [score.score for score in together] == pytest.approx([engine.score([clip])[0].score for clip in clips], abs=0.02)
    for score in together:
        assert 0 <= score.score <= 100
        assert score.uncertainty > 0
        assert score.level == max(LEVELS, key=score.level_probs.__getitem__)
        assert sum(score.level_probs.values()) == pytest.approx(1, abs=1e-3)
        assert score.model.version == version_of(directory)
    assert engine.score([]) == []
    assert engine.spec == SPEC


def test_the_shipped_model_fits_the_sampler_and_the_package() -> None:
    engine = load_engine("nano", "cpu")
    assert engine.model.name == "nano"
    assert engine.spec == SPECIFICATIONS["middle"]
    network = load_model(SHIPPED["nano"])
    assert network.config.statistics_size == len(names_of(engine.spec.statistics_version))
    assert sum(p.numel() for p in network.parameters()) <= 8e6
    folder = Path(__file__).parents[3] / "scorer" / "nano"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 20e6
    card = (folder / "README.md").read_text()
    assert engine.model.version in card
    assert json.loads((folder / "metrics.json").read_text())["version"] == engine.model.version


def test_other_weights_are_another_version(directory: Path, tmp_path: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    before = version_of(directory)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    assert version_of(tmp_path) != before


def test_an_adapter_is_merged_into_its_base(directory: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    targets = r".*(language_model.*(q_proj|v_proj)|vision_model.*conv_pw)"
    lora = LoraConfig(r=2, target_modules=targets, modules_to_save=["head", *(f"projectors.{name}" for name in STREAMS)])
    tuned = get_peft_model(load_model(directory), lora)
    batch = random_batch(4, image=16, clip=8, statistics=20)
    # In eval mode batch norms keep their running means, which are not part of this adapter.
    tuned.eval()
    optimizer = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (tuned(batch).score - 20).abs().mean().backward()
        optimizer.step()
    tuned.peft_config["default"].base_model_name_or_path = str(directory)
    tuned.save_pretrained(tmp_path)
    SPEC.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    with torch.inference_mode():
        wanted = tuned(batch).score
        merged = load_model(tmp_path)(batch).score
        base = load_model(directory)(batch).score
    torch.testing.assert_close(merged, wanted, rtol=0, atol=1e-2)
    assert (merged - base).abs().max() > 1
    assert load_engine(str(tmp_path), "cpu").score([make_clip()])[0].score > 0


def broken(directory: Path, folder: Path, how: str) -> Path:
    """A copy of a model directory, broken in one way."""
    for file in directory.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    if how == "no weights":
        weights.unlink()
    elif how == "no sampler":
        (folder / "sampler.json").unlink()
    elif how == "other sampler":
        (folder / "sampler.json").write_text('{"frame_rate": 3}')
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "missing tensor":
        save_file({name: t for name, t in tensors.items() if "head.1.weight" not in name}, weights, {"format": "pt"})
    elif how == "wrong shape":
        save_file({name: t[:1] if "head.1.bias" in name else t for name, t in tensors.items()}, weights, {"format": "pt"})
    elif how == "pickle only":
        torch.save(tensors, folder / "pytorch_model.bin")
        weights.unlink()
    return folder


BREAKAGES = ["no weights", "no sampler", "other sampler", "cut weights", "missing tensor", "wrong shape", "pickle only"]


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_directory_is_refused_with_its_name(how: str, directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_engine(str(broken(directory, tmp_path, how)), "cpu")
    assert str(tmp_path) in str(caught.value)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelError, match="nano"):
        load_engine("/no/such/model", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused(directory: Path) -> None:
    with pytest.raises(ModelError, match="FVQ_DEVICE"):
        load_engine(str(directory), "cuda")


def test_on_a_gpu_a_model_with_a_graph_keeps_float32(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[torch.dtype] = []

    def load(path: Path, dtype: torch.dtype) -> FVQRater:
        loaded.append(dtype)
        # There need not be a GPU: what is wanted is known by now.
        raise ModelError("seen")

    monkeypatch.setattr(engine_module, "chosen_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(engine_module, "load_model", load)
    for model in ("nano", str(directory)):
        with pytest.raises(ModelError, match="seen"):
            load_engine(model, "cuda")
    assert loaded == [torch.float32, torch.bfloat16]


def test_weights_that_are_not_finite_are_refused(directory: Path, tmp_path: Path) -> None:
    folder = broken(directory, tmp_path, "")
    weights = folder / "model.safetensors"
    tensors = {name: t * float("nan") if "head.3" in name else t for name, t in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(ModelError, match="not a finite number"):
        load_engine(str(folder), "cpu").score([make_clip()])


def test_a_score_that_is_not_on_the_scale_is_the_models_error() -> None:
    for score in (-0.01, 100.01, 1e9):
        with pytest.raises(ModelError, match="outside 0-100"):
            clip_scores(ModelId("nano", "1"), [score], [1.0], [[0.2] * 5])
    assert clip_scores(ModelId("nano", "1"), [100.004], [1.0], [[0.2] * 5])[0].score == 100
