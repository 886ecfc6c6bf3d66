"""A model's graph: the scores of its network, without torch; what is no such graph is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from scorer.engine import Engine, load_network
from scorer.errors import ModelError, lacks_memory
from scorer.find import SHIPPED, find_model
from scorer.load import load_engine
from scorer.model.adapters import Lora, attach, save_adapter
from scorer.model.bases import Base, load_base
from scorer.model.modeling import FVQRater
from scorer.runtime import export
from scorer.runtime.export import export_graph, remove_results
from scorer.runtime.graph import GRAPH_FILE, Graph, load_graph
from scorer.sampling.sampler import sample
from scorer.spec import ModelId, ModelInput, SampledClip, SamplerSpec
from tests.support.doubles import SPEC, make_clip
from tests.support.processes import PYTHON, ROOT, clean_environment
from tests.unit.scorer.test_modeling import nano_like

NANO = SHIPPED["nano"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model with its graph."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    FVQRater(nano_like(statistics_size=20)).save_pretrained(folder)
    SPEC.save(folder)
    assert export_graph(folder) == folder / GRAPH_FILE
    return folder


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


def assert_alike(graph: Graph, network: Engine, clips: list[ModelInput]) -> None:
    for made, known in zip(graph.score(clips), network.score(clips), strict=True):
        assert made.score == pytest.approx(known.score, abs=0.01)
        assert made.uncertainty == pytest.approx(known.uncertainty, abs=0.01)
        assert made.level_probs == pytest.approx(known.level_probs, abs=2e-4)
        assert made.model == known.model


def dimmed(clip: SampledClip, light: float, without_face: bool) -> ModelInput:
    """The clip with its pictures darkened, and with no face in it where that is asked for."""
    pictures = {name: (getattr(clip, name) * light).astype(np.uint8) for name in ("frames", "portrait", "faces", "clip")}
    if without_face:
        pictures["faces"] = np.zeros_like(clip.faces)
    return replace(clip, **pictures, faces_mask=clip.faces_mask & (not without_face))


@pytest.mark.slow
def test_the_shipped_graph_scores_as_the_network_does_on_fifty_real_segments() -> None:
    clips = [clip for _, clip in sample(ROOT / "examples" / "face.mp4", SamplerSpec.load(NANO), window_seconds=1.0, limit=13)]
    inputs = [dimmed(clip, light, gone) for clip in clips for light in (1.0, 0.4) for gone in (False, True)]
    assert len(inputs) >= 50
    identity = find_model("nano")[1]
    assert_alike(load_graph(NANO, identity), load_network(NANO, identity, CPU), inputs)


@pytest.mark.slow
def test_the_shipped_graph_is_what_the_shipped_weights_give(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(NANO, tmp_path / "nano"))
    (folder / GRAPH_FILE).unlink()
    export_graph(folder)
    clip = next(clip for _, clip in sample(ROOT / "examples" / "face.mp4", SamplerSpec.load(NANO), window_seconds=2.0, limit=1))
    identity = ModelId("nano", "1")
    made, shipped = (load_graph(place, identity).score([clip])[0] for place in (folder, NANO))
    assert made == shipped


def test_a_graph_scores_as_its_network_whatever_the_batch(small: Path) -> None:
    graph = load_engine(str(small), "cpu")
    assert isinstance(graph, Graph)
    network = load_network(small, graph.model, CPU)
    clips: list[ModelInput] = [make_clip(light, seed) for seed, light in enumerate((20, 120, 220))]
    assert_alike(graph, network, clips)
    assert graph.score([]) == []
    assert (graph.spec, graph.statistics) == (network.spec, network.statistics)


def test_an_adapter_is_exported_merged_into_its_base(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    torch.manual_seed(1)
    FVQRater(nano_like(statistics_size=20)).save_pretrained(tmp_path / "base")
    SPEC.save(tmp_path / "base")
    tuned = attach(
        load_base(base), Lora(r"(vision_model\.blocks\.4\..*\.conv_pw|language_model\..*\.(q|v)_proj)", rank=2, alpha=4)
    )
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_adapter(tuned, adapter, base)
    SPEC.save(adapter)
    export_graph(adapter)
    identity = ModelId("adapter", "1")
    clips: list[ModelInput] = [make_clip(90, 3)]
    assert_alike(load_graph(adapter, identity), load_network(adapter, identity, CPU), clips)
    untuned = load_network(tmp_path / "base", identity, CPU).score(clips)[0]
    assert abs(load_graph(adapter, identity).score(clips)[0].score - untuned.score) > 0.05


def test_no_torch_is_loaded_for_a_model_with_a_graph() -> None:
    program = (
        "import sys\nfrom scorer.load import load_engine\nload_engine('nano', 'cpu')\n"
        "from streams import worker\n"
        "print(sorted({'torch', 'transformers', 'peft', 'timm', 'sklearn', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([PYTHON, "-c", program], env=clean_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_without_a_graph_says_what_it_needs_where_torch_is_missing(copy: Path) -> None:
    (copy / GRAPH_FILE).unlink()
    program = (
        "import sys\nfrom scorer.errors import ModelError\nfrom scorer.load import load_engine\n"
        "sys.modules['torch'] = None\n"
        f"try:\n    load_engine({str(copy)!r}, 'cpu')\nexcept ModelError as error:\n    print(error)"
    )
    done = subprocess.run([PYTHON, "-c", program], env=clean_environment(), capture_output=True, text=True, check=True)
    assert "it has no model.onnx, so it needs torch, and torch is not installed: pip install" in done.stdout


def test_a_large_model_gets_no_graph(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / GRAPH_FILE).unlink()
    monkeypatch.setattr(export, "MOST_WEIGHTS", 1000)
    assert export_graph(copy) is None
    assert not (copy / GRAPH_FILE).exists()


def test_a_graph_of_other_weights_is_noticed_at_the_promotion(copy: Path) -> None:
    torch.manual_seed(7)
    FVQRater(nano_like(statistics_size=20)).save_pretrained(copy)
    with pytest.raises(ModelError, match=r"its model\.onnx scores .* where its network scores"):
        export_graph(copy)
    remove_results(copy)
    assert export_graph(copy) == copy / GRAPH_FILE, "as after a training into the same folder"


@pytest.mark.parametrize(
    "words",
    [
        "[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'' "
        "Status Message: bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1073741824",
    ],
)
def test_a_lack_of_memory_is_not_the_clips_fault(small: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    graph = load_graph(small, ModelId("small", "1"))

    class Full:
        def run(self, *_: object) -> None:
            raise RuntimeError(words)

    monkeypatch.setattr(graph, "_session", Full())
    with pytest.raises(MemoryError, match="there is no memory for model small@1"):
        graph.score([make_clip()])
    with pytest.raises(ModelError, match="cannot score a test clip") as raised:
        graph.check()
    assert lacks_memory(raised.value)


NO_MEMORY = """
import resource
from scorer.answer import trial_clip
from scorer.load import load_engine
from scorer.process import data_bytes
engine = load_engine("nano", "cpu")
clip = trial_clip(engine.spec, engine.statistics)
resource.setrlimit(resource.RLIMIT_DATA, (data_bytes(), resource.RLIM_INFINITY))
try:
    engine.score([clip])
