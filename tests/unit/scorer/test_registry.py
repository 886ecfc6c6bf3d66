"""The registry: versions never change, `current.json` is replaced as a whole, and half an upload is no version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import ModelError
from scorer.registry import Registry


@pytest.fixture(params=["folder", "object store"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """A registry in a folder, and one in an object store, which has no renames."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    url = str(tmp_path / "registry") if request.param == "folder" else "memory://registry"
    return Registry(url, tmp_path / "cache")


def model(folder: Path, weights: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_text(weights)
    (folder / "config.json").write_text("{}")
    (folder / "work").mkdir(exist_ok=True)
    return folder


def test_a_published_version_can_be_fetched(registry: Registry, tmp_path: Path) -> None:
    directory = model(tmp_path / "a", "old")
    (directory / "link").symlink_to("/etc/passwd")
    registry.publish("nano", "v1", directory, {"why": "test"})
    local = registry.fetch("nano", "v1")
    assert (local / "model.safetensors").read_text() == "old"
    assert not (local / "link").exists()
    assert registry.manifest("nano", "v1").about == {"why": "test"}
    assert registry.names() == ["nano"]
    assert registry.current("nano") is None, "published is not promoted"


def test_a_version_can_be_copied_to_another_registry(registry: Registry, tmp_path: Path) -> None:
    staging = Registry(str(tmp_path / "staging"), tmp_path / "staging-cache")
    staging.publish("nano", "v1", model(tmp_path / "a", "old"), {"from": "staging"})
    registry.publish("nano", "v1", staging.fetch("nano", "v1"))
    assert (registry.fetch("nano", "v1") / "model.safetensors").read_text() == "old"
    assert registry.manifest("nano", "v1").about == {}, "each registry has an `about` of its own"


def test_versions_never_change(registry: Registry, tmp_path: Path) -> None:
    registry.publish("nano", "v1", model(tmp_path / "a", "old"))
    registry.publish("nano", "v1", model(tmp_path / "a", "old"))
    with pytest.raises(ModelError, match="versions never change"):
        registry.publish("nano", "v1", model(tmp_path / "b", "new"))
    assert (registry.fetch("nano", "v1") / "model.safetensors").read_text() == "old"


def test_a_killed_upload_is_no_version(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model(tmp_path / "a", "old")
    write, calls, allowed = Registry._write, 0, 0

    def killed(self: Registry, path: str, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > allowed:
            raise KeyboardInterrupt
        write(self, path, data)

    monkeypatch.setattr(Registry, "_write", killed)
    for writes in range(3):
        calls, allowed = 0, writes
        with pytest.raises(KeyboardInterrupt):
            registry.publish("nano", "v1", directory)
        assert registry.versions("nano") == []
        with pytest.raises(ModelError, match="there is no nano@v1"):
            registry.promote("nano", "v1")
    calls, allowed = 0, 99
    registry.publish("nano", "v1", directory)
    assert [manifest.version for manifest in registry.versions("nano")] == ["v1"]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    registry.publish("nano", "v1", model(tmp_path / "a", "old"))
    (registry.fetch("nano", "v1") / "model.safetensors").write_text("new")
    with pytest.raises(ModelError, match=r"model\.safetensors of nano@v1 is missing or is not what was published"):
        registry.fetch("nano", "v1")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a b", "-x", "x" * 65])
def test_a_name_cannot_be_a_path(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="is not a valid name"):
        registry.publish(name, "v1", tmp_path)
    with pytest.raises(ModelError, match="is not a valid name"):
        registry.fetch("nano", name)


def test_a_manifest_cannot_lead_out_of_its_folder(registry: Registry, tmp_path: Path) -> None:
    registry.publish("nano", "v1", model(tmp_path / "a", "old"))
    manifest = vars(registry.manifest("nano", "v1")) | {"files": {"../../../secret": "0"}}
    registry._write(registry._folder("nano", "v1") + "/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ModelError, match="file name or digest in it is not valid"):
        registry.fetch("nano", "v1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12))
def test_each_rollback_undoes_one_promotion(steps: list[str | None], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(str(folder / "registry"), folder / "cache")
    for version in "abc":
        registry.publish("nano", version, model(folder / version, version))
    expected: list[str] = []
    for step in steps:
        if step is not None:
            registry.promote("nano", step)
            expected += [step] if expected[-1:] != [step] else []
        elif expected:
            expected.pop()
            assert registry.rollback("nano") == (expected[-1] if expected else None)
        else:
            with pytest.raises(ModelError, match="nothing to roll back"):
                registry.rollback("nano")
        assert registry.current("nano") == (expected[-1] if expected else None)


def test_a_file_that_was_not_published_is_refused(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    registry.publish("nano", "1", model(tmp_path / "a", "old"))
    folder = registry.fetch("nano", "1")
    (folder / ".DS_Store").touch()
    assert registry.fetch("nano", "1") == folder
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config\.json of nano@1 was not published with it"):
        registry.fetch("nano", "1")
