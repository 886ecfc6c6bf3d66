"""Folders of processes that share a folder: each has its own, and none takes another one's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scorer import own_folder
from scorer.own_folder import OwnFolder, is_used

KILLED = """
import os, sys
from pathlib import Path
from scorer.own_folder import OwnFolder

own = OwnFolder(Path(sys.argv[1]))
(own.path / "segment-a").touch()
print(own.path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_workers_of_several_containers_have_one_process_number_and_keep_their_segments(tmp_path: Path) -> None:
    first = OwnFolder(tmp_path / "inbox")
    (first.path / "segment-a").touch()
    second = OwnFolder(tmp_path / "inbox")
    assert first.path != second.path
    assert (first.path / "segment-a").exists(), "the first worker is about to score it"
    second.delete()
    assert (first.path / "segment-a").exists()
    assert not second.path.exists()


def test_what_a_killed_worker_has_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert (left / "segment-a").exists()
    OwnFolder(tmp_path)
    assert not left.exists()


def test_folders_of_the_version_before_go_by_their_number(tmp_path: Path) -> None:
    dead, running, own = (tmp_path / str(number) for number in (2**22 + 1, os.getppid(), os.getpid()))
    for folder in (dead, running, own, tmp_path / "mine"):
        folder.mkdir()
    now = OwnFolder(tmp_path)
    assert set(tmp_path.iterdir()) == {running, tmp_path / "mine", now.path}


def test_without_locks_a_folder_goes_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(own_folder.fcntl, "flock", refuse)
    own = OwnFolder(tmp_path)
    assert is_used(own.path)
    (tmp_path / f"{2**22 + 1}-01234567").mkdir()
    assert not is_used(tmp_path / f"{2**22 + 1}-01234567")
    own.delete()
    assert not own.path.exists()
