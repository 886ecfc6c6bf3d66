"""A promoted model is the one in the directory that was given, whatever that is called."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scorer.find import SHIPPED, version_of
from scorer.load import LoadedModel
from scorer.registry import Registry
from streams.cli.app import app
from streams.models.publish import publish
from training.evaluation import gate


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory `nano` in the working folder, with other weights than the model that ships by this name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED["nano"], "nano")
    weights = Path("nano/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    return Path("nano")


def test_what_is_published_is_the_directory(nano: Path, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    update = publish(registry, nano, "nano", {})
    assert (update.before, update.version) == (version_of(SHIPPED["nano"]), version_of(nano))
    assert update.version == registry.current("nano") != update.before
    assert version_of(registry.fetch("nano", update.version)) == update.version


def test_what_is_judged_is_the_directory(nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[LoadedModel] = []

    def judge(current: LoadedModel, candidate: LoadedModel, *_: Any) -> None:
        judged.extend([current, candidate])
        raise ValueError("that is enough")

    monkeypatch.setenv("FVQ_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setattr(gate, "judge", judge)
    monkeypatch.setattr("scorer.runtime.export.export_graph", lambda _: None)
    rated = tmp_path / "rated.csv"
    rated.write_text("path,mos\n")
    result = CliRunner().invoke(app, ["promote", "./nano", "--reference", str(rated), "--rated", str(rated)])
    assert "that is enough" in str(result.exception), result.output
    assert [model.model.version for model in judged] == [version_of(SHIPPED["nano"]), version_of(nano)]
