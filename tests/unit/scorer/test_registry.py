"""The registry: versions never change, `current.json` is replaced as a whole, and half an upload is no version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer import registry as registry_module
from scorer.errors import ModelError
from scorer.model_files import MAX_CONFIGURATION_BYTES, MAX_FILES
from scorer.registry import MAX_MANIFEST_BYTES, Registry
from scorer.storage import Storage


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
    with pytest.raises(
        ModelError, match=r"other files \(.+\); versions never change: to let that one serve, promote .+/versions/"
    ):
        registry.publish("nano", "v1", model(tmp_path / "b", "new"))
    assert (registry.fetch("nano", "v1") / "model.safetensors").read_text() == "old"


def test_a_killed_upload_is_no_version(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model(tmp_path / "a", "old")
    calls, allowed = 0, 0

    def killed(write: Callable[..., None]) -> Callable[..., None]:
        def count(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > allowed:
                raise KeyboardInterrupt
            write(*arguments)

        return count

    monkeypatch.setattr(Registry, "_write", killed(Registry._write))
    monkeypatch.setattr(Storage, "put", killed(Storage.put))
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


def test_what_a_killed_upload_left_is_removed_by_a_later_one_of_any_version(tmp_path: Path) -> None:
    registry, now = Registry(str(tmp_path / "registry"), tmp_path / "cache"), time.time()
    registry.publish("nano", "v0", model(tmp_path / "a", "old"))
    folder = tmp_path / "registry/nano"
    (folder / "versions/v1").mkdir()
    names = (".current.json.7-0123abcd", "versions/v1/.model.safetensors.7-0123abcd", "versions/v1/.model.safetensors.7")
    for name in names:
        (folder / name).touch()
        os.utime(folder / name, (now - 2 * 86400,) * 2)
    kept = ("versions/v1/.model.safetensors.8-0123abcd", "versions/v1/.nfs0001", "versions/v1/.hidden.7-0123")
    for name in kept:
        (folder / name).touch()  # the first: another process writes it now
    for name in kept[1:]:
        os.utime(folder / name, (now - 2 * 86400,) * 2)
    registry.publish("nano", "v2", model(tmp_path / "b", "new"))
    assert [name for name in names if (folder / name).exists()] == []
    assert [name for name in kept if (folder / name).exists()] == list(kept)


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
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


def test_no_promotion_is_lost_among_others(tmp_path: Path) -> None:
    versions = [f"v{number}" for number in range(20)]
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    for version in versions:
        registry.publish("nano", version, model(tmp_path / version, version))
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda version: Registry(str(tmp_path / "registry"), tmp_path).promote("nano", version), versions))
    assert sorted(json.loads((tmp_path / "registry/nano/current.json").read_text())["versions"]) == sorted(versions)


def test_a_file_that_was_not_published_is_refused(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    registry.publish("nano", "1", model(tmp_path / "a", "old"))
    folder = registry.fetch("nano", "1")
    (folder / ".DS_Store").touch()
    assert registry.fetch("nano", "1") == folder
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config\.json of nano@1 was not published with it"):
        registry.fetch("nano", "1")


@pytest.fixture
def remote(tmp_path: Path) -> Registry:
    """A registry in an object store with one version, whose files are downloaded."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    registry = Registry("memory://registry", tmp_path / "cache")
    registry.publish("nano", "1", model(tmp_path / "a", "old"))
    return registry


def put(registry: Registry, file: str, data: bytes) -> None:
    registry._storage.write(registry._folder("nano", "1") + f"/{file}", data)


def change_manifest(registry: Registry, **changes: object) -> None:
    put(registry, "manifest.json", json.dumps(vars(registry.manifest("nano", "1")) | changes).encode())


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.name != "nano")


