"""A model directory from anyone ends in a `ModelError` within limits of time and memory, and never in this process."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scorer import model_check
from scorer.errors import ModelError, cannot_be_read_now
from scorer.find import SHIPPED
from scorer.load import load_engine
from scorer.model import shapes
from scorer.model.adapters import Lora, attach, save_adapter
from scorer.model.bases import Base, load_base, sampler_spec
from scorer.model.shapes import try_shapes
from scorer.model_files import check_model_files
from scorer.runtime.graph import GRAPH_FILE
from scorer.spec import SPEC_FILE
from tests.support import tiny
from tests.support.processes import ROOT


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A copy of the shipped model without its graph: torch runs it."""
    return Path(shutil.copytree(ROOT / "scorer" / "nano", tmp_path / "whole", ignore=shutil.ignore_patterns(GRAPH_FILE)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter, in `adapter`, and the three parts of its base."""
    folder = tmp_path_factory.mktemp("tuned")
    base = tiny.bases(folder)["qwen2"]
    network = load_base(base)
    (folder / "adapter").mkdir()
    save_adapter(attach(network, Lora(tiny.TARGETS, rank=2, alpha=4)), folder / "adapter", base)
    sampler_spec(network.config, frames=2).save(folder / "adapter")
    return folder


@pytest.fixture
def adapter(tuned: Path, tmp_path: Path) -> Path:
    """A copy of the adapter and of its base."""
    shutil.copytree(tuned, tmp_path / "tuned")
    base = Base.load(tuned / "adapter")
    moved = {part: str(tmp_path / "tuned" / Path(str(getattr(base, part))).name) for part in ("model", "motion", "face")}
    replace(base, **moved).save(tmp_path / "tuned" / "adapter")
    return tmp_path / "tuned" / "adapter"


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_sound_models_pass(whole: Path, adapter: Path) -> None:
    try_shapes(whole, "cpu")
    try_shapes(adapter, "cpu")


def text_width(directory: Path) -> None:
    edit(directory / "config.json", lambda content: content["text_config"].update(hidden_size=100_000, intermediate_size=100_000))


def missing_weights(directory: Path) -> None:
    weights = directory / "model.safetensors"
    save_file({"head.3.bias": load_file(weights)["head.3.bias"]}, weights, {"format": "pt"})


def large_clip(directory: Path) -> None:
    edit(directory / SPEC_FILE, lambda content: content.update(frames=128, frame_size=1024))


def no_shuffle(directory: Path) -> None:
    edit(directory / "config.json", lambda content: content.update(vision_shuffle=0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (text_width, "size mismatch|do not fit|mismatched"),
        (missing_weights, "do not fit"),
        (large_clip, "pixels together"),
        (no_shuffle, "model .*whole"),
    ],
)
def test_a_configuration_that_asks_for_more_than_its_files_is_refused(
    change: Callable[[Path], None], reason: str, whole: Path
) -> None:
    change(whole)
    with pytest.raises(ModelError, match=reason):
        try_shapes(whole, "cpu")


def test_a_clip_that_takes_too_long_is_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(whole / SPEC_FILE, lambda content: content.update(frames=31, frame_size=1024))
    monkeypatch.setattr(shapes, "MAX_OPERATIONS", {"cpu": 1e11})
    with pytest.raises(ModelError, match=r"one clip takes .* operations, more than 1e.11 on cpu"):
        try_shapes(whole, "cpu")
    monkeypatch.setattr(shapes, "MAX_TENSOR_BYTES", 1 << 24)
    with pytest.raises(ModelError, match="a clip needs a tensor of"):
        try_shapes(whole, "cpu")


def large_rank(adapter: Path) -> None:
    edit(adapter / "adapter_config.json", lambda content: content.update(r=100_000))


def large_rank_of_one(adapter: Path) -> None:
    edit(adapter / "adapter_config.json", lambda content: content.update(rank_pattern={"q_proj": 10**12}))


def random_projectors(adapter: Path) -> None:
    """Nothing of the projectors and the head is stored, so all of them would be made, of any size."""
    edit(adapter / "adapter_config.json", lambda content: content.update(modules_to_save=None))
    weights = load_file(adapter / "adapter_model.safetensors")
    low_rank = {name: weight for name, weight in weights.items() if "lora_" in name}
    save_file(low_rank, adapter / "adapter_model.safetensors", {"format": "pt"})
    edit(adapter / "config.json", lambda content: content["text_config"].update(hidden_size=131_072))


def base_is_no_text(adapter: Path) -> None:
    edit(adapter / "base.json", lambda content: content.update(motion={"a": 1}))


@pytest.mark.parametrize("change", [large_rank, large_rank_of_one, random_projectors, base_is_no_text])
def test_an_adapter_that_asks_for_more_than_its_files_is_refused(change: Callable[[Path], None], adapter: Path) -> None:
    change(adapter)
    with pytest.raises(ModelError):
        try_shapes(adapter, "cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "hf-hub:someone/model"}, "architecture is no name"),
        ({"architecture": "local-dir:/tmp/x"}, "architecture is no name"),
        ({"model_args": {"checkpoint_path": "/tmp/pickle.pth"}}, "checkpoint_path is set"),
        ({"model_args": {"pretrained": True}}, "pretrained is set"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation is set"),
        ({"_attn_implementation": {"": "someone/kernel"}}, "attn_implementation is set"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config is set"),
    ],
)
def test_a_configuration_that_names_code_or_files_elsewhere_is_refused(
    changes: dict[str, object], reason: str, adapter: Path
) -> None:
    edit(adapter.parent / "face" / "config.json", lambda content: content.update(changes))
    with pytest.raises(ModelError, match=reason):
        check_model_files(adapter.parent / "face")
    with pytest.raises(ModelError, match=reason):
        load_engine(str(adapter), "cpu")


def test_a_directory_with_code_is_not_run_and_nobody_is_asked(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = adapter / "ran"
    (adapter.parent / "qwen2" / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Made: pass\n")
    automatic = {"AutoConfig": "code.Made", "AutoModel": "code.Made"}
    edit(adapter.parent / "qwen2" / "config.json", lambda content: content.update(model_type="unheard_of", auto_map=automatic))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    with pytest.raises(ModelError):
        try_shapes(adapter, "cpu")
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.model_check
def test_the_engine_loads_what_the_child_finds_sound(whole: Path) -> None:
    assert load_engine(str(whole), "cpu").model.name == "whole"


@pytest.mark.slow
@pytest.mark.model_check
def test_the_shipped_model_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_check, "check_model", lambda *_: pytest.fail("it was tried"))
    load_engine("nano", "cpu")


@pytest.mark.slow
@pytest.mark.model_check
def test_a_table_of_positions_without_end_costs_the_child_alone(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(adapter.parent / "videomae" / "config.json", lambda content: content.update(num_frames=10**9))
    monkeypatch.setattr(model_check, "CHECK_SECONDS", 8.0)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"takes more than|more memory|ends early"):
        load_engine(str(adapter), "cpu")
    assert time.monotonic() - started < model_check.START_SECONDS


@pytest.mark.slow
@pytest.mark.model_check
def test_a_model_that_asks_for_the_network_is_refused(whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child runs a module that connects somewhere, as a library does that a configuration has sent there."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()[:2]
    connected = threading.Event()
    threading.Thread(target=lambda: (listener.accept(), connected.set()), daemon=True).start()
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "module = types.ModuleType('scorer.model.shapes')\n"
        "def try_shapes(directory, device):\n"
        "    import socket\n"
        f"    socket.create_connection(({host!r}, {port}))\n"
        "module.try_shapes = try_shapes\n"
        "sys.modules['scorer.model.shapes'] = module\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelError, match="asks for socket"):
        load_engine(str(whole), "cpu")
    assert not connected.is_set()
    listener.close()


def test_the_child_has_limits_of_time(whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(model_check, "START_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"takes more than 0\.5 s to start"):
        CHECK_MODEL(whole, "cpu")
    assert time.monotonic() - started < 60


@pytest.mark.model_check
def test_a_child_that_the_kernel_kills_is_no_fault_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(model_check.sys, "executable", str(killed))
    with pytest.raises(ModelError, match="killed, as where memory is short") as raised:
        model_check.check_model(SHIPPED["nano"], "cpu")
    assert isinstance(raised.value.__cause__, MemoryError)


@pytest.mark.parametrize(
    ("number", "passes", "words"),
    [("EMFILE", True, "no file"), ("ENOENT", False, "no file"), ("ENOMEM", False, "to load it takes more than")],
)
def test_the_child_tells_a_file_that_cannot_be_read_now_from_one_that_is_missing(
    whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: str, passes: bool, words: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, sys, types\n"
        "module = types.ModuleType('scorer.model.shapes')\n"
        "def try_shapes(directory, device):\n"
        f"    raise OSError(errno.{number}, 'no file')\n"
        "module.try_shapes = try_shapes\n"
        "sys.modules['scorer.model.shapes'] = module\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    with pytest.raises(ModelError, match=f"^model .*{words}") as raised:
        CHECK_MODEL(whole, "cpu")
    assert cannot_be_read_now(raised.value) is passes


CHECK_MODEL = model_check.check_model
"""As it is before a fixture replaces it."""

torch.set_num_threads(1)
