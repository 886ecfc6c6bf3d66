"""Adapters on large bases, with the real classes scaled down."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import Qwen2Config

from scorer.engine import load_model
from scorer.errors import ModelError
from scorer.load import load_engine
from scorer.model.adapters import (
    AdaptedRater,
    Lora,
    adapter_shapes,
    attach,
    is_adapter_weight,
    keep_norms,
    load_adapter,
    network_of,
    save_adapter,
    train_only,
    trained_copy,
)
from scorer.model.bases import Base, load_base, sampler_spec
from scorer.model.modeling import ClipBatch
from scorer.sampling.statistics import NAMES
from tests.support import tiny
from tests.support.doubles import make_clip
from tests.unit.scorer.test_bases import batch_for

LORA = Lora(tiny.TARGETS, rank=2, alpha=4)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    return tiny.bases(tmp_path_factory.mktemp("bases"))


def train_steps(tuned: AdaptedRater, batch: ClipBatch, steps: int = 3) -> None:
    tuned.train()
    keep_norms(tuned)
    optimizer = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.l1_loss(tuned(batch).score, torch.tensor([20.0, 60.0, 90.0])).backward()
        optimizer.step()
    tuned.eval()


@pytest.fixture(scope="module", params=["qwen2", "qwen3"])
def adapter(request: pytest.FixtureRequest, bases: dict[str, Base], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an adapter that was trained for a few steps, and the scores that it gave, in `scores.npy`."""
    directory = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    network = load_base(bases[request.param])
    batch = batch_for(network)
    tuned = attach(network, LORA)
    train_steps(tuned, batch)
    # The running mean is no weight, but it must be saved with the adapter as well.
    tuned.get_base_model().standardise.modules_to_save["default"].running_mean.fill_(0.3)
    save_adapter(tuned, directory, bases[request.param])
    sampler_spec(network.config, frames=2).save(directory)
    with torch.inference_mode():
        np.save(directory / "scores.npy", tuned(batch).score.numpy())
    return directory


def test_whoever_may_read_an_adapters_configuration_may_read_its_weights(adapter: Path) -> None:
    modes = {name: (adapter / name).stat().st_mode for name in ("adapter_model.safetensors", "config.json")}
    assert modes["adapter_model.safetensors"] == modes["config.json"], "a worker that another user runs loads it too"


def test_a_fresh_adapter_changes_no_score_and_training_changes_nothing_else(bases: dict[str, Base]) -> None:
    network = load_base(bases["qwen2"])
    batch = batch_for(network)
    with torch.inference_mode():
        before = network(batch).score
    towers = {name: p.detach().clone() for name, p in network.named_parameters() if "_model." in name}
    tuned = attach(network, LORA)
    with torch.inference_mode():
        torch.testing.assert_close(tuned(batch).score, before, rtol=0, atol=0)
    train_steps(tuned, batch)
    after = {name.replace(".base_layer", ""): p for name, p in tuned.get_base_model().named_parameters() if "lora_" not in name}
    assert {name for name in after if "_model." in name} == set(towers), "no tower is copied"
    for name, parameter in towers.items():
        assert torch.equal(after[name], parameter), name
    with torch.inference_mode():
        assert (tuned(batch).score - before).abs().max() > 5