except MemoryError as error:
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(error)
"""
"""Scores a clip in a process that gets no more memory."""


def test_onnxruntime_says_in_these_words_that_there_is_no_memory() -> None:
    done = subprocess.run([PYTHON, "-c", NO_MEMORY], env=clean_environment(), capture_output=True, text=True, check=True)
    assert "bad_alloc" in done.stdout


def change_graph(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    """A function that changes the graph in a folder."""

    def apply(folder: Path) -> None:
        graph = onnx.load(folder / GRAPH_FILE)
        change(graph)
        (folder / GRAPH_FILE).write_bytes(graph.SerializeToString())

    return apply


def numbers_elsewhere(graph: onnx.ModelProto) -> None:
    weight = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def weights_that_are_nan(graph: onnx.ModelProto) -> None:
    for weight in graph.graph.initializer:
        numbers = numpy_helper.to_array(weight)
        if numbers.dtype == np.float32:
            weight.CopyFrom(numpy_helper.from_array(np.full_like(numbers, np.nan), weight.name))


def another_operator(graph: onnx.ModelProto) -> None:
    graph.graph.node[-1].op_type = "Shell"
    graph.graph.node[-1].domain = "com.example"


def more_frames(folder: Path) -> None:
    replace(SPEC, frames=SPEC.frames + 1).save(folder)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no graph at all": (lambda folder: (folder / GRAPH_FILE).write_bytes(b"\x08\x07 no graph"), "no graph that can be run"),
    "empty": (lambda folder: (folder / GRAPH_FILE).write_bytes(b""), "no graph that can be run"),
    "half of it": (
        lambda folder: (folder / GRAPH_FILE).write_bytes((folder / GRAPH_FILE).read_bytes()[: 1 << 18]),
        "no graph that can be run",
    ),
    "numbers in another file": (change_graph(numbers_elsewhere), "keeps numbers in another file"),
    "NaN": (change_graph(weights_that_are_nan), "not a finite number"),
    "an unknown operator": (change_graph(another_operator), "no graph that can be run"),
    "another output": (
        change_graph(lambda graph: setattr(graph.graph.output[0], "name", graph.graph.node[0].output[0])),
        "",
    ),
    "another sampling": (more_frames, "its input frames is"),
    "no sampling": (lambda folder: (folder / "sampler.json").unlink(), "sampler.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_graph_of_the_model_is_refused(copy: Path, damage: str) -> None:
    change, reason = DAMAGES[damage]
    change(copy)
    with pytest.raises(ModelError, match=reason):
        load_engine(str(copy), "cpu")


def takes_32_gigabytes(graph: onnx.ModelProto) -> None:
    """Another first output: the largest of 2^33 zeros."""
    size = helper.make_tensor("zeros", onnx.TensorProto.INT64, [1], [1 << 33])
    graph.graph.initializer.append(size)
    graph.graph.node.append(helper.make_node("ConstantOfShape", ["zeros"], ["many"]))
    graph.graph.node.append(helper.make_node("ReduceMax", ["many"], ["largest"], keepdims=1))
    for node in graph.graph.node:
        node.output[:] = ["old_score" if name == "score" else name for name in node.output]
    graph.graph.node.append(helper.make_node("Add", ["old_score", "largest"], ["score"]))


@pytest.mark.slow
@pytest.mark.model_check
def test_a_graph_from_outside_is_tried_in_a_child_first(copy: Path) -> None:
    assert load_engine(str(copy), "cpu").score([make_clip()])[0].score > 0
    change_graph(takes_32_gigabytes)(copy)
    with pytest.raises(ModelError, match=r"bad allocation|bad_alloc|memory|2048 MiB|ends early"):
        load_engine(str(copy), "cpu")


def test_the_graph_in_the_package_names_no_place_of_the_machine_that_made_it() -> None:
    graph = onnx.load(NANO / GRAPH_FILE)
    assert not graph.doc_string
    assert not any(node.doc_string for node in graph.graph.node)
    assert b"site-packages" not in (NANO / GRAPH_FILE).read_bytes()
    assert json.loads((NANO / "sampler.json").read_text())["frames"] == 1
