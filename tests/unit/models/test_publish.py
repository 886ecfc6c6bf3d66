"""A promoted model is the one in the directory that was given, whatever that is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from scorer.errors import ModelError
from scorer.find import SHIPPED, version_of
from scorer.load import LoadedModel
from scorer.registry import Registry
from streams.cli.app import app
from streams.models.publish import list_versions, publish
from training.evaluation import gate


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory `nano` in the working folder, with other weights than the model that ships by this name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED["nano"], "nano")
    weights = Path("nano/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    return Path("nano")


@pytest.fixture
def promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], Result]:
    """Gives what `fvq promote` of the directory `nano` says, where the gate judges as it is told."""

    def promote(judge: Callable[..., Any]) -> Result:
        monkeypatch.setenv("FVQ_REGISTRY", str(tmp_path / "registry"))
        monkeypatch.setattr(gate, "judge", judge)
        monkeypatch.setattr("scorer.runtime.export.export_graph", lambda _: None)
        rated = tmp_path / "rated.csv"
        rated.write_text("path,mos\n")
        return CliRunner().invoke(app, ["promote", "./nano", "--reference", str(rated), "--rated", str(rated)])

    return promote


@pytest.mark.parametrize("rated", [["--rated", "rated.csv"], []])
@pytest.mark.parametrize("folder", ["clips", "rated.csv"])
def test_what_is_no_model_s_folder_is_not_promoted(
    folder: str, rated: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("rated.csv").write_text("path,mos\n")
    result = CliRunner().invoke(app, ["promote", folder, "--reference", "rated.csv", *rated])
    wanted = (
        f"{folder}: this is no model's folder: one that `fvq train` has made holds model.safetensors or adapter_config.json, and"
    )
    assert str(result.exception).startswith(wanted)
    assert isinstance(result.exception, ValueError)


def test_a_model_whose_training_has_not_ended_is_not_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rated.csv").write_text("path,mos\n")
    Path("model.safetensors").write_bytes(b"")
    result = CliRunner().invoke(app, ["promote", ".", "--reference", "rated.csv", "--rated", "rated.csv"])
    assert str(result.exception).startswith("metrics.json is not in the model's folder .: its training has not ended")


def test_what_is_published_is_the_directory(nano: Path, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    update = publish(registry, nano, "nano", {}, version_of(SHIPPED["nano"]))
    assert (update.before, update.version) == (version_of(SHIPPED["nano"]), version_of(nano))
    assert update.version == registry.current("nano") != update.before
    assert version_of(registry.fetch("nano", update.version)) == update.version


def test_what_is_damaged_in_a_registry_is_listed_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, directory = tmp_path / "registry", tmp_path / "model"
    directory.mkdir()
    registry = Registry(str(root), tmp_path / "cache")
    for name, version in (("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")):
        registry.publish(name, version, directory)
        registry.promote(name, version)
    (root / "a/versions/1/manifest.json").write_text('{"na')
    (root / "b/current.json").write_text("[")
    (root / "c/versions/1/manifest.json").unlink()
    rows = [(row.name, row.version, row.current, row.problem != "") for row in list_versions(registry)]
    assert rows == [
        ("a", "2", True, False), ("a", "1", False, True),
        ("b", "", False, True), ("b", "1", False, False), ("c", "1", True, True),
    ]  # fmt: skip
    monkeypatch.setenv("FVQ_REGISTRY", str(root))
    result = CliRunner().invoke(app, ["models", "ls"])
    assert result.exit_code == 1
    assert all(words in result.stderr for words in ("a@1: ", "b: ", "c@1: its manifest is gone"))


def test_a_list_says_where_the_model_of_the_package_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed() -> str:
        return CliRunner().invoke(app, ["models", "ls"]).stdout.splitlines()[-1]

    monkeypatch.setenv("FVQ_REGISTRY", str(tmp_path / "registry"))
    registry, directory = Registry(str(tmp_path / "registry"), tmp_path / "cache"), tmp_path / "model"
    directory.mkdir()
    shipped = f"in the package: nano, version {version_of(SHIPPED['nano'])}"
    assert listed() == f"{shipped}, which serves"
    registry.publish("nano", "1", directory)
    registry.promote("nano", "1")
    assert listed() == shipped
    registry.rollback("nano")
    assert listed() == f"{shipped}, which serves"


def test_a_model_that_was_judged_against_another_one_than_serves_now_is_not_promoted(
    nano: Path, tmp_path: Path, promoted: Callable[[Callable[..., Any]], Result]
) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")

    def judge(current: LoadedModel, candidate: LoadedModel, *_: Any) -> gate.Verdict:
        registry.publish("nano", "faster", nano)  # somebody else promotes while this one is judged, which takes minutes
        registry.promote("nano", "faster")
        return gate.Verdict(str(current.model), str(candidate.model), [])

    result = promoted(judge)
    assert "nano@faster serves by now" in str(result.exception), result.output
    assert registry.current("nano") == "faster"
    result = promoted(lambda current, candidate, *_: gate.Verdict(str(current.model), str(candidate.model), []))
    assert result.exit_code == 0, result.output
    assert registry.current("nano") == version_of(nano)


def test_a_model_is_not_promoted_where_another_one_was_while_it_was_uploaded(nano: Path, tmp_path: Path) -> None:
    registry, other = (Registry(str(tmp_path / "registry"), tmp_path / "cache") for _ in range(2))
    uploaded = registry.publish

    def slow(*args: Any) -> Any:
        other.publish("nano", "faster", nano)
        other.promote("nano", "faster")
        return uploaded(*args)

    registry.publish = slow  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="nano@faster serves by now"):
        publish(registry, nano, "nano", {}, version_of(SHIPPED["nano"]))
    assert registry.current("nano") == "faster"


def test_what_is_judged_is_the_directory(nano: Path, promoted: Callable[[Callable[..., Any]], Result]) -> None:
    judged: list[LoadedModel] = []

    def judge(current: LoadedModel, candidate: LoadedModel, *_: Any) -> None:
        judged.extend([current, candidate])
        raise ValueError("that is enough")

    result = promoted(judge)
    assert "that is enough" in str(result.exception), result.output
    assert [model.model.version for model in judged] == [version_of(SHIPPED["nano"]), version_of(nano)]
