"""A model directory is outside input: what must not be loaded is refused, fast, and before anything of it is loaded."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scorer import model_files
from scorer.errors import ModelError
from scorer.load import load_engine
from scorer.model_files import check_model_files, check_patterns
from scorer.spec import SPEC_FILE, SPECIFICATIONS, SamplerSpec
from tests.support.processes import ROOT


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the shipped model."""
    return Path(shutil.copytree(ROOT / "scorer" / "nano", tmp_path / "model"))


def with_value(file: str, name: str, value: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        content = json.loads((directory / file).read_text())
        (directory / file).write_text(json.dumps(content | {name: value}))

    return change


def as_pipe(file: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / file).unlink()
        os.mkfifo(directory / file)

    return change


def linked_to(target: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / "tokenizer.json").unlink()
        (directory / "tokenizer.json").symlink_to(target)

    return change


def sparse(directory: Path) -> None:
    with (directory / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 34)


def endless(directory: Path) -> None:
    (directory / "log.bin").touch()
    os.truncate(directory / "log.bin", 1 << 40)


def many_files(directory: Path) -> None:
    for number in range(1001):
        (directory / str(number)).touch()


def with_layers(directory: Path) -> None:
    content = json.loads((directory / "config.json").read_text())
    content["text_config"]["num_hidden_layers"] = 10**6
    (directory / "config.json").write_text(json.dumps(content))


def large_configuration(directory: Path) -> None:
    (directory / "config.json").write_bytes(b" " * (2 << 20))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (as_pipe("sampler.json"), "sampler.json is no regular file"),
        (as_pipe("model.safetensors"), "model.safetensors is no regular file"),
        (as_pipe("README.md"), "README.md is no regular file"),
        (linked_to("/dev/zero"), "tokenizer.json is no regular file"),
        (linked_to("/no/such/file"), "No such file"),
        (sparse, "sparse"),
        (endless, "log.bin has 1099511627776 bytes"),
        (many_files, "more than 1000 files"),
        (large_configuration, "config.json has 2097152 bytes"),
        (with_layers, "num_hidden_layers is 1e"),
        (with_value("config.json", "statistics_size", 10**9), "statistics_size is 1e"),
        (with_value(SPEC_FILE, "frames", 10**6), "frames is 1000000"),
        (with_value(SPEC_FILE, "frames", 0), "frames is 0"),
        (with_value(SPEC_FILE, "clip_size", 10**5), "clip_size is 100000"),
        (with_value(SPEC_FILE, "face_size", 112.5), r"face_size is 112\.5"),
        (with_value(SPEC_FILE, "grid", True), "grid is True"),
        (lambda directory: (directory / SPEC_FILE).write_text("[" * 100_000), "is not JSON"),
    ],
)
def test_a_directory_that_must_not_be_loaded_is_refused_fast(
    change: Callable[[Path], object], reason: str, directory: Path
) -> None:
    change(directory)
    started = time.monotonic()
    with pytest.raises(ModelError, match=reason):
        load_engine(str(directory), "cpu")
    assert time.monotonic() - started < 60, "a pipe that nobody writes to is waited for without an end"


def test_directories_of_models_pass(directory: Path) -> None:
    check_model_files(directory)
    assert SamplerSpec.load(directory) == SPECIFICATIONS["middle"]
    # Keys of published models: minus one is the last layer, and a tokenizer has no longest text.
    (directory / "adapter_config.json").write_text(json.dumps({"vision_feature_layer": -1, "r": 16, "max_size": 10**9}))
    (directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    check_model_files(directory)


def test_patterns_that_do_not_end_are_refused_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # The short limit is for what does not end alone: a Python process starts for each check, which may take as long.
    with monkeypatch.context() as short:
        short.setattr(model_files, "MATCH_SECONDS", 0.5)
        with pytest.raises(ModelError, match="take more than"):
            check_patterns([r"(\w+)*!"], ["a" * 60])
    with pytest.raises(ModelError, match="not a regular expression"):
        check_patterns(["("], ["a"])
    check_patterns([r"language_model\..*\.(q_proj|k_proj)"], ["language_model.layers.0.q_proj"])


def test_a_number_of_hundreds_of_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 1' + "0" * 400 + "}")
    with pytest.raises(ModelError, match="num_hidden_layers is over 1e15"):
        check_model_files(tmp_path)
