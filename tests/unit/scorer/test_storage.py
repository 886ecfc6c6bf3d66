"""Storage: the same answers from a folder and from an object store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scorer.storage import Storage, write_whole


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "root") if request.param == "folder" else f"memory://{tmp_path.name}/root")


@pytest.mark.parametrize("fsync", [True, False])
def test_a_file_is_written_replaced_read_and_removed(storage: Storage, fsync: bool) -> None:
    path = f"{storage.root}/folder/file"
    assert storage.read(path) is None
    for data in (b"old", b"new"):
        storage.write(path, data, fsync)
        assert storage.read(path) == data
    assert abs(storage.written_at(path) - datetime.now(UTC)) < timedelta(minutes=1)
    storage.remove(path)
    storage.remove(path)
    assert storage.read(path) is None
    assert abs(storage.written_at(path) - datetime.now(UTC)) < timedelta(minutes=1)


def test_entries_are_files_and_folders(storage: Storage) -> None:
    assert storage.entries(storage.root) == []
    storage.write(f"{storage.root}/file", b"1")
    storage.write(f"{storage.root}/folder/file", b"2")
    entries = {entry["name"]: entry["type"] for entry in storage.entries(storage.root)}
    assert entries == {f"{storage.root}/file": "file", f"{storage.root}/folder": "directory"}


def test_a_write_leaves_no_temporary_file(storage: Storage) -> None:
    storage.write(f"{storage.root}/file", b"1")
    assert [entry["name"] for entry in storage.entries(storage.root)] == [f"{storage.root}/file"]


def test_addresses_have_a_scheme(tmp_path: Path) -> None:
    folder, store = Storage(str(tmp_path)), Storage("memory://bucket")
    assert folder.is_local
    assert not store.is_local
    assert folder.uri(f"{folder.root}/file") == (tmp_path / "file").as_uri()
    assert store.uri(f"{store.root}/file") == "memory:///bucket/file"
    with pytest.raises(ValueError, match="nowhere"):
        Storage("nowhere://x")


def test_two_containers_write_a_file_at_once_though_they_have_one_process_number(tmp_path: Path) -> None:
    storage, target = Storage(str(tmp_path)), tmp_path / "folder" / "file"

    def blocks() -> Iterator[bytes]:
        yield b"one "
        storage.write(str(target), b"another")
        yield b"whole"

    write_whole(target, blocks(), fsync=False)
    assert target.read_bytes() == b"one whole"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", blocks(), fsync=False)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    storage = Storage(str(tmp_path / "root"))
    with pytest.raises(NotADirectoryError):
        storage.entries(storage.root)
