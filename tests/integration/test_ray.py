"""`fvq serve --ray`, once in a test run: Ray takes a minute to start, and on a slow machine it may not start at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PYTHON, ROOT, clean_environment
from tests.support.ray_check import CANNOT_START

ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"']
"""In a network of its own: some of Ray's processes listen on all addresses, whatever they are told."""


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_ray_serves_the_same_application(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    can_be_alone = subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0
    command = [*(ALONE if can_be_alone else []), PYTHON, "-m", "tests.support.ray_check", str(tmp_path)]
    check = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=580)
    if check.returncode == CANNOT_START:
        pytest.skip(check.stdout.strip().splitlines()[-1])
    assert check.returncode == 0, check.stdout + check.stderr
    seen = json.loads(check.stdout.splitlines()[-1])
    assert seen["statuses"] == {"score": 200, "no token": 401, "bad body": 400, "no path": 404}
    assert seen["scores"] == pytest.approx(seen["expected"], abs=0.05)
    assert seen["code"] == 0