def test_an_adapter_loads_with_the_same_weights_and_merges_to_the_same_scores(adapter: Path) -> None:
    wanted = torch.from_numpy(np.load(adapter / "scores.npy"))
    unmerged = PeftModel.from_pretrained(load_base(Base.load(adapter)), adapter)
    stored = load_file(adapter / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(unmerged, save_embedding_layers=False)
    assert set(stored) == set(loaded)
    assert all(torch.equal(stored[name], loaded[name]) for name in stored)
    merged = load_model(adapter)
    assert merged.standardise.running_mean[0] == pytest.approx(0.3)
    batch = batch_for(merged)
    with torch.inference_mode():
        torch.testing.assert_close(unmerged(batch).score, wanted, rtol=0, atol=0)
        torch.testing.assert_close(merged(batch).score, wanted, rtol=0, atol=1e-2)
        half = load_model(adapter, torch.bfloat16)
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        torch.testing.assert_close(half(batch).score, wanted, rtol=0, atol=2)


def test_the_engine_scores_with_an_adapter_in_half_precision(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine(str(adapter), "cpu")
    spec = engine.spec
    assert spec.frame_size == 56
    clips = [make_clip(int(light), i, spec, len(NAMES)) for i, light in enumerate(np.linspace(40, 220, 3).astype(int))]
    wanted = np.load(adapter / "scores.npy")
    assert [score.score for score in engine.score(clips)] == pytest.approx(wanted.tolist(), abs=0.05)
    # On a GPU everything is in bf16.
    engine.network = load_adapter(adapter, torch.bfloat16)
    assert [score.score for score in engine.score(clips)] == pytest.approx(wanted.tolist(), abs=2)


def test_an_adapter_is_small_and_refuses_another_base(adapter: Path, tmp_path: Path) -> None:
    assert "README.md" not in {file.name for file in adapter.iterdir()}
    base = Base.load(adapter)
    other = tiny.internvl(tmp_path / "other", Qwen2Config, seed=7)
    replace(base, model=other).save(adapter)
    try:
        with pytest.raises(ModelError, match=r"fingerprint .* trained on"):
            load_engine(str(adapter), "cpu")
    finally:
        base.save(adapter)


@pytest.mark.parametrize("name", ["head.1.weight", "q_proj.lora_A.weight"])
def test_an_adapter_with_a_weight_missing_is_refused(name: str, bases: dict[str, Base], tmp_path: Path) -> None:
    tuned = attach(load_base(bases["qwen2"]), LORA)
    save_adapter(tuned, tmp_path, bases["qwen2"])
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({key: t for key, t in tensors.items() if not key.endswith(name)}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    ("whole", "lora", "trained"),
    [(["projectors"], False, {"projectors"}), (["head"], True, {"head", "low rank"}), ([], False, set())],
)
def test_only_the_named_parts_are_trained(whole: list[str], lora: bool, trained: set[str], bases: dict[str, Base]) -> None:
    adapted = attach(load_base(bases["qwen2"]), LORA)
    train_only(adapted, whole, lora)
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert all(is_adapter_weight(name) for name in names)
    parts = {"low rank" if "lora_" in name else name.split("base_model.model.")[1].split(".")[0] for name in names}
    assert parts == trained


def test_the_trained_copy_is_what_scores(bases: dict[str, Base]) -> None:
    network = load_base(bases["qwen2"])
    batch = batch_for(network)
    adapted = attach(network, LORA).eval()
    last = trained_copy(network_of(adapted).head[-1])
    assert isinstance(last, torch.nn.Linear)
    with torch.inference_mode():
        before = adapted(batch).uncertainty
        last.bias[1] += 1
        assert (adapted(batch).uncertainty > before).all()


@pytest.mark.parametrize(
    ("targets", "reason"), [("nothing_at_all", "lora.targets"), (r"language_model\..*q_proj", "nothing in the vision_model")]
)
def test_lora_targets_that_match_nothing_in_a_tower_are_refused(targets: str, reason: str, bases: dict[str, Base]) -> None:
    with pytest.raises(ModelError, match=reason):
        attach(load_base(bases["qwen2"]), Lora(targets))


def changed(adapter: Path, to: Path, file: str, **values: object) -> Path:
    """A copy of an adapter with other values in one of its files."""
    shutil.copytree(adapter, to)
    content = json.loads((to / file).read_text())
    (to / file).write_text(json.dumps(content | values))
    return to


def test_an_adapter_reads_nothing_over_the_network(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects to a server"))
    elsewhere = changed(adapter, tmp_path / "hub", "base.json", model="someone/model-of-the-hub")
    with pytest.raises(ModelError, match="someone/model-of-the-hub"):
        load_adapter(elsewhere)


def test_an_adapter_of_another_kind_or_whose_pattern_does_not_end_is_refused(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.model_files.MATCH_SECONDS", 1.0)
    endless = changed(adapter, tmp_path / "endless", "adapter_config.json", target_modules=r"([a-z_.0-9]+)*!")
    with pytest.raises(ModelError, match="take more than"):
        load_adapter(endless)
    tokens = changed(adapter, tmp_path / "tokens", "adapter_config.json", peft_type="PROMPT_TUNING", num_virtual_tokens=4)
    with pytest.raises(ModelError, match="only LoRA"):
        load_adapter(tokens)


@pytest.mark.parametrize("start", ["pissa", "gaussian", "olora", "corda", 1, None])
def test_an_adapter_whose_weights_would_be_computed_before_its_own_are_read_is_refused(
    adapter: Path, tmp_path: Path, start: object
) -> None:
    plain = changed(adapter, tmp_path / "plain", "adapter_config.json", init_lora_weights=False)
    other = changed(adapter, tmp_path / "other", "adapter_config.json", init_lora_weights=start)
    for load in (load_adapter, adapter_shapes):
        load(plain)
        with pytest.raises((ModelError, ValueError), match="init_lora_weights"):
            load(other)
