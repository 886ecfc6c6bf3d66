"""A scorer that follows the registry: a good version takes over, and a bad one never gives a score."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kafka.errors import KafkaError
from prometheus_client import REGISTRY
from safetensors.torch import load_file, save_file

from scorer import engine as engine_module
from scorer import model_files, reloading
from scorer.model.modeling import FVQRater
from scorer.registry import Registry
from scorer.spec import ClipScore, ModelId
from streams import metrics, parts
from streams.kafka import clients
from streams.kafka.connection import Connection
from streams.models.follow import ReloadingScorer, _is_about, follow_agent
from streams.settings import Settings
from streams.worker_models import deep_model
from tests.support.doubles import SPEC, make_clip
from tests.support.waiting import wait_for
from tests.unit.scorer.test_modeling import nano_like


def small_model(folder: Path, seed: int) -> Path:
    """An untrained model for clips of the shapes in `tests.support.doubles`. seed: another one gives another model."""
    torch.manual_seed(seed)
    FVQRater(nano_like(statistics_size=20)).save_pretrained(folder)
    SPEC.save(folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", model="small", device="cpu")


@pytest.fixture
def registry(settings: Settings, tmp_path: Path) -> Registry:
    """A registry of the model `small`: v1 is current, and v2 is published too."""
    registry = parts.registry(settings)
    for seed in (1, 2):
        registry.publish("small", f"v{seed}", small_model(tmp_path / f"m{seed}", seed))
    registry.promote("small", "v1")
    return registry


def test_a_promoted_version_scores_until_it_is_rolled_back(settings: Settings, registry: Registry) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    clips = [make_clip()]
    first = scorer.score(clips)[0]
    assert first.model.version == "v1"
    assert not scorer.refresh(), "no other version is current yet"
    registry.promote("small", "v2")
    assert scorer.refresh()
    second = scorer.score(clips)[0]
    assert second.model.version == "v2"
    assert second.score != first.score
    registry.rollback("small")
    assert scorer.refresh()
    assert scorer.score(clips)[0] == first


def test_the_large_model_follows_its_own_versions_and_is_not_shown_as_the_small_one(
    settings: Settings, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.show_model(ModelId("nano", "shipped"))
    settings = settings.model_copy(update={"model": "nano", "deep_model": "small"})
    deep, agents = deep_model(settings, Connection("127.0.0.1:1"))
    assert [agent.name for agent in agents] == ["large model updates"]
    registry.promote("small", "v2")
    assert isinstance(deep, ReloadingScorer)
    assert deep.refresh()
    assert deep.score([make_clip()])[0].model == ModelId("small", "v2")
    assert REGISTRY.get_sample_value("fvq_model", {"name": "nano", "version": "shipped"}) == 1
    assert REGISTRY.get_sample_value("fvq_model", {"name": "small", "version": "v2"}) is None


def test_a_pinned_large_model_follows_nothing(settings: Settings, registry: Registry) -> None:
    _, agents = deep_model(settings.model_copy(update={"deep_model": "small@v1"}), Connection("127.0.0.1:1"))
    assert not agents


def with_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """A function that changes the weights of a model in a folder."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def sample_other_frames(folder: Path) -> None:
    replace(SPEC, frames=SPEC.frames + 1).save(folder)


