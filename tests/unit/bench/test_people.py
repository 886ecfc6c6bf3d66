"""The list of people whom a model was trained or is judged on, and what gets their pictures."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.people import LIST, LONGEST_SIDE, get, listed

ADDRESS = "https://example.org/faces"


def test_nobody_is_trained_and_judged_on() -> None:
    with LIST.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for name in ("file", "sha256"):
        assert len({row[name] for row in rows}) == len(rows)
    assert {row["purpose"] for row in rows} == {"training", "judging"}
    assert {row["licence"] for row in rows} <= {"MIT", "CC-BY-4.0", "CC0-1.0", "BSD-3-Clause"}
    assert len(listed("training")) + len(listed("judging")) == len(rows)


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A still in a repository, as the list has it; git finds the repository's address in a folder."""
    repository = tmp_path / "repository"
    repository.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (900, 2000, 3), np.uint8)
    Image.fromarray(picture).save(repository / "face.jpg")
    git = ("git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for command in (["init", "--quiet"], ["add", "face.jpg"], ["commit", "--quiet", "-m", "a face"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, stdout=subprocess.PIPE, text=True).stdout
    digest = hashlib.sha256((repository / "face.jpg").read_bytes()).hexdigest()[:16]
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{repository}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", ADDRESS)
    return {"file": "one.png", "version": commit.strip(), "path": "face.jpg", "sha256": digest, "package": ADDRESS}


def test_a_still_of_a_repository_is_scaled_down_and_kept(row: dict[str, str], tmp_path: Path) -> None:
    get([row], tmp_path / "people")
    with Image.open(tmp_path / "people/one.png") as still:
        assert still.size == (LONGEST_SIDE, 720)
    before = (tmp_path / "people/one.png").stat().st_mtime_ns
    get([row | {"package": "https://not-asked.invalid/faces"}], tmp_path / "people")
    assert (tmp_path / "people/one.png").stat().st_mtime_ns == before


def test_another_file_than_the_listed_one_is_refused(row: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one\.png: face\.jpg of https://example\.org/faces .* is another file"):
        get([row | {"sha256": "0" * 16}], tmp_path / "people")
    assert not (tmp_path / "people/one.png").exists()
