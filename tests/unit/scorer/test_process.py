"""Child processes: they end with their parent, and keep within their limits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.process import forbid_core_dump, limit
from tests.unit.scorer.test_pool import gone

PARENT = """
import subprocess, sys, time
from scorer.process import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], preexec_fn=die_with_parent)
print(child.pid, flush=True)
time.sleep(100)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_a_child_ends_with_its_killed_parent_and_ignores_interrupts() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, signal.SIGINT)
        assert not gone(child, 0.5)
        parent.kill()
    assert gone(child)


def test_limits_are_soft_and_hard(child: subprocess.Popen[bytes]) -> None:
    limit(resource.RLIMIT_FSIZE, 4096, child.pid)
    forbid_core_dump(child.pid)
    assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE) == (4096, 4096)
    assert resource.prlimit(child.pid, resource.RLIMIT_CORE) == (0, 0)


def test_a_child_that_has_ended_is_no_error(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    limit(resource.RLIMIT_FSIZE, 4096, child.pid)