def test_a_download_stops_at_the_published_size_and_leaves_nothing(
    remote: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.storage.BLOCK_BYTES", 1000)
    read = 0

    def count(blocks: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            nonlocal read
            for block in blocks(*arguments):
                read += len(block)
                yield block

        return counted

    put(remote, "model.safetensors", bytes(10**6))
    monkeypatch.setattr(Storage, "blocks", count(Storage.blocks))
    with pytest.raises(ModelError, match=r"model\.safetensors of nano@1 has more than 3 bytes"):
        remote.fetch("nano", "1")
    assert read < 10_000
    assert cached(tmp_path) == []


def test_a_download_without_sizes_in_its_manifest_stops_at_the_bounds(
    remote: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_manifest(remote, sizes={})
    assert (remote.fetch("nano", "1") / "config.json").read_text() == "{}", "a manifest of an older version"
    put(remote, "config.json", b" " * (MAX_CONFIGURATION_BYTES + 1))
    other = Registry("memory://registry", tmp_path / "cache" / "other")
    with pytest.raises(ModelError, match=r"config\.json of nano@1 has more than"):
        other.fetch("nano", "1")
    put(remote, "config.json", b"{}")
    monkeypatch.setattr(registry_module, "MAX_MODEL_BYTES", 4)
    with pytest.raises(ModelError, match="of nano@1 has more than"):
        other.fetch("nano", "1")


def test_a_download_that_is_not_what_was_published_leaves_nothing(remote: Registry, tmp_path: Path) -> None:
    put(remote, "model.safetensors", b"new")
    with pytest.raises(ModelError, match="is not what was published"):
        remote.fetch("nano", "1")
    assert cached(tmp_path) == []


def test_only_files_of_the_manifest_are_downloaded(remote: Registry, tmp_path: Path) -> None:
    put(remote, "adapter_config.json", b"{}")
    assert sorted(path.name for path in remote.fetch("nano", "1").iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]


def test_what_a_killed_download_left_is_removed(remote: Registry, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    left = tmp_path / "cache" / "nano" / f".1.{ended.stdout.strip()}"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    remote.fetch("nano", "1")
    assert not left.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"files": {f"f{number}": "0" for number in range(MAX_FILES + 1)}}, "more than 1000 files"),
        ({"sizes": {"model.safetensors": 1 << 50}}, "too large to load"),
        ({"sizes": {"a.bin": 1 << 36, "b.bin": 1 << 36, "c.bin": 1}}, "too large to load"),
        ({"sizes": {"model.safetensors": -1}}, "too large to load"),
        ({"sizes": 7}, "not a manifest"),
        ({"about": [1]}, "not a manifest"),
        ({"created": 7}, "not a manifest"),
        ({"files": {"manifest.json": "0"}}, "file name or digest"),
    ],
)
def test_a_manifest_out_of_bounds_is_refused(remote: Registry, changes: dict[str, object], reason: str) -> None:
    change_manifest(remote, **changes)
    with pytest.raises(ModelError, match=reason):
        remote.fetch("nano", "1")


def test_endless_and_deep_files_of_a_registry_are_refused(remote: Registry, tmp_path: Path) -> None:
    put(remote, "manifest.json", b"[" * 100_000)
    with pytest.raises(ModelError, match="not a manifest"):
        remote.fetch("nano", "1")
    put(remote, "manifest.json", b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ModelError, match="has more than"):
        remote.versions("nano")
    remote._storage.write(f"{remote._storage.root}/nano/current.json", b"[" * 100_000)
    with pytest.raises(ModelError, match="not a list of versions"):
        remote.current("nano")


def test_a_damaged_manifest_hides_no_other_version_and_is_written_again(registry: Registry, tmp_path: Path) -> None:
    for version in ("1", "2"):
        registry.publish("nano", version, model(tmp_path / version, version))
    registry._storage.write(f"{registry._storage.root}/nano/versions/1/manifest.json", b'{"na')
    problems: dict[str, str] = {}
    assert [manifest.version for manifest in registry.versions("nano", problems)] == ["2"]
    assert registry.names() == ["nano"]
    assert "1/manifest.json: not a manifest" in problems["1"]
    registry.publish("nano", "1", tmp_path / "1")
    assert (registry.fetch("nano", "1") / "model.safetensors").read_text() == "1"


def test_what_a_later_version_adds_to_a_manifest_is_passed_over(remote: Registry) -> None:
    change_manifest(remote, licence="CC0-1.0")
    assert (remote.fetch("nano", "1") / "model.safetensors").is_file()


def test_a_device_in_place_of_a_registrys_file_is_not_read(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    (tmp_path / "registry" / "nano").mkdir(parents=True)
    (tmp_path / "registry" / "nano" / "current.json").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="no regular file"):
        registry.current("nano")


def test_other_folders_of_a_volume_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert Registry(str(tmp_path), tmp_path / "cache").names() == []


def test_nothing_is_rolled_back_to_a_version_that_is_gone(registry: Registry, tmp_path: Path) -> None:
    for version in ("1", "2"):
        registry.publish("nano", version, model(tmp_path / version, version))
        registry.promote("nano", version)
    registry._storage.remove(f"{registry._storage.root}/nano/versions/1/manifest.json")
    with pytest.raises(ModelError, match="there is no nano@1"):
        registry.rollback("nano")
    assert registry.current("nano") == "2"


def test_a_download_that_a_power_failure_cut_off_is_made_again(remote: Registry, tmp_path: Path) -> None:
    local = remote.fetch("nano", "1")
    for damage in (b"", None):
        for file in sorted(local.iterdir()):
            if damage is None:
                file.unlink()
            else:
                file.write_bytes(damage)
        assert remote.fetch("nano", "1") == local
    assert all(file.stat().st_size for file in local.iterdir())


def test_a_version_that_another_process_has_downloaded_meanwhile_is_left_to_who_reads_it(
    remote: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    download_file = Registry._download_file
    other = Registry(remote.shown, remote._cache)
    places: list[tuple[Path, int]] = []

    def overtaken(registry: Registry, *arguments: Any) -> int:
        if registry is remote and not places:
            local = other.fetch("nano", "1")  # with the same process number, as in another container
            places.append((local, local.stat().st_ino))
        return download_file(registry, *arguments)

    monkeypatch.setattr(Registry, "_download_file", overtaken)
    local = remote.fetch("nano", "1")
    assert places == [(local, local.stat().st_ino)]
    assert [path.name for path in local.parent.iterdir()] == ["1"]