HEAD = "head.3.weight"
DAMAGES = {
    "a tensor is missing": with_weights(lambda weights: weights.__delitem__(HEAD)),
    "a wrong shape": with_weights(lambda weights: weights.update({HEAD: weights[HEAD][:, :-1].contiguous()})),
    "weights that are NaN": with_weights(lambda weights: weights.update({HEAD: torch.full_like(weights[HEAD], float("nan"))})),
    "another sampling": sample_other_frames,
    "half of the weights file": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:500]
    ),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_version_is_refused_and_the_old_one_stays(
    settings: Settings, registry: Registry, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_model(tmp_path / "bad", 3)
    DAMAGES[damage](folder)
    registry.publish("small", "bad", folder)
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    registry.promote("small", "bad")
    assert not scorer.refresh()
    assert "model bad is refused, v1 goes on" in caplog.text
    assert scorer.score([make_clip()])[0].model.version == "v1"
    caplog.clear()
    assert not scorer.refresh()
    assert not caplog.text, "the refusal is logged once"
    registry.promote("small", "v2")
    assert scorer.refresh(), "the next good version takes over"


def test_a_version_that_is_damaged_after_it_was_published_is_refused_and_logged_once(
    settings: Settings, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    (settings.data_dir / "models/small/versions/v2/config.json").write_text("{}")
    registry.promote("small", "v2")
    for logged in (True, False):
        caplog.clear()
        assert not scorer.refresh()
        assert ("model v2 is refused, v1 goes on" in caplog.text) is logged
    assert scorer.model.version == "v1"


def test_a_refused_version_that_was_mended_takes_over_when_it_is_promoted_again(settings: Settings, registry: Registry) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    config = settings.data_dir / "models/small/versions/v2/config.json"
    whole = config.read_bytes()
    config.write_text("{}")
    registry.promote("small", "v2")
    assert not scorer.refresh()
    registry.rollback("small")
    assert not scorer.refresh()
    config.write_bytes(whole)  # as the registry's errors say: from a back-up
    registry.promote("small", "v2")
    assert scorer.refresh()
    assert scorer.model.version == "v2"


def test_a_registry_that_is_damaged_or_unreachable_changes_nothing(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    (settings.data_dir / "models/small/current.json").write_text("{")
    assert not scorer.refresh()
    (settings.data_dir / "models/small/current.json").write_text(json.dumps({"versions": ["v1", "v2"]}))

    def unreachable(*_: object) -> None:
        raise ConnectionError("no store")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "fetch", unreachable)
        assert not scorer.refresh()
    assert scorer.refresh(), "the version was not refused: only the store did not answer"


def test_the_version_that_scores_is_not_refused_where_a_file_of_it_is_missing_for_a_while(
    settings: Settings, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    file = settings.data_dir / "models/small/versions/v1/config.json"
    text = file.read_text()
    file.unlink()
    assert not scorer.refresh()
    assert not caplog.text
    file.write_text(text)
    registry.promote("small", "v2")
    assert scorer.refresh()
    registry.rollback("small")
    assert scorer.refresh(), "the version was not refused"
    assert scorer.model.version == "v1"


@pytest.mark.parametrize("place", ["before it is tried", "in this process"])
def test_a_version_whose_files_cannot_be_read_for_a_while_is_tried_again(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    registry.promote("small", "v2")

    def no_file_handle(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        if place == "in this process":
            patched.setattr(engine_module, "load_model", no_file_handle)
        else:
            patched.setattr(model_files.os, "scandir", no_file_handle)
        assert not scorer.refresh()
    assert "model v2 cannot be read now, v1 goes on" in caplog.text
    assert scorer.refresh(), "the version was not refused"
    assert scorer.model.version == "v2"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
        ),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc"),
    ],
    ids=["Python", "the system", "a GPU", "torch on a CPU", "onnxruntime"],
)
def test_a_version_for_which_there_is_no_memory_is_tried_again(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    registry.promote("small", "v2")
    now, tries = time.monotonic(), []

    def no_memory(directory: Path, *_: object) -> None:
        tries.append(directory)
        raise error

    monkeypatch.setattr(reloading.time, "monotonic", lambda: now)
    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "load_model", no_memory)
        for pause in (60, 120):
            assert not scorer.refresh()
            assert f"no memory for model v2, v1 goes on, next try in {pause} s" in caplog.text
            count = len(tries)
            now += pause - 1
            assert not scorer.refresh()
            assert len(tries) == count, "too early"
            now += 2
    assert scorer.refresh()
    assert scorer.model.version == "v2"


def test_each_batch_is_scored_by_one_version_while_versions_change(settings: Settings, registry: Registry) -> None:
    scorer = ReloadingScorer(settings.model, settings.device, registry)
    clips = [make_clip(60 + 10 * place, place) for place in range(4)]
    expected: dict[str, list[ClipScore]] = {"v1": scorer.score(clips)}
    registry.promote("small", "v2")
    scorer.refresh()
    expected["v2"] = scorer.score(clips)
    batches: list[list[ClipScore]] = []
    stop = threading.Event()

    def scores_by(version: str) -> bool:
        return bool(batches) and batches[-1][0].model.version == version

    def score_without_pause() -> None:
        while not stop.is_set():
            batches.append(scorer.score(clips))

    thread = threading.Thread(target=score_without_pause, daemon=True)
    thread.start()
    try:
        for version in ("v1", "v2", "v1", "v2"):
            registry.promote("small", version)
            assert scorer.refresh()
            wait_for(f"a batch by {version}", partial(scores_by, version), 60, 0.005)
    finally:
        stop.set()
        thread.join(30)
    assert {batch[0].model.version for batch in batches} >= {"v1", "v2"}
    for batch in batches:
        assert batch == expected[batch[0].model.version], "every clip of a batch has the score of the same version"


def test_announcements_of_other_models_and_unreadable_ones_are_ignored() -> None:
    assert _is_about("small", b'{"name": "small", "version": "v2", "time": "2026-01-01T00:00:00Z"}')
    assert not _is_about("small", b'{"name": "large", "version": "v2", "time": "2026-01-01T00:00:00Z"}')
    assert not _is_about("small", b"{")
    assert not _is_about("small", None)


def test_a_reader_that_gets_no_position_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent tries again every few seconds, for as long as Kafka is away."""
    calls: list[str] = []

    def no_position(*_: object) -> None:
        raise KafkaError

    reader = SimpleNamespace(assign=no_position, close=lambda **_: calls.append("close"))
    monkeypatch.setattr(clients, "open_reader", lambda _: reader)
    scorer: Any = SimpleNamespace(refresh=lambda: calls.append("refresh"))
    with pytest.raises(KafkaError):
        follow_agent(scorer, Connection("kafka:9092"))._run_once(threading.Event())
    assert calls == ["refresh", "close"]
