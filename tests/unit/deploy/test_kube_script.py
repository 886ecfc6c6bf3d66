"""What `scripts/kube/kube` says where something is missing: code 3, and how to get it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.chart import KUBE
from tests.support.servers import TOOL_MISSING


@pytest.mark.parametrize(
    ("command", "hint"),
    [("start", "scripts/kube/kube build"), ("helm", "scripts/kube/kube tools"), ("crds", "scripts/kube/kube tools")],
)
def test_what_has_not_been_built_is_named(tmp_path: Path, command: str, hint: str) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "FVQ_KUBE_DIR": str(tmp_path / "data")}
    asked = subprocess.run([KUBE, command], env=environment, capture_output=True, text=True)
    assert asked.returncode == TOOL_MISSING
    assert hint in asked.stderr
    assert not (tmp_path / "data").exists()


def test_without_go_it_says_what_to_install(tmp_path: Path) -> None:
    for tool in ("dirname", "sed"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    asked = subprocess.run(["/bin/sh", KUBE, "build"], env=environment, capture_output=True, text=True)
    assert asked.returncode == TOOL_MISSING
    assert "Go 1.26 or newer is needed" in asked.stderr


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    environment = os.environ | {"FVQ_KUBE_DIR": str(tmp_path)}
    assert subprocess.run([KUBE, "stop"], env=environment, capture_output=True).returncode == 0
    assert subprocess.run([KUBE, "status"], env=environment, capture_output=True).returncode == 1
